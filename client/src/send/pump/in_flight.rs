//! What was handed to a connection and is not flushed yet.

use std::{mem, ops::Range};

use super::Entry;

/// It is flushed as a whole or lost as a whole, so sums are enough, and numbers without a gap are one range.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    /// How many frames, the driver's own among them.
    frames: usize,
    frame_bytes: usize,
    /// The application's messages, whose numbers grow.
    numbers: Vec<Range<u64>>,
    messages: usize,
    bytes: usize,
    /// Those of them that may be sent again.
    again: Vec<Entry>,
}

impl InFlight {
    pub(super) const fn is_empty(&self) -> bool {
        self.frames == 0
    }

    /// One of the driver's own frames was handed over.
    pub(super) const fn note_own(&mut self, bytes: usize) {
        self.frames += 1;
        self.frame_bytes += bytes;
    }

    /// A message was handed over.
    #[inline]
    pub(super) fn note(&mut self, number: u64, bytes: usize) {
        self.note_own(bytes);
        self.messages += 1;
        self.bytes += bytes;
        match self.numbers.last_mut() {
            Some(range) if range.end == number => range.end += 1,
            _ => self.numbers.push(number..number + 1),
        }
    }

    /// The message that was noted last may be sent again.
    pub(super) fn keep(&mut self, again: Entry) {
        self.again.push(again);
    }

    /// The messages of the application, and their bytes.
    pub(super) const fn sum(&self) -> (usize, usize) {
        (self.messages, self.bytes)
    }

    /// All frames, and their bytes.
    pub(super) const fn sum_with_own(&self) -> (usize, usize) {
        (self.frames, self.frame_bytes)
    }

    /// The number behind the last message.
    pub(super) fn end(&self) -> Option<u64> {
        self.numbers.last().map(|range| range.end)
    }

    /// All of it is through. Keeps its storage.
    pub(super) fn clear(&mut self) {
        self.numbers.clear();
        self.again.clear();
        self.forget_sums();
    }

    /// All of it is lost. Gives what may be sent again, and tells the numbers of the rest.
    pub(super) fn lose(&mut self, mut lost: impl FnMut(u64)) -> Vec<Entry> {
        let mut again = self.again.iter().filter_map(|entry| entry.ticket.number).peekable();
        for number in self.numbers.drain(..).flatten() {
            if again.next_if_eq(&number).is_none() {
                lost(number);
            }
        }
        self.forget_sums();
        mem::take(&mut self.again)
    }

    /// Takes over what another pump has handed over: frames of its driver, nothing else.
    pub(super) fn adopt(&mut self, other: &Self) {
        debug_assert!(other.numbers.is_empty(), "only one pump has an outbox");
        self.frames += other.frames;
        self.frame_bytes += other.frame_bytes;
    }

    const fn forget_sums(&mut self) {
        (self.frames, self.frame_bytes, self.messages, self.bytes) = (0, 0, 0, 0);
    }
}
