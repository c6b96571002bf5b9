//! A value that many wait for, and are woken in the order in which they came.
//!
//! `tokio::sync::watch` spreads those who wait over several lists, by a random number that nobody can seed: with it the
//! same seed would not be the same story.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// A value, and those who wait for it to change.
#[derive(Debug, Default)]
pub(crate) struct Told<T> {
    value: Mutex<T>,
    changed: Notify,
}

impl<T: Copy> Told<T> {
    pub(crate) fn get(&self) -> T {
        *self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut T)) {
        change(&mut self.value.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_waiters();
    }

    /// Waits until the value fulfils a condition, which may be so already.
    pub(crate) async fn wait_for(&self, condition: impl Fn(&T) -> bool) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            if condition(&self.get()) {
                return;
            }
            changed.await;
        }
    }
}
