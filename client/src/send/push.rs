//! Queueing for those who have to wait for room.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Instant,
};

use everwire_engine::Message;

use super::{
    NotSentReason, Receipt, SendClass, SendOutcome,
    line::Place,
    outbox::{Gate, Intake, Outbox, now, wake},
};

/// See [`Outbox::push`].
#[must_use = "nothing is sent until it is awaited"]
pub(crate) struct Push {
    outbox: Outbox,
    message: Option<Message>,
    class: SendClass,
    expires_at: Option<Instant>,
    /// One's place in the line, once one had to wait.
    waiter: Option<u64>,
}

impl Push {
    pub(super) const fn new(
        outbox: Outbox,
        message: Message,
        class: SendClass,
        expires_at: Option<Instant>,
    ) -> Self {
        Self { outbox, message: Some(message), class, expires_at, waiter: None }
    }
}

impl Future for Push {
    type Output = Receipt;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Receipt> {
        let this = self.get_mut();
        let bytes = this.message.as_ref().expect("a future is not polled after it was ready").len();
        let (class, expires_at) = (this.class, this.expires_at);
        let mut shared = this.outbox.lock();
        if let Some(waiter) = this.waiter {
            let (place, displaced) = shared.line.poll(waiter, cx.waker());
            match place {
                Place::Granted => {}
                Place::Waiting => {
                    drop(shared);
                    drop(displaced);
                    return Poll::Pending;
                }
                Place::Gone => {
                    let ended = shared.intake == Intake::Ended;
                    let replaced = shared.gate != Gate::Closed && class.is_for_another(shared.generation);
                    drop(shared);
                    this.waiter = None;
                    let message = this.message.take();
                    drop(message);
                    let reason = match expires_at {
                        _ if ended => NotSentReason::ClientGone,
                        Some(at) if at <= now() => NotSentReason::Expired,
                        _ if replaced => NotSentReason::OtherConnection,
                        _ => NotSentReason::Disconnected,
                    };
                    return Poll::Ready(Receipt::settled(SendOutcome::NotSent(reason)));
                }
            }
            this.waiter = None;
        } else if let Some(reason) = shared.refusal(class) {
            drop(shared);
            this.message = None;
            return Poll::Ready(Receipt::settled(SendOutcome::NotSent(reason)));
        } else if shared.line.is_waiting() || !shared.room.fits(bytes) {
            this.waiter = Some(shared.line.join(bytes, class, expires_at, cx.waker().clone()));
            let waker = if shared.note_expiry(expires_at) { shared.driver.take() } else { None };
            drop(shared);
            wake(waker);
            return Poll::Pending;
        } else {
            shared.room.reserve(bytes);
        }
        let message = this.message.take().expect("taken only where ready is returned");
        let (number, waker) = shared.queue(message, class, expires_at);
        drop(shared);
        wake(waker);
        Poll::Ready(Receipt::waiting(this.outbox.clone(), number))
    }
}

impl Drop for Push {
    fn drop(&mut self) {
        let Some(waiter) = self.waiter else { return };
        let mut wakers = Vec::new();
        let mut shared = self.outbox.lock();
        let left = shared.line.leave(waiter);
        if let Some((waiter, granted)) = &left {
            if *granted {
                shared.room.release(1, waiter.bytes);
            }
            // Whoever stood behind may fit where this one did not.
            shared.grant_room(&mut wakers);
        }
        drop(shared);
        drop(left);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl fmt::Debug for Push {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Push").field("class", &self.class).finish_non_exhaustive()
    }
}
