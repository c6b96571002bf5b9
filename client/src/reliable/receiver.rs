//! The receiving half: each message once, in order, whatever arrives.

use std::{collections::VecDeque, fmt};

use super::{Gap, ReliableLimits};

/// Puts numbered messages into their order and drops what came already.
///
/// Give it each message with [`receive`](Self::receive), then take what is next with [`pop`](Self::pop) until
/// there is none, and tell the peer [`ack`](Self::ack): now and then, and first thing on a new connection.
#[derive(Clone)]
pub struct ReliableReceiver<T> {
    window: usize,
    /// The last that was taken.
    taken: u64,
    /// What follows it, with holes. The front has the number `taken + 1`.
    waiting: VecDeque<Option<T>>,
}

/// What became of a message that arrived.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Received {
    /// It is new. If those before it are there, it can be taken.
    New,
    /// It was there already, and was dropped.
    Duplicate,
    /// It is so far ahead that it was dropped: it is not acknowledged, and comes again.
    BeyondWindow,
}

impl<T> ReliableReceiver<T> {
    /// The receiver of a new session. The limit in messages is its window: how far ahead of the order a
    /// message may be.
    pub const fn new(limits: ReliableLimits) -> Self {
        Self { window: limits.messages, taken: 0, waiting: VecDeque::new() }
    }

    /// A message arrived, with its number.
    pub fn receive(&mut self, number: u64, message: T) -> Received {
        if number <= self.taken {
            return Received::Duplicate;
        }
        let at = match usize::try_from(number - self.taken - 1) {
            Ok(at) if at < self.window => at,
            _ => return Received::BeyondWindow,
        };
        if at >= self.waiting.len() {
            self.waiting.resize_with(at + 1, || None);
        }
        let place = &mut self.waiting[at];
        if place.is_some() {
            return Received::Duplicate;
        }
        *place = Some(message);
        Received::New
    }

    /// The next message in order, with its number. Taken once; from then on it counts as acknowledged.
    pub fn pop(&mut self) -> Option<(u64, T)> {
        let message = self.waiting.front_mut()?.take()?;
        self.waiting.pop_front();
        self.taken += 1;
        Some((self.taken, message))
    }

    /// How far the order is complete and taken: the number to acknowledge, and to resume with. 0 before the
    /// first.
    pub const fn ack(&self) -> u64 {
        self.taken
    }

    /// What is missing before the next message that is there; `None` while nothing waits for it.
    pub fn missing(&self) -> Option<Gap> {
        let holes = self.waiting.iter().take_while(|place| place.is_none()).count() as u64;
        (holes > 0).then(|| Gap { from: self.taken + 1, to: self.taken + holes })
    }

    /// Gives up on everything up to a number, since the peer has it no more. What is there and not taken of
    /// it comes back, in order; returns with it what was lost for good.
    pub fn skip(&mut self, up_to: u64) -> Skipped<T> {
        let count = up_to.saturating_sub(self.taken);
        let mut skipped = Skipped { received: Vec::new(), lost: 0 };
        let there = usize::try_from(count).unwrap_or(usize::MAX).min(self.waiting.len());
        let numbered = (self.taken + 1..).zip(self.waiting.drain(..there));
        skipped.received.extend(numbered.filter_map(|(number, place)| Some((number, place?))));
        skipped.lost = count - skipped.received.len() as u64;
        self.taken += count;
        skipped
    }

    /// Begins a new session with 1, and drops what was out of order.
    pub fn restart(&mut self) {
        self.taken = 0;
        self.waiting.clear();
    }
}

impl<T> fmt::Debug for ReliableReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReliableReceiver")
            .field("taken", &self.taken)
            .field("missing", &self.missing())
            .finish_non_exhaustive()
    }
}

/// What [`ReliableReceiver::skip`] found.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Skipped<T> {
    /// What was there, with its numbers, in order.
    pub received: Vec<(u64, T)>,
    /// How many messages are lost.
    pub lost: u64,
}
