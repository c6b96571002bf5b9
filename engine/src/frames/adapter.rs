//! Between tungstenite, which reads and writes as if it blocked, and a transport that is polled.

use std::{
    error::Error,
    fmt,
    io::{self, Read, Write},
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    ahead::Ahead,
    appetite::Appetite,
    boundary::{Boundary, Mark},
};
use crate::pipeline::Stream;

/// A polled transport behind `Read` and `Write`: what is pending there is `WouldBlock` here.
///
/// One waker is cached, that of the task which polls the connection, and it is cloned only when that task
/// changes. This is what makes a read cheaper than through the wrapper that tungstenite's own asynchronous
/// companion uses: that one registers the waker twice, atomically, for every message.
pub(super) struct NonBlocking {
    io: Stream,
    waker: Waker,
    /// What the server sent behind its answer to the upgrade. Served first; empty nearly always.
    prefix: Bytes,
    /// Bytes that were read before the buffer was to grow, for the one that has. The boundary knows of them.
    kept: Bytes,
    /// The buffer is to grow, and holds whole messages and nothing else; until it has, nothing more is read.
    cut: bool,
    appetite: Appetite,
    ahead: Ahead,
    /// Where in the peer's messages the bytes stand that were read.
    boundary: Boundary,
    backlog: Backlog,
    /// Something of the application's was written that has not left, as far as is known.
    unflushed: bool,
}

/// Whether the transport takes what we write.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Backlog {
    None,
    /// The last write did not fit.
    Blocked,
    /// It did fit, after one that did not.
    CaughtUp,
}

impl NonBlocking {
    /// With `compression` the peer's messages may be compressed, and [`next_mark`](Self::next_mark) tells which are.
    pub(super) fn new(io: Stream, prefix: Bytes, compression: bool, appetite: Appetite) -> Self {
        let mut boundary = Boundary::default();
        if compression {
            boundary.mark_messages();
        }
        Self {
            io,
            waker: Waker::noop().clone(),
            prefix,
            kept: Bytes::new(),
            cut: false,
            appetite,
            ahead: Ahead::default(),
            boundary,
            backlog: Backlog::None,
            unflushed: false,
        }
    }

    /// How large the read buffer is to be.
    pub(super) const fn appetite(&mut self) -> &mut Appetite {
        &mut self.appetite
    }

    /// Whether the buffer is to grow now; true once each time. What was read for it is served in any case.
    #[inline]
    pub(super) fn take_cut(&mut self) -> bool {
        std::mem::take(&mut self.cut)
    }

    /// These bytes came. Gives how many of them are for the buffer of the moment: when that is to grow, those of whole
    /// messages, and the rest is kept for the larger one.
    fn came(&mut self, bytes: &mut [u8]) -> usize {
        let len = bytes.len();
        self.appetite.came(len);
        let is_for_all = self.appetite.is_small() || self.appetite.is_flooded();
        let start = if is_for_all { self.boundary.last_start(bytes) } else { None };
        self.boundary.follow(bytes);
        if len == 0 || !self.appetite.is_starved(self.boundary.remaining()) {
            return len;
        }
        let start = if is_for_all { start } else { self.boundary.long_start(len) };
        let Some(start) = start else { return len };
        self.kept = Bytes::copy_from_slice(&bytes[start..]);
        self.cut = true;
        start
    }

    /// How much of a frame is still to come.
    pub(super) const fn of_frame(&self) -> u64 {
        self.boundary.remaining()
    }

    /// What was read is held by an answer of ours, which says nothing of the application.
    pub(super) const fn answers(&mut self) {
        self.ahead.forget();
        self.appetite.is_no_flood();
    }

    /// Gives back what messages that were kept made grow.
    pub(super) fn release(&mut self) {
        self.ahead.release();
    }

    /// Whoever polls is whom the transport wakes.
    #[inline]
    pub(super) fn register(&mut self, cx: &Context<'_>) {
        if !self.waker.will_wake(cx.waker()) {
            self.waker.clone_from(cx.waker());
        }
    }

    /// Whether everything that was read are whole messages.
    pub(super) const fn is_between_messages(&self) -> bool {
        self.boundary.is_between_messages()
    }

    /// What the next message is that is read as a binary one; to be asked once for each.
    #[inline]
    pub(super) fn next_mark(&mut self) -> Mark {
        self.boundary.next_mark()
    }

    /// The payload of the close frame that was read.
    pub(super) fn close(&self) -> &[u8] {
        self.boundary.close()
    }

    /// Whether a pong is the close frame of a gateway.
    pub(super) fn is_disguised(&self, payload: &[u8]) -> bool {
        self.boundary.is_disguised(payload)
    }

    /// Whether the last write did not fit into the transport.
    #[inline]
    pub(super) fn is_blocked(&self) -> bool {
        self.backlog == Backlog::Blocked
    }

    /// Whether writes fit again that did not before; true once each time.
    #[inline]
    pub(super) fn take_caught_up(&mut self) -> bool {
        let caught_up = self.backlog == Backlog::CaughtUp;
        if caught_up {
            self.backlog = Backlog::None;
        }
        caught_up
    }

    /// A message of the application's is about to be written.
    #[inline]
    pub(super) const fn sends(&mut self) {
        self.unflushed = true;
    }

    /// Whether a message of the application's was written and has not left, as far as is known.
    pub(super) const fn is_unflushed(&self) -> bool {
        self.unflushed
    }

    /// Ends the writing half: close-notify on TLS, FIN on TCP.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl Read for NonBlocking {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.cut {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if self.kept.has_remaining() {
            return Ok(serve(&mut self.kept, into));
        }
        let len = if self.prefix.has_remaining() {
            serve(&mut self.prefix, into)
        } else if !self.ahead.is_empty() {
            self.ahead.serve(into)
        } else if self.boundary.is_not_utf8() {
            // The messages before it are through: only when it holds no whole one does tungstenite read on.
            return Err(io::Error::new(io::ErrorKind::InvalidData, NotUtf8));
        } else {
            match self.poll_transport(into) {
                Poll::Ready(outcome) => outcome?,
                Poll::Pending => {
                    self.ahead.dry();
                    return Err(io::ErrorKind::WouldBlock.into());
                }
            }
        };
        match self.came(&mut into[..len]) {
            // Nothing of it is for this buffer, which is no end.
            0 if len > 0 => Err(io::ErrorKind::WouldBlock.into()),
            len => Ok(len),
        }
    }
}

impl NonBlocking {
    /// Reads from the transport, past the buffer ahead or through it.
    fn poll_transport(&mut self, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let cx = &mut Context::from_waker(&self.waker);
        if self.backlog == Backlog::Blocked {
            // A peer that reads nothing shall cost as little as can be.
            self.ahead.release();
        } else if self.ahead.is_wanted(into, self.appetite.size()) {
            ready!(self.ahead.poll_fill(&mut self.io, cx))?;
            return Poll::Ready(Ok(self.ahead.serve(into)));
        }
        let mut buf = ReadBuf::new(into);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf))?;
        let len = buf.filled().len();
        self.ahead.note(len, into.len());
        Poll::Ready(Ok(len))
    }
}

fn serve(bytes: &mut Bytes, into: &mut [u8]) -> usize {
    let len = bytes.len().min(into.len());
    bytes.copy_to_slice(&mut into[..len]);
    len
}

impl Write for NonBlocking {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let poll = Pin::new(&mut self.io).poll_write(&mut Context::from_waker(&self.waker), from);
        self.backlog = match (&poll, self.backlog) {
            (Poll::Pending, _) => Backlog::Blocked,
            (Poll::Ready(_), Backlog::None) => Backlog::None,
            (Poll::Ready(_), _) => Backlog::CaughtUp,
        };
        or_would_block(poll)
    }

    fn flush(&mut self) -> io::Result<()> {
        or_would_block(Pin::new(&mut self.io).poll_flush(&mut Context::from_waker(&self.waker)))?;
        // tungstenite flushes only when its own buffer is empty.
        self.unflushed = false;
        Ok(())
    }
}

/// A text is none, which is known though it has not arrived as a whole (RFC 6455 §8.1).
#[derive(Clone, Copy, Debug)]
pub(super) struct NotUtf8;

impl NotUtf8 {
    /// Whether it is the cause of a read's failure.
    pub(super) fn is_behind(error: &io::Error) -> bool {
        matches!(error.get_ref(), Some(cause) if cause.is::<Self>())
    }
}

impl fmt::Display for NotUtf8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text that is not UTF-8")
    }
}

impl Error for NotUtf8 {}

fn or_would_block<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}
