//! What users and recovery ask of the driver, and the box in which it waits.
//!
//! One box, and no channel: a channel of the runtime holds a KiB in every client, for what comes once in hours.

use std::{
    collections::VecDeque,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Context,
    time::Duration,
};

use futures_util::task::AtomicWaker;

use super::{Command, PathNotice};

/// What recovery asks of the driver: requests that never wait and never pile up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Wish {
    Reconnect(&'static str),
    Disconnect,
    /// The connection of this generation.
    Abandon(u64),
    Replace(&'static str),
    Probe(Duration),
    Notify(PathNotice),
}

/// The box. It holds at most one wish of each kind, and a command only while somebody waits for it or has just given up,
/// so it needs no bound.
#[derive(Debug, Default)]
pub(crate) struct System {
    asked: Mutex<Asked>,
    /// Whether there is anything in it, so that the driver looks without a lock.
    pending: AtomicBool,
    driver: AtomicWaker,
}

/// What is in the box.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) commands: Vec<Command>,
    pub(crate) wishes: VecDeque<Wish>,
    /// The last user's handle is gone.
    pub(crate) orphaned: bool,
    /// The driver is gone.
    ended: bool,
}

impl System {
    pub(super) fn wish(&self, wish: Wish) {
        let same = |other: &Wish| match (wish, *other) {
            (Wish::Notify(a), Wish::Notify(b)) => mem::discriminant(&a) == mem::discriminant(&b),
            (a, b) => mem::discriminant(&a) == mem::discriminant(&b),
        };
        let mut asked = self.lock();
        if asked.ended {
            return;
        }
        // The latest wish of a kind counts: an earlier one would be overtaken before anybody acted on it.
        asked.wishes.retain(|other| !same(other));
        asked.wishes.push_back(wish);
        drop(asked);
        self.wake();
    }

    fn lock(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        self.pending.store(true, Ordering::Release);
        self.driver.wake();
    }
}

/// What the handles of users share: as long as it lives the client is wanted.
#[derive(Debug)]
pub(crate) struct User(pub(crate) Arc<System>);

impl User {
    /// Asks for something. `false` when the client has ended; whoever waits for the outcome learns it there, too.
    pub(super) fn command(&self, command: Command) -> bool {
        let mut asked = self.0.lock();
        if asked.ended {
            return false;
        }
        asked.commands.push(command);
        drop(asked);
        self.0.wake();
        true
    }
}

impl Drop for User {
    fn drop(&mut self) {
        self.0.lock().orphaned = true;
        self.0.wake();
    }
}

/// The driver's end of the box. With it goes what is still in it.
#[derive(Debug)]
pub(crate) struct Inbox(pub(crate) Arc<System>);

impl Inbox {
    /// Takes everything out, if there is anything, and has the driver woken when there is more.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Option<Asked> {
        self.0.driver.register(cx.waker());
        if !self.0.pending.load(Ordering::Acquire) || !self.0.pending.swap(false, Ordering::AcqRel) {
            return None;
        }
        let mut asked = self.0.lock();
        let orphaned = asked.orphaned;
        Some(Asked { orphaned, ..mem::take(&mut *asked) })
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let rest = mem::replace(&mut *self.0.lock(), Asked { ended: true, ..Asked::default() });
        drop(rest);
        // The task's last reference may be in it.
        drop(self.0.driver.take());
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::sync::oneshot;

    use super::*;

    fn poll(inbox: &Inbox) -> Option<Asked> {
        inbox.poll(&Context::from_waker(Waker::noop()))
    }

    #[test]
    fn the_latest_wish_of_a_kind_counts_and_the_box_is_emptied() {
        let system = Arc::new(System::default());
        let inbox = Inbox(Arc::clone(&system));
        assert!(poll(&inbox).is_none());
        system.wish(Wish::Reconnect("a"));
        system.wish(Wish::Disconnect);
        system.wish(Wish::Reconnect("b"));
        assert_eq!(poll(&inbox).unwrap().wishes, [Wish::Disconnect, Wish::Reconnect("b")]);
        assert!(poll(&inbox).is_none());
    }

    #[test]
    fn the_last_user_that_goes_is_told_once_after_the_commands() {
        let system = Arc::new(System::default());
        let (inbox, user) = (Inbox(Arc::clone(&system)), Arc::new(User(system)));
        let (waiter, _settled) = oneshot::channel();
        assert!(user.command(Command::Disconnect(waiter)));
        drop(Arc::clone(&user));
        drop(user);
        let asked = poll(&inbox).unwrap();
        assert!(asked.orphaned && asked.commands.len() == 1);
        assert!(poll(&inbox).is_none());
    }

    #[test]
    fn what_the_driver_did_not_take_goes_with_it() {
        let system = Arc::new(System::default());
        let (inbox, user) = (Inbox(Arc::clone(&system)), User(system));
        let (waiter, mut settled) = oneshot::channel();
        assert!(user.command(Command::Disconnect(waiter)));
        drop(inbox);
        assert!(settled.try_recv().is_err());
        let (waiter, mut settled) = oneshot::channel();
        assert!(!user.command(Command::Disconnect(waiter)));
        assert!(settled.try_recv().is_err());
        user.0.wish(Wish::Disconnect);
        assert!(user.0.lock().wishes.is_empty());
    }
}
