//! Queueing for those who have to wait for room.

use std::{
    fmt,
    pin::Pin,
    sync::MutexGuard,
    task::{Context, Poll, Waker},
    time::Instant,
};

use everwire_engine::Message;

use super::{
    NotSentReason, Receipt, SendClass, SendOutcome,
    line::Place,
    outbox::{Gate, Intake, Outbox, Shared, now, wake},
};

/// See [`Outbox::push`].
#[must_use = "nothing is sent until it is awaited"]
pub(crate) struct Push<'a> {
    outbox: &'a Outbox,
    message: Option<Message>,
    class: SendClass,
    expires_at: Option<Instant>,
    /// One's place in the line, once one had to wait.
    waiter: Option<u64>,
}

impl<'a> Push<'a> {
    #[inline]
    pub(super) const fn new(
        outbox: &'a Outbox,
        message: Message,
        class: SendClass,
        expires_at: Option<Instant>,
    ) -> Self {
        Self { outbox, message: Some(message), class, expires_at, waiter: None }
    }
}

impl Future for Push<'_> {
    type Output = Receipt;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Receipt> {
        let this = self.get_mut();
        let message = this.message.as_ref().expect("a future is not polled after it was ready");
        let bytes = message.len();
        if let Some(reason) = NotSentReason::against(message) {
            return this.refused(reason);
        }
        let mut shared = this.outbox.lock();
        if this.waiter.is_none() && shared.refusal(this.class).is_none() && shared.has_room(bytes) {
            // Nearly always.
            shared.room.reserve(bytes);
        } else {
            shared = match this.wait(shared, bytes, cx.waker()) {
                Ok(shared) => shared,
                Err(poll) => return poll,
            };
        }
        let message = this.message.take().expect("it was there");
        Poll::Ready(this.outbox.accept(shared, message, this.class, this.expires_at))
    }
}

impl Push<'_> {
    /// Goes on once room is reserved, and otherwise tells how it stands.
    fn wait<'s>(
        &mut self,
        mut shared: MutexGuard<'s, Shared>,
        bytes: usize,
        waker: &Waker,
    ) -> Result<MutexGuard<'s, Shared>, Poll<Receipt>> {
        let (class, expires_at) = (self.class, self.expires_at);
        let Some(waiter) = self.waiter else {
            if let Some(reason) = shared.refusal(class) {
                drop(shared);
                return Err(self.refused(reason));
            }
            self.waiter = Some(shared.line.join(bytes, class, expires_at, waker.clone()));
            let driver = if shared.note_expiry(expires_at) { shared.driver.take() } else { None };
            drop(shared);
            wake(driver);
            return Err(Poll::Pending);
        };
        let (place, displaced) = shared.line.poll(waiter, waker);
        match place {
            Place::Granted => {
                self.waiter = None;
                Ok(shared)
            }
            Place::Waiting => {
                drop(shared);
                drop(displaced);
                Err(Poll::Pending)
            }
            Place::Gone => {
                let ended = shared.intake == Intake::Ended;
                let replaced = shared.gate != Gate::Closed && class.is_for_another(shared.generation);
                drop(shared);
                self.waiter = None;
                Err(self.refused(match expires_at {
                    _ if ended => NotSentReason::ClientGone,
                    Some(at) if at <= now() => NotSentReason::Expired,
                    _ if replaced => NotSentReason::OtherConnection,
                    _ => NotSentReason::Disconnected,
                }))
            }
        }
    }

    /// To be called without the lock: what is dropped here may be the application's.
    fn refused(&mut self, reason: NotSentReason) -> Poll<Receipt> {
        self.message = None;
        Poll::Ready(Receipt::settled(SendOutcome::NotSent(reason)))
    }
}

impl Drop for Push<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(waiter) = self.waiter {
            self.outbox.leave_line(waiter);
        }
    }
}

impl fmt::Debug for Push<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Push").field("class", &self.class).finish_non_exhaustive()
    }
}
