//! What stands between the sockets of the simulated network and those who use them: a counter, and a hand that
//! spoils a byte.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::TcpStream;

/// How many sockets a client has: dialling, open or closing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sockets(Arc<Count>);

#[derive(Debug, Default)]
struct Count {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Sockets {
    /// One more, until the guard is dropped.
    pub(crate) fn begin(&self) -> Held {
        let now = self.0.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.0.most.fetch_max(now, Ordering::Relaxed);
        Held(Arc::clone(&self.0))
    }

    pub(crate) fn now(&self) -> usize {
        self.0.now.load(Ordering::Relaxed)
    }

    pub(crate) fn most(&self) -> usize {
        self.0.most.load(Ordering::Relaxed)
    }
}

/// A socket that counts.
#[derive(Debug)]
pub(crate) struct Held(Arc<Count>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The order to spoil what is written next; any number says how.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spoiler(Arc<Mutex<Option<u64>>>);

impl Spoiler {
    pub(crate) fn order(&self, how: u64) {
        *self.lock() = Some(how);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket of the simulated network.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    spoiler: Spoiler,
    _held: Option<Held>,
}

impl Socket {
    /// A client's, which counts.
    pub(crate) fn counted(stream: TcpStream, held: Held) -> Self {
        Self { stream, spoiler: Spoiler::default(), _held: Some(held) }
    }

    /// The server's, which may be spoilt.
    pub(crate) const fn spoilable(stream: TcpStream, spoiler: Spoiler) -> Self {
        Self { stream, spoiler, _held: None }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let mut order = this.spoiler.lock();
        let Some(how) = *order else {
            drop(order);
            return Pin::new(&mut this.stream).poll_write(cx, from);
        };
        let mut spoilt = from.to_vec();
        let len = spoilt.len().max(1) as u64;
        if let Some(byte) = spoilt.get_mut(usize::try_from(how % len).unwrap_or_default()) {
            *byte ^= 1 << (how / len % 8);
        }
        let written = Pin::new(&mut this.stream).poll_write(cx, &spoilt);
        if written.is_ready() {
            *order = None;
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
