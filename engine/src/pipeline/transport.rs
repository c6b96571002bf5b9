//! A transport of the user's own: what the engine needs of it, in types of `std` alone.

use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream of bytes both ways, which a [`Connector`](crate::Connector) yields and over which TLS, the upgrade
/// and the frames run.
///
/// **Everything that is `tokio::io::AsyncRead + AsyncWrite` (and `Unpin`, `Send`) is one already**: streams of
/// tokio, of a simulated network, of TLS libraries, in-memory pipes. The trait itself names no type but
/// `std`'s, so this crate's interface does not change when a runtime's does, and a stream of another kind is
/// four methods.
///
/// # Contract
/// - [`Poll::Pending`] means that nothing was done and the task will be woken.
/// - A read of 0 bytes into a buffer that is not empty is the end of what the peer sends; writing 0 bytes of a
///   buffer that is not empty says that the peer takes no more.
/// - Reads and writes are polled by one task at a time, though it may be one task for each direction.
/// - Dropping the transport releases it at once.
pub trait Transport: Send + Unpin + 'static {
    /// Reads into the buffer; yields how many bytes.
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Writes of the buffer; yields how many bytes.
    fn poll_write(&mut self, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>>;

    /// Brings what was written on its way.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Tells the peer that nothing more will be written.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Our own address, where the transport has one (default: none). The handshake reports it, and recovery that
    /// watches paths compares it; see [`Addressed`].
    fn local_addr(&self) -> Option<SocketAddr> {
        None
    }

    /// The peer's address, where the transport has one (default: none).
    fn peer_addr(&self) -> Option<SocketAddr> {
        None
    }
}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Transport for T {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut into = ReadBuf::new(into);
        ready!(AsyncRead::poll_read(Pin::new(self), cx, &mut into))?;
        Poll::Ready(Ok(into.filled().len()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(self), cx, from)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(self), cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_shutdown(Pin::new(self), cx)
    }
}

/// A transport whose addresses are known, for those that do not tell them by themselves.
///
/// ```
/// use everwire_engine::{Addressed, TungsteniteEngine, connector_fn};
/// use tokio::net::TcpStream;
///
/// let engine = TungsteniteEngine::builder()
///     .connector(connector_fn(|to| async move {
///         let tcp = TcpStream::connect((to.host(), to.port())).await?;
///         let (local, peer) = (tcp.local_addr()?, tcp.peer_addr()?);
///         Ok(Addressed::new(tcp).local(local).peer(peer))
///     }))
///     .build()?;
/// # let _ = engine;
/// # Ok::<(), everwire_engine::EngineError>(())
/// ```
pub struct Addressed<T> {
    transport: T,
    local: Option<SocketAddr>,
    peer: Option<SocketAddr>,
}

impl<T: Transport> Addressed<T> {
    /// A transport with the addresses that it tells by itself, if it does.
    pub fn new(transport: T) -> Self {
        let (local, peer) = (transport.local_addr(), transport.peer_addr());
        Self { transport, local, peer }
    }

    /// With this address of ours.
    pub const fn local(mut self, address: SocketAddr) -> Self {
        self.local = Some(address);
        self
    }

    /// With this address of the peer.
    pub const fn peer(mut self, address: SocketAddr) -> Self {
        self.peer = Some(address);
        self
    }
}

impl<T: Transport> Transport for Addressed<T> {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        self.transport.poll_read(cx, into)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        self.transport.poll_write(cx, from)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.poll_shutdown(cx)
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        self.local
    }

    fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer
    }
}

impl<T> fmt::Debug for Addressed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Addressed")
            .field("local", &self.local)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// A transport of any kind, as the other stages see it. What it claims about lengths is checked here, once.
pub(crate) struct AnyTransport(Box<dyn Transport>);

impl AnyTransport {
    pub(crate) fn new(transport: impl Transport) -> Self {
        Self(Box::new(transport))
    }

    pub(crate) fn addresses(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        (self.0.local_addr(), self.0.peer_addr())
    }
}

impl AsyncRead for AnyTransport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let unfilled = into.initialize_unfilled();
        let room = unfilled.len();
        let len = checked(ready!(self.0.poll_read(cx, unfilled))?, room)?;
        into.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for AnyTransport {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(checked(ready!(self.0.poll_write(cx, from))?, from.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_shutdown(cx)
    }
}

fn checked(len: usize, room: usize) -> io::Result<usize> {
    if len > room {
        let words = format!("the transport claims {len} bytes of a buffer of {room}: it is broken");
        return Err(io::Error::other(words));
    }
    Ok(len)
}

const _: () = {
    const fn promises<T: Send + Unpin + 'static>() {}
    promises::<AnyTransport>();
};
