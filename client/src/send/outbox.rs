//! The handles' side: pushing into the queue, waiting for room in it, waiting for outcomes.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
    time::Instant,
};

use everwire_engine::Message;

use super::{
    NotSentReason, Receipt, SendClass, SendLimits, SendOutcome, TrySendError,
    ledger::{Ledger, Marks},
    line::Line,
    push::Push,
    room::Room,
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
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    pub(super) class: SendClass,
    pub(super) expires_at: Option<Instant>,
    /// The driver's own frames have none, and do not count against the limits.
    pub(super) number: Option<u64>,
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
    pub(super) ledger: Ledger,
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
                    room.release(1, waiter.bytes);
                }
            },
        );
        self.grant_room(wakers);
    }

    /// Why a message of this class is not even accepted.
    #[inline]
    pub(super) fn refusal(&self, class: SendClass) -> Option<NotSentReason> {
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

    /// Whether there is room for a message that has not waited for it: what is left while others wait is theirs.
    #[inline]
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        !self.line.is_waiting() && self.room.fits(bytes)
    }

    /// Gives the number of the message, and whom to wake for it.
    #[inline]
    fn queue(
        &mut self,
        message: Message,
        class: SendClass,
        expires_at: Option<Instant>,
    ) -> (u64, Option<Waker>) {
        let number = self.ledger.number();
        let ticket = Ticket { class, expires_at, number: Some(number), attempted: false };
        self.queue.push_back(Entry { ticket, message });
        let sooner = self.note_expiry(expires_at);
        (number, if sooner || self.hungry { self.driver.take() } else { None })
    }

    /// Whether the driver must wake for this, since it would otherwise sleep for too long.
    #[inline]
    pub(super) fn note_expiry(&mut self, expires_at: Option<Instant>) -> bool {
        let sooner = expires_at.is_some_and(|at| self.earliest.is_none_or(|earliest| at < earliest));
        if sooner {
            self.earliest = expires_at;
        }
        sooner
    }
}

/// The send queue, as the handles hold it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Outbox(Arc<Inner>);

struct Inner {
    shared: Mutex<Shared>,
    marks: Marks,
}

impl Outbox {
    pub(super) fn new(limits: SendLimits) -> Self {
        let shared = Shared {
            queue: VecDeque::new(),
            ledger: Ledger::default(),
            line: Line::default(),
            gate: Gate::Closed,
            generation: 0,
            intake: Intake::Open,
            driver: None,
            hungry: false,
            earliest: None,
            room: Room::new(limits),
        };
        Self(Arc::new(Inner { shared: Mutex::new(shared), marks: Marks::default() }))
    }

    #[inline]
    pub(super) fn lock(&self) -> MutexGuard<'_, Shared> {
        // Nothing in here panics half way through a change, and a message must have its outcome even if
        // something did.
        self.0.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn marks(&self) -> &Marks {
        &self.0.marks
    }

    /// Queues a message if there is room at once.
    pub(crate) fn try_push(&self, message: Message, class: SendClass) -> Result<Receipt, TrySendError> {
        if let Some(reason) = NotSentReason::against(&message) {
            return Err(TrySendError::new(message, reason));
        }
        let expires_at = expiry(class);
        let mut shared = self.lock();
        let full = || (!shared.has_room(message.len())).then_some(NotSentReason::Full);
        let reason = shared.refusal(class).or_else(full);
        if let Some(reason) = reason {
            drop(shared);
            return Err(TrySendError::new(message, reason));
        }
        shared.room.reserve(message.len());
        Ok(self.accept(shared, message, class, expires_at))
    }

    /// Queues a message whose room is reserved.
    #[inline]
    pub(super) fn accept(
        &self,
        mut shared: MutexGuard<'_, Shared>,
        message: Message,
        class: SendClass,
        expires_at: Option<Instant>,
    ) -> Receipt {
        let (number, waker) = shared.queue(message, class, expires_at);
        drop(shared);
        wake(waker);
        Receipt::waiting(self.clone(), number)
    }

    /// Queues a message as soon as there is room; who waits longest is first. When the message is refused,
    /// the receipt says so at once.
    ///
    /// **Cancellation**: when the future is dropped before it was ready, the message was not queued.
    #[inline]
    pub(crate) fn push(&self, message: Message, class: SendClass) -> Push<'_> {
        Push::new(self, message, class, expiry(class))
    }

    /// One who waits for room waits no more.
    pub(super) fn leave_line(&self, waiter: u64) {
        let mut wakers = Vec::new();
        let mut shared = self.lock();
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

    /// What is queued or handed over and not yet settled: messages, and bytes of payload.
    pub(crate) fn depth(&self) -> (usize, usize) {
        self.lock().room.depth()
    }

    /// The outcome of a message, once it is known. Nearly all were flushed, which is known without the lock.
    #[inline]
    pub(super) fn poll_outcome(&self, number: u64, waker: &Waker) -> Poll<SendOutcome> {
        if self.0.marks.tell_flushed(number) {
            return Poll::Ready(SendOutcome::Flushed);
        }
        self.look_up_outcome(number, waker)
    }

    #[cold]
    fn look_up_outcome(&self, number: u64, waker: &Waker) -> Poll<SendOutcome> {
        let (poll, displaced) = self.lock().ledger.poll(number, waker);
        drop(displaced);
        poll
    }

    /// Nobody will ask for this outcome any more.
    #[cold]
    pub(super) fn give_up(&self, number: u64) {
        if !self.0.marks.tell_flushed(number) {
            let displaced = self.lock().ledger.give_up(number);
            drop(displaced);
        }
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

#[inline]
pub(super) fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Only classes that wait read the clock.
#[inline]
pub(super) fn expiry(class: SendClass) -> Option<Instant> {
    match class {
        SendClass::FailFast | SendClass::OnConnection { .. } => None,
        // A time to live beyond what a clock can show never ends.
        SendClass::Hold { ttl } | SendClass::Idempotent { ttl } => now().checked_add(ttl),
    }
}

#[expect(clippy::disallowed_methods, reason = "the handle's side; the pump is told the time")]
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
