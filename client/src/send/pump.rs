//! The driver's side: from the queue into the connection, and back with the outcomes.

mod in_flight;
mod lost;

use std::{
    collections::VecDeque,
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Instant,
};

use everwire_engine::{EngineError, Message};
use futures_sink::Sink;

use self::in_flight::InFlight;
use super::{
    NotSentReason, SendClass, SendLimits, SendOutcome,
    outbox::{Entry, Gate, Intake, Outbox, Shared, Ticket},
};

/// How much one poll hands over before it flushes. More goes into the next poll, so that reading and timers
/// have their turn between; it is enough for the cost of a flush to vanish.
const BATCH_MESSAGES: usize = 128;
const BATCH_BYTES: usize = 256 << 10;

/// Why [`Pump::poll`] stopped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum PumpState {
    /// Everything that may flow has flowed and is flushed, or the poll's share of work is done and the waker
    /// was woken for the rest.
    Idle,
    /// The connection takes no more at the moment. It wakes the driver when it does.
    Blocked,
}

/// The one end of the queue that the driver holds.
///
/// Order on a connection: the driver's own frames (`urgent`), then what is sent again, then what was held,
/// then what is new. All but the first are in the order of their first push, which is why one queue does.
pub(crate) struct Pump {
    outbox: Outbox,
    urgent: VecDeque<Entry>,
    /// Taken from the shared queue, not handed over yet. What is sent again is put back in front.
    taken: VecDeque<Entry>,
    in_flight: InFlight,
    /// All of that is flushed after all, which is to be told with the next lock.
    flushed: bool,
    /// The numbers of messages with other outcomes than that, to be told with the next lock.
    settled: Vec<(u64, SendOutcome)>,
    /// The room of these: messages, and their bytes.
    freed: (usize, usize),
    /// To be woken after the lock; kept for its storage.
    wakers: Vec<Waker>,
    gate: Gate,
    progress: u64,
    /// What was flushed since the last look: messages, and their bytes.
    sent: (u64, u64),
    /// What counted against the limits at the last lock: messages, and their bytes.
    #[cfg(feature = "metrics")]
    depth: (usize, usize),
    earliest: Option<Instant>,
}

impl Pump {
    /// A queue with these limits, closed until [`set_gate`](Self::set_gate) opens it.
    pub(crate) fn new(limits: SendLimits) -> (Outbox, Self) {
        let outbox = Outbox::new(limits);
        let pump = Self {
            outbox: outbox.clone(),
            urgent: VecDeque::new(),
            taken: VecDeque::new(),
            in_flight: InFlight::default(),
            flushed: false,
            settled: Vec::new(),
            freed: (0, 0),
            wakers: Vec::new(),
            gate: Gate::Closed,
            progress: 0,
            sent: (0, 0),
            #[cfg(feature = "metrics")]
            depth: (0, 0),
            earliest: None,
        };
        (outbox, pump)
    }

    /// Queues a frame of the driver's own before everything else, in the order of these calls. It flows while
    /// the gate is closed, does not count against the limits, and is dropped when the connection is lost.
    pub(crate) fn urgent(&mut self, message: Message) {
        let class = SendClass::FailFast;
        let ticket = Ticket { class, expires_at: None, number: None, attempted: false };
        self.urgent.push_back(Entry { ticket, message });
    }

    /// How many frames of the driver's own wait.
    pub(crate) fn urgent_len(&self) -> usize {
        self.urgent.len()
    }

    /// Whether the application's messages flow. Closing refuses the fail-fast ones that wait for room; those
    /// in the queue are settled by [`connection_lost`](Self::connection_lost).
    pub(crate) fn set_gate(&mut self, gate: Gate) {
        if self.gate == gate {
            return;
        }
        self.gate = gate;
        let outbox = self.outbox.clone();
        let mut shared = outbox.lock();
        shared.gate = gate;
        // Until the next poll, which must follow, a push has nobody to wake.
        shared.hungry = false;
        if gate == Gate::Closed {
            shared.refuse_waiters(&mut self.wakers, |class, _| class.fails_fast());
        }
        drop(shared);
        self.wake_all();
    }

    /// From now on what flows, flows on this connection. What was meant for another one is refused.
    pub(crate) fn set_connection(&mut self, generation: u64) {
        let outbox = self.outbox.clone();
        let mut shared = outbox.lock();
        if mem::replace(&mut shared.generation, generation) == generation {
            return;
        }
        shared.refuse_waiters(&mut self.wakers, |class, _| class.is_for_another(generation));
        drop(shared);
        self.collect();
        self.retain_taken(|ticket| {
            ticket.class.is_for_another(generation).then_some(NotSentReason::OtherConnection)
        });
        self.settle(None);
    }

    /// Opens or closes the gate.
    pub(crate) fn set_open(&mut self, open: bool) {
        self.set_gate(if open { Gate::Open } else { Gate::Closed });
    }

    /// Feeds what may flow, flushes, settles. An error ends the connection: follow it with
    /// [`connection_lost`](Self::connection_lost).
    ///
    /// The waker is woken by a push that may flow, and by one that expires before
    /// [`next_expiry`](Self::next_expiry) as it was after this poll.
    pub(crate) fn poll<S>(&mut self, cx: &mut Context<'_>, sink: &mut S) -> Result<PumpState, EngineError>
    where
        S: Sink<Message, Error = EngineError> + Unpin,
    {
        let (mut messages, mut bytes) = (BATCH_MESSAGES, BATCH_BYTES);
        loop {
            let fed = self.feed(cx, sink, &mut messages, &mut bytes)?;
            let mut blocked = fed.is_pending();
            if !self.in_flight.is_empty() {
                match Pin::new(&mut *sink).poll_flush(cx)? {
                    Poll::Ready(()) => {
                        self.progress += 1;
                        self.flushed = true;
                    }
                    Poll::Pending => blocked = true,
                }
            }
            self.settle(Some((cx.waker(), blocked)));
            if blocked {
                return Ok(PumpState::Blocked);
            }
            if self.urgent.is_empty() && (self.gate != Gate::Open || self.taken.is_empty()) {
                return Ok(PumpState::Idle);
            }
            if messages == 0 || bytes == 0 {
                cx.waker().wake_by_ref();
                return Ok(PumpState::Idle);
            }
        }
    }

    fn feed<S>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut S,
        messages: &mut usize,
        bytes: &mut usize,
    ) -> Result<Poll<()>, EngineError>
    where
        S: Sink<Message, Error = EngineError> + Unpin,
    {
        while *messages > 0 && *bytes > 0 {
            let queue = match self.gate {
                _ if !self.urgent.is_empty() => &mut self.urgent,
                Gate::Open if !self.taken.is_empty() => &mut self.taken,
                _ => break,
            };
            if Pin::new(&mut *sink).poll_ready(cx)?.is_pending() {
                return Ok(Poll::Pending);
            }
            let Some(Entry { ticket, message }) = queue.pop_front() else { break };
            *messages -= 1;
            let len = message.len();
            *bytes = bytes.saturating_sub(len.max(1));
            let again = matches!(ticket.class, SendClass::Idempotent { .. }).then(|| message.clone());
            let handed = Pin::new(&mut *sink).start_send(message);
            if let (Some(number), Err(error)) = (ticket.number, &handed)
                && let Some(reason) = NotSentReason::refused(error)
            {
                // It alone: the connection stays. The next one would refuse it too, so it is not sent again.
                let outcome = if ticket.attempted { SendOutcome::MaybeSent } else { not_sent(reason) };
                self.settled_as(number, len, outcome);
                continue;
            }
            match ticket.number {
                None => self.in_flight.note_own(len),
                Some(number) => {
                    self.in_flight.note(number, len);
                    if let Some(message) = again {
                        self.in_flight.keep(Entry { ticket, message });
                    }
                }
            }
            handed?;
            self.progress += 1;
        }
        Ok(Poll::Ready(()))
    }

    /// For when there is no connection to poll with: has the waker woken by a push that expires before
    /// [`next_expiry`](Self::next_expiry) as it is after this call.
    pub(crate) fn poll_closed(&mut self, cx: &Context<'_>) {
        self.settle(Some((cx.waker(), true)));
    }

    /// Counts messages handed over and flushes confirmed: as long as it changes, the connection moves. (How
    /// much of one large message has gone is known to the connection alone.)
    pub(crate) const fn progress(&self) -> u64 {
        self.progress
    }

    /// What waits, in messages and bytes, as it was when the driver last looked. No lock.
    #[cfg(feature = "metrics")]
    pub(crate) const fn depth(&self) -> (usize, usize) {
        self.depth
    }

    /// How many messages were flushed since the last call, the driver's own among them, and their bytes.
    pub(crate) fn take_sent(&mut self) -> (u64, u64) {
        mem::take(&mut self.sent)
    }

    /// No message that waits expires before this. As of the last poll; it may be too early.
    pub(crate) const fn next_expiry(&self) -> Option<Instant> {
        self.earliest
    }

    /// Settles what has waited for as long as it may.
    pub(crate) fn expire(&mut self, now: Instant) {
        if self.earliest.is_none_or(|earliest| now < earliest) {
            return;
        }
        self.collect();
        let expired = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        self.retain_taken(|ticket| expired(ticket.expires_at).then_some(NotSentReason::Expired));
        let outbox = self.outbox.clone();
        let mut shared = outbox.lock();
        shared.refuse_waiters(&mut self.wakers, |_, expires_at| expired(expires_at));
        shared.earliest = self.first_expiry(&shared);
        drop(shared);
        self.settle(None);
    }

    /// When the first of all that waits expires. What is in flight waits no more, unless it is lost.
    pub(super) fn first_expiry(&self, shared: &Shared) -> Option<Instant> {
        let entries = self.taken.iter().chain(&shared.queue);
        entries.filter_map(|entry| entry.ticket.expires_at).chain(shared.line.earliest()).min()
    }

    /// Accepts nothing more until [`connection_lost`](Self::connection_lost); what is queued still flows.
    pub(crate) fn stop_intake(&mut self) {
        let outbox = self.outbox.clone();
        let mut shared = outbox.lock();
        if shared.intake == Intake::Open {
            shared.intake = Intake::Stopped;
        }
        shared.refuse_waiters(&mut self.wakers, |_, _| true);
        drop(shared);
        self.wake_all();
    }

    /// Whether all that may flow has flowed and is flushed.
    pub(crate) fn drained(&self) -> bool {
        let flows = self.gate == Gate::Open;
        self.urgent.is_empty()
            && self.in_flight.is_empty()
            && (!flows || (self.taken.is_empty() && self.outbox.lock().queue.is_empty()))
    }

    /// Takes all that is in the shared queue.
    fn collect(&mut self) {
        let mut shared = self.outbox.lock();
        self.taken.append(&mut shared.queue);
    }

    /// Settles those that were taken and for which there is a reason not to send them.
    fn retain_taken(&mut self, reason: impl Fn(&Ticket) -> Option<NotSentReason>) {
        for _ in 0..self.taken.len() {
            let Some(entry) = self.taken.pop_front() else { return };
            match reason(&entry.ticket) {
                // One that a dead connection already had may have arrived all the same.
                Some(_) if entry.ticket.attempted => self.settle_entry(&entry, SendOutcome::MaybeSent),
                Some(reason) => self.settle_entry(&entry, not_sent(reason)),
                None => self.taken.push_back(entry),
            }
        }
    }

    fn settle_entry(&mut self, entry: &Entry, outcome: SendOutcome) {
        if let Some(number) = entry.ticket.number {
            self.settled_as(number, entry.message.len(), outcome);
        }
    }

    fn settled_as(&mut self, number: u64, bytes: usize, outcome: SendOutcome) {
        self.settled.push((number, outcome));
        self.freed.0 += 1;
        self.freed.1 += bytes;
    }

    /// The one lock of a batch: tells outcomes, frees room, takes what is queued, leaves the waker.
    fn settle(&mut self, waker: Option<(&Waker, bool)>) {
        let mut displaced = None;
        let outbox = self.outbox.clone();
        let mut shared = outbox.lock();
        // Before the mark passes them.
        for (number, outcome) in self.settled.drain(..) {
            self.wakers.extend(shared.ledger.except(number, outcome, outbox.marks()));
        }
        if self.flushed {
            let (messages, bytes) = self.in_flight.sum();
            self.freed.0 += messages;
            self.freed.1 += bytes;
            let (all, all_bytes) = self.in_flight.sum_with_own();
            self.sent.0 += all as u64;
            self.sent.1 += all_bytes as u64;
            if let Some(end) = self.in_flight.end() {
                shared.ledger.flushed_below(end, outbox.marks(), &mut self.wakers);
            }
        }
        if self.freed.0 > 0 {
            let (messages, bytes) = mem::take(&mut self.freed);
            shared.room.release(messages, bytes);
            shared.grant_room(&mut self.wakers);
        }
        if let Some((waker, blocked)) = waker {
            let flows = self.gate == Gate::Open && !blocked;
            if flows && self.taken.is_empty() {
                mem::swap(&mut self.taken, &mut shared.queue);
            }
            shared.hungry = flows;
            if !shared.driver.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
                displaced = shared.driver.replace(waker.clone());
            }
        }
        self.earliest = shared.earliest;
        #[cfg(feature = "metrics")]
        {
            self.depth = shared.room.depth();
        }
        drop(shared);
        drop(displaced);
        if mem::take(&mut self.flushed) {
            self.in_flight.clear();
        }
        self.wake_all();
    }

    fn wake_all(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

impl fmt::Debug for Pump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pump")
            .field("gate", &self.gate)
            .field("urgent", &self.urgent.len())
            .field("taken", &self.taken.len())
            .field("in_flight", &self.in_flight)
            .finish_non_exhaustive()
    }
}

const fn not_sent(reason: NotSentReason) -> SendOutcome {
    SendOutcome::NotSent(reason)
}
