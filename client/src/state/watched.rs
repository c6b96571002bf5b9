//! The latest snapshot, and who waits for the next one.
//!
//! One lock and a list that is empty while nobody waits: a watch channel of the runtime holds eight lists of waiters and
//! two counters in every client, and waiting for it takes a future.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use super::Snapshot;

/// The driver's end. Dropping it ends every [`Watch`], after the snapshot that was published last.
pub(crate) struct Publisher(Arc<Mutex<Shared>>);

/// A handle's end. A clone has seen what the original has.
pub(crate) struct Watch {
    shared: Arc<Mutex<Shared>>,
    /// The snapshot that was seen last; 0 is none.
    seen: u64,
    /// One's place among those who wait, once one had to.
    place: Option<u64>,
}

struct Shared {
    snapshot: Snapshot,
    /// Counts what was published, from 1.
    version: u64,
    ended: bool,
    next_place: u64,
    waiting: Waiting,
}

/// Who waits, by their places. Recovery alone is the usual case, and costs no allocation.
#[derive(Default)]
struct Waiting {
    one: Option<(u64, Waker)>,
    others: Vec<(u64, Waker)>,
}

impl Waiting {
    /// Returns the waker that was displaced.
    fn put(&mut self, place: u64, waker: &Waker) -> Option<Waker> {
        let known = self.one.iter_mut().chain(&mut self.others).find(|(other, _)| *other == place);
        if let Some((_, kept)) = known {
            return if kept.will_wake(waker) { None } else { Some(mem::replace(kept, waker.clone())) };
        }
        let newcomer = (place, waker.clone());
        if self.one.is_none() {
            self.one = Some(newcomer);
        } else {
            self.others.push(newcomer);
        }
        None
    }

    fn remove(&mut self, place: u64) -> Option<Waker> {
        let waiting = match &self.one {
            Some((other, _)) if *other == place => self.one.take(),
            _ => {
                let at = self.others.iter().position(|(other, _)| *other == place);
                at.map(|at| self.others.swap_remove(at))
            }
        };
        waiting.map(|(_, waker)| waker)
    }

    fn wake(self) {
        self.one.into_iter().chain(self.others).for_each(|(_, waker)| waker.wake());
    }
}

impl Publisher {
    pub(crate) fn new(snapshot: Snapshot) -> (Self, Watch) {
        let shared =
            Shared { snapshot, version: 1, ended: false, next_place: 0, waiting: Waiting::default() };
        let shared = Arc::new(Mutex::new(shared));
        (Self(Arc::clone(&shared)), Watch { shared, seen: 0, place: None })
    }

    pub(crate) fn publish(&self, snapshot: Snapshot) {
        let mut shared = lock(&self.0);
        let displaced = mem::replace(&mut shared.snapshot, snapshot);
        shared.version += 1;
        let waiting = mem::take(&mut shared.waiting);
        // Wakers, and what a user's error holds, run code that is not ours.
        drop(shared);
        drop(displaced);
        waiting.wake();
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let mut shared = lock(&self.0);
        shared.ended = true;
        let waiting = mem::take(&mut shared.waiting);
        drop(shared);
        waiting.wake();
    }
}

impl Watch {
    /// The latest.
    pub(crate) fn latest(&self) -> Snapshot {
        lock(&self.shared).snapshot.clone()
    }

    /// The latest, unless it was seen; the first is news. `None` once the client has ended and the last was seen.
    pub(crate) fn poll_next(&mut self, cx: &Context<'_>) -> Poll<Option<Snapshot>> {
        let mut shared = lock(&self.shared);
        if shared.version != self.seen {
            self.seen = shared.version;
            return Poll::Ready(Some(shared.snapshot.clone()));
        }
        if shared.ended {
            return Poll::Ready(None);
        }
        let place = *self.place.get_or_insert_with(|| {
            shared.next_place += 1;
            shared.next_place
        });
        let displaced = shared.waiting.put(place, cx.waker());
        drop(shared);
        drop(displaced);
        Poll::Pending
    }
}

impl Clone for Watch {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), seen: self.seen, place: None }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        let mut shared = lock(&self.shared);
        let waker = shared.waiting.remove(place);
        drop(shared);
        drop(waker);
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    // Nothing here panics half way; a poisoned lock still guards a whole snapshot.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering::SeqCst},
        task::Wake,
    };

    use super::*;
    use crate::ConnectionState;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    fn snapshot(generation: u64) -> Snapshot {
        Snapshot::new(ConnectionState::Connecting, generation, true)
    }

    fn next(watch: &mut Watch) -> Poll<Option<u64>> {
        let poll = watch.poll_next(&Context::from_waker(Waker::noop()));
        poll.map(|snapshot| snapshot.map(|snapshot| snapshot.generation))
    }

    #[test]
    fn the_latest_is_seen_once_by_each_and_the_end_comes_after_it() {
        let (publisher, mut first) = Publisher::new(snapshot(0));
        assert_eq!((next(&mut first), next(&mut first)), (Poll::Ready(Some(0)), Poll::Pending));
        let mut second = first.clone();
        publisher.publish(snapshot(1));
        publisher.publish(snapshot(2));
        drop(publisher);
        for watch in [&mut first, &mut second] {
            assert_eq!(watch.latest().generation, 2);
            assert_eq!((next(watch), next(watch)), (Poll::Ready(Some(2)), Poll::Ready(None)));
        }
    }

    #[test]
    fn who_polled_last_is_woken_once_and_who_goes_leaves_nothing_behind() {
        let (publisher, mut watch) = Publisher::new(snapshot(0));
        assert!(next(&mut watch).is_ready());
        let counts: [Arc<Count>; 2] = Default::default();
        for count in &counts {
            let waker = Waker::from(Arc::clone(count));
            assert!(watch.poll_next(&Context::from_waker(&waker)).is_pending());
        }
        publisher.publish(snapshot(1));
        publisher.publish(snapshot(2));
        assert_eq!(counts.each_ref().map(|count| count.0.load(SeqCst)), [0, 1]);
        assert_eq!(counts.each_ref().map(Arc::strong_count), [1, 1]);
        assert_eq!((next(&mut watch), next(&mut watch)), (Poll::Ready(Some(2)), Poll::Pending));
        drop(watch);
        assert!(lock(&publisher.0).waiting.one.is_none());
    }

    #[test]
    fn all_who_wait_are_woken_but_those_who_went() {
        let (publisher, first) = Publisher::new(snapshot(0));
        let counts: [Arc<Count>; 4] = Default::default();
        let mut watches = [first.clone(), first.clone(), first.clone(), first];
        for (watch, count) in watches.iter_mut().zip(&counts) {
            assert!(next(watch).is_ready());
            let waker = Waker::from(Arc::clone(count));
            assert!(watch.poll_next(&Context::from_waker(&waker)).is_pending());
        }
        let [gone, here, also_gone, also_here] = watches;
        drop((gone, also_gone));
        publisher.publish(snapshot(1));
        assert_eq!(counts.each_ref().map(|count| count.0.load(SeqCst)), [0, 1, 0, 1]);
        assert_eq!(counts.each_ref().map(Arc::strong_count), [1; 4]);
        drop((here, also_here));
    }

    #[test]
    fn the_end_wakes_who_waits() {
        let (publisher, mut watch) = Publisher::new(snapshot(0));
        assert!(next(&mut watch).is_ready());
        let count = Arc::<Count>::default();
        let waker = Waker::from(Arc::clone(&count));
        assert!(watch.poll_next(&Context::from_waker(&waker)).is_pending());
        drop(publisher);
        assert_eq!(count.0.load(SeqCst), 1);
        assert_eq!(next(&mut watch), Poll::Ready(None));
    }
}
