//! Between tungstenite, which reads and writes as if it blocked, and a transport that is polled.

use std::{
    error::Error,
    fmt,
    io::{self, Read, Write},
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::boundary::{Boundary, Mark};
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
    /// Where in the peer's messages the bytes stand that were read.
    boundary: Boundary,
    backlog: Backlog,
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
    pub(super) fn new(io: Stream, prefix: Bytes, compression: bool) -> Self {
        let mut boundary = Boundary::default();
        if compression {
            boundary.mark_messages();
        }
        Self { io, waker: Waker::noop().clone(), prefix, boundary, backlog: Backlog::None }
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

    /// Ends the writing half: close-notify on TLS, FIN on TCP.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl Read for NonBlocking {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.prefix.has_remaining() {
            let len = self.prefix.len().min(into.len());
            self.prefix.copy_to_slice(&mut into[..len]);
            self.boundary.follow(&mut into[..len]);
            return Ok(len);
        }
        if self.boundary.is_not_utf8() {
            // The messages before it are through: only when it holds no whole one does tungstenite read on.
            return Err(io::Error::new(io::ErrorKind::InvalidData, NotUtf8));
        }
        let mut into = ReadBuf::new(into);
        match Pin::new(&mut self.io).poll_read(&mut Context::from_waker(&self.waker), &mut into) {
            Poll::Ready(outcome) => outcome.map(|()| {
                self.boundary.follow(into.filled_mut());
                into.filled().len()
            }),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
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
        or_would_block(Pin::new(&mut self.io).poll_flush(&mut Context::from_waker(&self.waker)))
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
