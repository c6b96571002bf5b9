//! What became of each message, by its number: one mark for all that were flushed, and a list of what was not.
//!
//! Messages are numbered as they are accepted, and they flow in this order. So one number says of nearly all of them
//! what became of them, and it is read without the lock. What was flushed needs no other record.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    sync::atomic::{AtomicU64, Ordering},
    task::{Poll, Waker},
};

use super::SendOutcome;

/// What is known without the lock. Written under it.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Each message below this number has its outcome.
    settled: AtomicU64,
    /// Of those, each from this number on was flushed: no exception has such a number.
    regular: AtomicU64,
}

impl Marks {
    /// Whether the marks tell of a message that it was flushed. `false` says nothing.
    #[inline]
    pub(super) fn tell_flushed(&self, number: u64) -> bool {
        // An exception is noted before the first mark passes it: who sees that mark sees it noted.
        number < self.settled.load(Ordering::Acquire) && number >= self.regular.load(Ordering::Relaxed)
    }

    /// Both marks.
    #[cfg(test)]
    pub(super) fn look(&self) -> (u64, u64) {
        (self.settled.load(Ordering::Acquire), self.regular.load(Ordering::Relaxed))
    }
}

/// The rest, under the lock.
///
/// Every method that displaces a waker hands it out, to be woken or dropped after the lock is released: the
/// last reference to a task may be in it, and with the task go receipts, which take the lock.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The number of the next message.
    next: u64,
    /// As in the marks.
    settled: u64,
    /// Receipts that were asked or dropped before their message had its outcome, by their numbers, which grow.
    watched: VecDeque<(u64, Watch)>,
    /// How many of these are void.
    void: usize,
    /// What was not flushed and is not collected.
    exceptions: BTreeMap<u64, SendOutcome>,
}

#[derive(Debug)]
enum Watch {
    Asked(Waker),
    /// The receipt was dropped: nobody will ask.
    GivenUp,
    /// Its message has its outcome. It keeps its place, since others would have to move.
    Void,
}

impl Watch {
    fn into_waker(self) -> Option<Waker> {
        if let Self::Asked(waker) = self { Some(waker) } else { None }
    }
}

impl Ledger {
    /// The number of a message that is accepted.
    pub(super) const fn number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    /// Each message below this number that has no outcome yet was flushed. Those who asked are to be woken.
    pub(super) fn flushed_below(&mut self, number: u64, marks: &Marks, wakers: &mut Vec<Waker>) {
        debug_assert!(
            self.settled < number && number <= self.next,
            "messages flow in the order of their numbers"
        );
        while self.watched.front().is_some_and(|(watched, _)| *watched < number) {
            let Some((_, watch)) = self.watched.pop_front() else { break };
            self.void -= usize::from(matches!(watch, Watch::Void));
            wakers.extend(watch.into_waker());
        }
        self.settled = number;
        marks.settled.store(number, Ordering::Release);
    }

    /// A message has another outcome than that. The waker, if any, is to be woken.
    pub(super) fn except(&mut self, number: u64, outcome: SendOutcome, marks: &Marks) -> Option<Waker> {
        debug_assert!(number >= self.settled, "a message that was flushed has no other outcome");
        marks.regular.fetch_max(number + 1, Ordering::Relaxed);
        let watch = self.find(number).ok().map(|at| self.take(at));
        if matches!(watch, Some(Watch::GivenUp)) {
            return None;
        }
        let before = self.exceptions.insert(number, outcome);
        debug_assert!(before.is_none(), "a message was settled twice");
        watch.and_then(Watch::into_waker)
    }

    /// Asks for the outcome, and keeps the waker until it is there. A displaced waker is to be dropped.
    pub(super) fn poll(&mut self, number: u64, waker: &Waker) -> (Poll<SendOutcome>, Option<Waker>) {
        if let Some(outcome) = self.exceptions.remove(&number) {
            return (Poll::Ready(outcome), None);
        }
        if number < self.settled {
            return (Poll::Ready(SendOutcome::Flushed), None);
        }
        if let Ok(at) = self.find(number)
            && let Watch::Asked(kept) = &self.watched[at].1
            && kept.will_wake(waker)
        {
            return (Poll::Pending, None);
        }
        (Poll::Pending, self.watch(number, Watch::Asked(waker.clone())))
    }

    /// The receipt is dropped. The waker is to be dropped too.
    pub(super) fn give_up(&mut self, number: u64) -> Option<Waker> {
        if self.exceptions.remove(&number).is_some() || number < self.settled {
            return None;
        }
        self.watch(number, Watch::GivenUp)
    }

    /// How many watches and exceptions are kept.
    #[cfg(test)]
    pub(super) fn kept(&self) -> (usize, usize) {
        let void = self.watched.iter().filter(|(_, watch)| matches!(watch, Watch::Void)).count();
        assert_eq!(self.void, void);
        (self.watched.len(), self.exceptions.len())
    }

    fn find(&self, number: u64) -> Result<usize, usize> {
        self.watched.binary_search_by_key(&number, |(watched, _)| *watched)
    }

    /// Nearly always the latest: receipts are asked and dropped in the order in which they were made.
    fn watch(&mut self, number: u64, watch: Watch) -> Option<Waker> {
        match self.find(number) {
            Ok(at) => mem::replace(&mut self.watched[at].1, watch).into_waker(),
            Err(at) => {
                self.watched.insert(at, (number, watch));
                None
            }
        }
    }

    /// Makes a watch void. What is void is neither first nor last, and never more than what is not.
    fn take(&mut self, at: usize) -> Watch {
        let watch = mem::replace(&mut self.watched[at].1, Watch::Void);
        self.void += 1;
        let is_void = |watched: Option<&(u64, Watch)>| matches!(watched, Some((_, Watch::Void)));
        while is_void(self.watched.front()) {
            self.watched.pop_front();
            self.void -= 1;
        }
        while is_void(self.watched.back()) {
            self.watched.pop_back();
            self.void -= 1;
        }
        if self.void > self.watched.len() / 2 {
            self.watched.retain(|(_, watch)| !matches!(watch, Watch::Void));
            self.void = 0;
        }
        watch
    }
}
