//! The handles' side: pushing into the queue, waiting for room in it, waiting for outcomes.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Instant,
};

use everwire_engine::Message;

use super::{
    NotSentReason, Receipt, SendClass, SendLimits, SendOutcome, TrySendError,
    line::{Line, Place},
    slots::{SlotKey, Slots},
};

/// Whether the application's messages flow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Gate {
    /// Not connected: fail-fast messages are refused, others wait.
    Closed,
    /// Connected, but what must go first (authentication, resubscription) is not done: all wait.
    Held,
    /// Connected: all flow.
    Open,
}

/// Whether messages are accepted at all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Intake {
    Open,
    /// The connection is about to end: what is queued still goes, nothing is added.
    Stopped,
    /// The client has ended.
    Ended,
}

/// What is known of a message beside its payload.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) class: SendClass,
    pub(super) expires_at: Option<Instant>,
    /// Its size, while it counts against the limits; the driver's own frames do not count.
    pub(super) counted: Option<usize>,
    pub(super) slot: Option<SlotKey>,
    /// It was handed to a connection that died: nobody knows whether it arrived.
    pub(super) attempted: bool,
}

/// A message on its way to the connection.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) ticket: Ticket,
    pub(super) message: Message,
}

/// What handles and driver share. Locked once per push, and once per batch by the driver.
///
/// Whatever may run foreign code when it is woken or dropped (wakers, payloads) is handed out and woken or
/// dropped after the lock is released: a task that goes may take a [`Receipt`] with it, which locks again.
pub(super) struct Shared {
    pub(super) queue: VecDeque<Entry>,
    pub(super) slots: Slots,
    pub(super) line: Line,
    pub(super) gate: Gate,
    /// The number of the connection, or of the last one while there is none.
    pub(super) generation: u64,
    pub(super) intake: Intake,
    pub(super) driver: Option<Waker>,
    /// Whether the driver sleeps for want of messages: then each push wakes it.
    pub(super) hungry: bool,
    /// No message expires before this; it may be too early, never too late.
    pub(super) earliest: Option<Instant>,
    pub(super) room: Room,
}

/// What counts against the limits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    limits: SendLimits,
    messages: usize,
    bytes: usize,
}

impl Room {
    const fn fits(&self, bytes: usize) -> bool {
        // The first may be of any size; otherwise a message larger than the limit could never be sent.
        self.messages == 0
            || (self.messages < self.limits.messages()
                && self.bytes.saturating_add(bytes) <= self.limits.bytes())
    }

    /// Messages, and their bytes.
    pub(super) const fn depth(&self) -> (usize, usize) {
        (self.messages, self.bytes)
    }

    const fn reserve(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes;
    }

    /// Gives room back. Follow with [`grant_room`](Shared::grant_room).
    pub(super) const fn release(&mut self, bytes: usize) {
        self.messages -= 1;
        self.bytes -= bytes;
    }
}

impl Shared {
    /// Sends those who wait for room away, and gives the room that some of them were granted to others.
    pub(super) fn refuse_waiters(
        &mut self,
        wakers: &mut Vec<Waker>,
        refuse: impl Fn(SendClass, Option<Instant>) -> bool,
    ) {
        let Self { line, room, .. } = self;
        line.refuse(
            |waiter| refuse(waiter.class, waiter.expires_at),
            |waiter, granted| {
                wakers.extend(waiter.waker);
                if granted {
                    room.release(waiter.bytes);
                }
            },
        );
        self.grant_room(wakers);
    }

    /// Why a message of this class is not even accepted.
    fn refusal(&self, class: SendClass) -> Option<NotSentReason> {
        match self.intake {
            Intake::Ended => Some(NotSentReason::ClientGone),
            Intake::Stopped => Some(NotSentReason::Disconnected),
            Intake::Open if self.gate == Gate::Closed => {
                class.fails_fast().then_some(NotSentReason::NotConnected)
            }
            Intake::Open => class.is_for_another(self.generation).then_some(NotSentReason::OtherConnection),
        }
    }

    /// Gives free room to those who wait for it; their wakers are to be woken.
    pub(super) fn grant_room(&mut self, wakers: &mut Vec<Waker>) {
        while self.line.is_waiting() {
            let room = self.room;
            let Some((bytes, waker)) = self.line.grant(|bytes| room.fits(bytes)) else { return };
            self.room.reserve(bytes);
            wakers.extend(waker);
        }
    }

    /// Queues a message whose room is reserved.
    fn queue(
        &mut self,
        message: Message,
        class: SendClass,
        expires_at: Option<Instant>,
    ) -> (SlotKey, Option<Waker>) {
        let slot = self.slots.take();
        let counted = Some(message.len());
        let ticket = Ticket { class, expires_at, counted, slot: Some(slot), attempted: false };
        self.queue.push_back(Entry { ticket, message });
        let sooner = self.note_expiry(expires_at);
        (slot, if sooner || self.hungry { self.driver.take() } else { None })
    }

    /// Whether the driver must wake for this, since it would otherwise sleep for too long.
    fn note_expiry(&mut self, expires_at: Option<Instant>) -> bool {
        let sooner = expires_at.is_some_and(|at| self.earliest.is_none_or(|earliest| at < earliest));
        if sooner {
            self.earliest = expires_at;
        }
        sooner
    }
}

/// The send queue, as the handles hold it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Outbox(Arc<Mutex<Shared>>);

impl Outbox {
    pub(super) fn new(limits: SendLimits) -> Self {
        Self(Arc::new(Mutex::new(Shared {
            queue: VecDeque::new(),
            slots: Slots::default(),
            line: Line::default(),
            gate: Gate::Closed,
            generation: 0,
            intake: Intake::Open,
            driver: None,
            hungry: false,
            earliest: None,
            room: Room { limits, messages: 0, bytes: 0 },
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Shared> {
        // Nothing in here panics half way through a change, and a message must have its outcome even if
        // something did.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a message if there is room at once.
    pub(crate) fn try_push(&self, message: Message, class: SendClass) -> Result<Receipt, TrySendError> {
        let expires_at = expiry(class);
        let mut shared = self.lock();
        let reason = shared.refusal(class).or_else(|| {
            // Room that is left while others wait is theirs.
            (shared.line.is_waiting() || !shared.room.fits(message.len())).then_some(NotSentReason::Full)
        });
        if let Some(reason) = reason {
            drop(shared);
            return Err(TrySendError::new(message, reason));
        }
        shared.room.reserve(message.len());
        let (slot, waker) = shared.queue(message, class, expires_at);
        drop(shared);
        wake(waker);
        Ok(Receipt::waiting(self.clone(), slot))
    }

    /// Queues a message if that needs no waiting and nothing refuses it; otherwise gives it back, for
    /// [`push`](Self::push) to say what comes of it. Nearly every message goes this way, so it costs no future.
    #[inline]
    pub(crate) fn push_at_once(&self, message: Message, class: SendClass) -> Result<Receipt, Message> {
        let expires_at = expiry(class);
        let mut shared = self.lock();
        if shared.refusal(class).is_some() || shared.line.is_waiting() || !shared.room.fits(message.len()) {
            return Err(message);
        }
        shared.room.reserve(message.len());
        let (slot, waker) = shared.queue(message, class, expires_at);
        drop(shared);
        wake(waker);
        Ok(Receipt::waiting(self.clone(), slot))
    }

    /// Queues a message as soon as there is room; who waits longest is first. When the message is refused,
    /// the receipt says so at once.
    ///
    /// **Cancellation**: when the future is dropped before it was ready, the message was not queued.
    pub(crate) fn push(&self, message: Message, class: SendClass) -> Push {
        Push { outbox: self.clone(), message: Some(message), class, expires_at: expiry(class), waiter: None }
    }

    /// What is queued or handed over and not yet settled: messages, and bytes of payload.
    pub(crate) fn depth(&self) -> (usize, usize) {
        self.lock().room.depth()
    }

    pub(super) fn poll_slot(&self, slot: SlotKey, waker: &Waker) -> Poll<SendOutcome> {
        let (poll, displaced) = self.lock().slots.poll(slot, waker);
        drop(displaced);
        poll
    }

    pub(super) fn give_up(&self, slot: SlotKey) {
        let displaced = self.lock().slots.give_up(slot);
        drop(displaced);
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = self.lock();
        f.debug_struct("Outbox")
            .field("room", &shared.room)
            .field("gate", &shared.gate)
            .field("intake", &shared.intake)
            .finish_non_exhaustive()
    }
}

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
        let (slot, waker) = shared.queue(message, class, expires_at);
        drop(shared);
        wake(waker);
        Poll::Ready(Receipt::waiting(this.outbox.clone(), slot))
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
                shared.room.release(waiter.bytes);
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

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Only classes that wait read the clock.
fn expiry(class: SendClass) -> Option<Instant> {
    match class {
        SendClass::FailFast | SendClass::OnConnection { .. } => None,
        // A time to live beyond what a clock can show never ends.
        SendClass::Hold { ttl } | SendClass::Idempotent { ttl } => now().checked_add(ttl),
    }
}

#[expect(clippy::disallowed_methods, reason = "the handle's side; the pump is told the time")]
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
