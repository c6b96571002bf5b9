//! What was read before tungstenite has room for it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, ReadBuf};

/// So much is asked of the transport at once while there is plenty.
const GULP: usize = 32 << 10;
/// A read that brings less than this says that there is no plenty any more.
const PLENTY: usize = 8 << 10;
/// A direct read that is full says that there is plenty, unless it was as small as this: the rest of a buffer.
const SCANT: usize = 2 << 10;
/// After so many times in a row that the transport had nothing more and little before, the buffer is given back.
const QUIET: u8 = 4;

/// A buffer in front of tungstenite's own, which is as small as an idle connection wants it and cannot grow.
///
/// It is used only while more arrives than that one takes and the application holds what it was given: then
/// tungstenite has to begin a new buffer for each read, and each would be as small as the first. As long as the
/// application lets go of its messages, copying costs more than the calls of the system that it saves.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// All of it is initialised, so that it can be read into again and again.
    buffer: Vec<u8>,
    at: usize,
    end: usize,
    /// The last read was as large as it could be.
    plenty: bool,
    /// Where tungstenite wanted the last bytes.
    place: usize,
    /// It was filled since the transport had nothing.
    filled: bool,
    quiet: u8,
}

impl Ahead {
    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.at == self.end
    }

    /// Whether the next read shall go into this buffer rather than to where tungstenite wants it, in a buffer of this
    /// size.
    #[inline]
    pub(super) fn is_wanted(&mut self, into: &[u8], size: usize) -> bool {
        let place = into.as_ptr().addr();
        // A buffer whose messages are gone is used again, from its beginning.
        let is_another = place.abs_diff(self.place) >= size / 4 * 3;
        self.place = place;
        is_another && self.plenty && into.len() < GULP
    }

    /// A read past this buffer has brought so much, of what there was room for.
    #[inline]
    pub(super) const fn note(&mut self, len: usize, room: usize) {
        self.plenty = len == room && len > SCANT;
    }

    /// Nothing of the past says that it is wanted.
    #[inline]
    pub(super) const fn forget(&mut self) {
        self.plenty = false;
    }

    /// Reads from the transport; only when it is empty. Yields how much, 0 at the end.
    pub(super) fn poll_fill(
        &mut self,
        io: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.buffer.resize(GULP, 0);
        let mut into = ReadBuf::new(&mut self.buffer);
        ready!(Pin::new(io).poll_read(cx, &mut into))?;
        let len = into.filled().len();
        (self.at, self.end) = (0, len);
        (self.plenty, self.filled) = (len >= PLENTY, true);
        Poll::Ready(Ok(len))
    }

    /// Hands on as much as there is room for; gives how much.
    #[inline]
    pub(super) fn serve(&mut self, into: &mut [u8]) -> usize {
        let len = into.len().min(self.end - self.at);
        into[..len].copy_from_slice(&self.buffer[self.at..self.at + len]);
        self.at += len;
        self.place = into.as_ptr().addr();
        len
    }

    /// The transport has nothing at the moment.
    #[inline]
    pub(super) fn dry(&mut self) {
        if self.filled {
            (self.filled, self.quiet) = (false, 0);
        } else if !self.buffer.is_empty() {
            self.quiet += 1;
            if self.quiet == QUIET {
                self.release();
            }
        }
    }

    /// Gives the memory back, if it holds nothing.
    pub(super) fn release(&mut self) {
        if self.is_empty() {
            *self = Self { place: self.place, ..Self::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn fill(ahead: &mut Ahead, mut bytes: &[u8]) -> usize {
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Ok(len)) = ahead.poll_fill(&mut bytes, &mut cx) else {
            panic!("bytes are always ready")
        };
        len
    }

    fn drain(ahead: &mut Ahead) -> Vec<u8> {
        let mut bytes = Vec::new();
        while !ahead.is_empty() {
            let mut piece = [0; 1000];
            let len = ahead.serve(&mut piece);
            bytes.extend(&piece[..len]);
        }
        bytes
    }

    #[test]
    fn what_is_read_comes_back_as_it_is() {
        let mut ahead = Ahead::default();
        let bytes: Vec<u8> = (0..40_000_u32).map(|n| n as u8).collect();
        assert_eq!(fill(&mut ahead, &bytes), GULP);
        assert_eq!(drain(&mut ahead), bytes[..GULP]);
        assert_eq!(fill(&mut ahead, &bytes[..7]), 7);
        assert_eq!(drain(&mut ahead), bytes[..7]);
    }

    #[test]
    fn it_is_wanted_from_a_full_read_to_one_that_brings_little_while_buffers_change() {
        let (mut ahead, places) = (Ahead::default(), vec![0; 5 * 4096]);
        let (one, other) = (&places[..4096], &places[4 * 4096..]);
        for (len, room, wanted) in [(100, 4096, false), (1000, 1000, false), (4096, 4096, true)] {
            ahead.is_wanted(one, 4096);
            ahead.note(len, room);
            assert_eq!(ahead.is_wanted(other, 4096), wanted, "{len} of {room}");
        }
        assert!(!ahead.is_wanted(other, 4096), "the buffer is used again, so nothing of it is held");
        assert!(!ahead.is_wanted(&vec![0; GULP], 4096), "a buffer that is as large needs no other");
        fill(&mut ahead, &[7; PLENTY]);
        assert!(ahead.is_wanted(one, 4096) && ahead.is_wanted(other, 4096));
        fill(&mut ahead, &[7; PLENTY - 1]);
        assert!(!ahead.is_wanted(one, 4096) && !ahead.is_wanted(other, 4096));
    }

    #[test]
    fn it_is_given_back_when_nothing_much_has_come_for_a_while_and_never_with_something_in_it() {
        let mut ahead = Ahead::default();
        fill(&mut ahead, &[7; 100]);
        (0..10).for_each(|_| ahead.dry());
        assert_eq!(drain(&mut ahead), [7; 100]);
        fill(&mut ahead, &[7; 100]);
        drain(&mut ahead);
        (0..=QUIET).for_each(|_| {
            assert_eq!(ahead.buffer.len(), GULP);
            ahead.dry();
        });
        assert_eq!(ahead.buffer.capacity(), 0);
    }
}
