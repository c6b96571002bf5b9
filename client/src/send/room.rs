//! How much is in the queue, against its limits.

use super::SendLimits;

/// What counts against the limits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    limits: SendLimits,
    messages: usize,
    bytes: usize,
}

impl Room {
    pub(super) const fn new(limits: SendLimits) -> Self {
        Self { limits, messages: 0, bytes: 0 }
    }

    #[inline]
    pub(super) const fn fits(&self, bytes: usize) -> bool {
        // The first may be of any size; otherwise a message larger than the limit could never be sent.
        self.messages == 0
            || (self.messages < self.limits.messages()
                && self.bytes.saturating_add(bytes) <= self.limits.bytes())
    }

    /// Messages, and their bytes.
    pub(super) const fn depth(&self) -> (usize, usize) {
        (self.messages, self.bytes)
    }

    #[inline]
    pub(super) const fn reserve(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes;
    }

    /// Gives room back. Follow with [`grant_room`](super::outbox::Shared::grant_room).
    pub(super) const fn release(&mut self, messages: usize, bytes: usize) {
        self.messages -= messages;
        self.bytes -= bytes;
    }
}
