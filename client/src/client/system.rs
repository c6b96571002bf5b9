//! What recovery asks of the driver, and the box in which it waits.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Context,
    time::Duration,
};

use futures_util::task::AtomicWaker;

use super::Notice;

/// What recovery asks of the driver: requests that never wait and never pile up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Wish {
    Reconnect(&'static str),
    Disconnect,
    /// The connection of this generation.
    Abandon(u64),
    Replace(&'static str),
    Probe(Duration),
    Notify(Notice),
}

/// The box of wishes. It holds at most one of each kind, so it needs no bound.
#[derive(Debug, Default)]
pub(crate) struct System {
    wishes: Mutex<VecDeque<Wish>>,
    pending: AtomicBool,
    driver: AtomicWaker,
}

impl System {
    pub(super) fn wish(&self, wish: Wish) {
        let same = |other: &Wish| match (wish, *other) {
            (Wish::Notify(a), Wish::Notify(b)) => std::mem::discriminant(&a) == std::mem::discriminant(&b),
            (a, b) => std::mem::discriminant(&a) == std::mem::discriminant(&b),
        };
        let mut wishes = self.wishes.lock().unwrap_or_else(PoisonError::into_inner);
        // The latest wish of a kind counts: an earlier one would be overtaken before anybody acted on it.
        wishes.retain(|other| !same(other));
        wishes.push_back(wish);
        drop(wishes);
        self.pending.store(true, Ordering::Release);
        self.driver.wake();
    }

    /// Moves all wishes out, and has the driver woken at the next one.
    pub(crate) fn drain(&self, cx: &Context<'_>, into: &mut VecDeque<Wish>) {
        self.driver.register(cx.waker());
        if self.pending.swap(false, Ordering::Acquire) {
            into.append(&mut self.wishes.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}
