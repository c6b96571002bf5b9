//! The line of those who wait for room in the queue: first come, first served.

use std::{collections::VecDeque, task::Waker, time::Instant};

use super::SendClass;

/// Who waits, oldest first. Those who were granted room stay in it, in front, until they have used it or
/// were dropped; nobody who comes later is granted room before them.
#[derive(Debug, Default)]
pub(super) struct Line {
    waiters: VecDeque<Waiter>,
    /// How many at the front were granted room.
    granted: usize,
    next_id: u64,
}

#[derive(Debug)]
pub(super) struct Waiter {
    id: u64,
    pub(super) bytes: usize,
    pub(super) class: SendClass,
    pub(super) expires_at: Option<Instant>,
    pub(super) waker: Option<Waker>,
}

/// Where a waiter stands.
#[derive(Debug)]
pub(super) enum Place {
    Waiting,
    /// It left the line with this much room.
    Granted,
    /// It was refused, and is in the line no more.
    Gone,
}

impl Line {
    /// Joins the line, at its end.
    pub(super) fn join(
        &mut self,
        bytes: usize,
        class: SendClass,
        expires_at: Option<Instant>,
        waker: Waker,
    ) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.waiters.push_back(Waiter { id, bytes, class, expires_at, waker: Some(waker) });
        id
    }

    /// Asks for one's place; who was granted room leaves the line. A displaced waker is to be dropped after
    /// the lock is released.
    pub(super) fn poll(&mut self, id: u64, waker: &Waker) -> (Place, Option<Waker>) {
        let Ok(at) = self.find(id) else { return (Place::Gone, None) };
        if at < self.granted {
            return (Place::Granted, self.remove(at).and_then(|waiter| waiter.waker));
        }
        let kept = &mut self.waiters[at].waker;
        if kept.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
            return (Place::Waiting, None);
        }
        (Place::Waiting, kept.replace(waker.clone()))
    }

    /// Leaves the line. With `true`: the room that was granted is free again.
    pub(super) fn leave(&mut self, id: u64) -> Option<(Waiter, bool)> {
        let at = self.find(id).ok()?;
        let granted = at < self.granted;
        Some((self.remove(at)?, granted))
    }

    /// Whether somebody waits who was not granted room.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiters.len() > self.granted
    }

    /// Grants room to the first who waits, if `fits` says so of its size. Its waker is to be woken.
    pub(super) fn grant(&mut self, fits: impl FnOnce(usize) -> bool) -> Option<(usize, Option<Waker>)> {
        let first = self.waiters.get_mut(self.granted)?;
        if !fits(first.bytes) {
            return None;
        }
        self.granted += 1;
        Some((first.bytes, first.waker.take()))
    }

    /// Takes out all whom `refuse` names. With `true`: the room that was granted is free again.
    pub(super) fn refuse(
        &mut self,
        mut refuse: impl FnMut(&Waiter) -> bool,
        mut refused: impl FnMut(Waiter, bool),
    ) {
        let mut at = 0;
        while at < self.waiters.len() {
            let granted = at < self.granted;
            if refuse(&self.waiters[at]) {
                if let Some(waiter) = self.remove(at) {
                    refused(waiter, granted);
                }
            } else {
                at += 1;
            }
        }
    }

    /// When the first of those who wait has waited long enough.
    pub(super) fn earliest(&self) -> Option<Instant> {
        self.waiters.iter().filter_map(|waiter| waiter.expires_at).min()
    }

    /// Ids only grow, so the line is sorted by them.
    fn find(&self, id: u64) -> Result<usize, usize> {
        self.waiters.binary_search_by_key(&id, |waiter| waiter.id)
    }

    fn remove(&mut self, at: usize) -> Option<Waiter> {
        self.granted -= usize::from(at < self.granted);
        self.waiters.remove(at)
    }
}
