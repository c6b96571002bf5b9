//! The sending half: numbers what goes out, and keeps it until it is acknowledged.

use std::{collections::VecDeque, error::Error as StdError, fmt};

use super::{Gap, ReliableLimits, ResumeFailed, Resumed};

/// Numbers messages from 1, and keeps each until the peer has acknowledged it.
///
/// On a connection: [`push`](Self::push), then send message and number; give it each acknowledgement with
/// [`acked`](Self::acked). On the next connection: [`resume`](Self::resume) with what the peer says it has,
/// then send all of [`unacked`](Self::unacked) again, in order, before anything new.
#[derive(Clone)]
pub struct ReliableSender<T> {
    limits: ReliableLimits,
    /// With their sizes; the last one has the number `sent`.
    kept: VecDeque<(T, usize)>,
    sent: u64,
    bytes: usize,
}

impl<T> ReliableSender<T> {
    /// The sender of a new session.
    pub const fn new(limits: ReliableLimits) -> Self {
        Self { limits, kept: VecDeque::new(), sent: 0, bytes: 0 }
    }

    /// Numbers a message and keeps it. `bytes` is its size, for the limit.
    ///
    /// # Errors
    /// [`Full`] gives it back when too much is not acknowledged yet: try again after the next acknowledgement.
    pub fn push(&mut self, message: T, bytes: usize) -> Result<u64, Full<T>> {
        let fits =
            self.kept.len() < self.limits.messages && self.bytes.saturating_add(bytes) <= self.limits.bytes;
        if !fits && !self.kept.is_empty() {
            return Err(Full(message));
        }
        self.kept.push_back((message, bytes));
        self.bytes += bytes;
        self.sent += 1;
        Ok(self.sent)
    }

    /// The peer has everything up to this number. Returns how many messages that settles; an acknowledgement
    /// that comes late settles none.
    ///
    /// # Errors
    /// The peer acknowledges what was never sent. Nothing has changed.
    pub fn acked(&mut self, up_to: u64) -> Result<u64, ResumeFailed> {
        if up_to > self.sent {
            return Err(ResumeFailed { claimed: up_to, sent: self.sent });
        }
        let mut settled = 0;
        while self.first_kept() <= up_to {
            let Some((_, bytes)) = self.kept.pop_front() else { break };
            self.bytes -= bytes;
            settled += 1;
        }
        Ok(settled)
    }

    /// A new connection: the peer has everything up to this number. What [`unacked`](Self::unacked) then
    /// yields is to be sent again.
    ///
    /// # Errors
    /// The peer claims to have what was never sent: it speaks of another session. Nothing has changed; see
    /// [`restart`](Self::restart).
    pub fn resume(&mut self, peer_has: u64) -> Result<Resumed, ResumeFailed> {
        self.acked(peer_has)?;
        let first = self.first_kept();
        let gap = (peer_has + 1 < first).then(|| Gap { from: peer_has + 1, to: first - 1 });
        Ok(Resumed { replayed: self.kept.len() as u64, gap })
    }

    /// What is not acknowledged, with its numbers, in order.
    pub fn unacked(&self) -> impl Iterator<Item = (u64, &T)> {
        (self.first_kept()..).zip(self.kept.iter().map(|(message, _)| message))
    }

    /// Begins a new session with 1. What was not acknowledged comes back: each of these messages may have
    /// arrived or not.
    pub fn restart(&mut self) -> impl Iterator<Item = T> + use<T> {
        (self.sent, self.bytes) = (0, 0);
        std::mem::take(&mut self.kept).into_iter().map(|(message, _)| message)
    }

    /// The number of the last message; 0 before the first.
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// How many messages are not acknowledged.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether all is acknowledged.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// The number of the oldest that is kept, or of the next to come.
    fn first_kept(&self) -> u64 {
        self.sent - self.kept.len() as u64 + 1
    }
}

impl<T> fmt::Debug for ReliableSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReliableSender")
            .field("sent", &self.sent)
            .field("unacked", &self.kept.len())
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// Too much is not acknowledged yet. The message, given back.
#[derive(Clone, Copy, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "it is the message, and nothing will be added")]
pub struct Full<T>(pub T);

impl<T> fmt::Debug for Full<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Full(..)")
    }
}

impl<T> fmt::Display for Full<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too many messages are not acknowledged yet")
    }
}

impl<T> StdError for Full<T> {}
