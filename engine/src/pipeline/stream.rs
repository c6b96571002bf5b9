//! The transports that frames may travel on.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::transport::AnyTransport;

/// A transport, and TLS over it where the URL asks for it. An enum and no box: one predictable branch per
/// system call is cheaper than a virtual call.
pub(crate) enum Stream {
    Tcp(TcpStream),
    /// Of the user's own; the virtual call is theirs alone.
    Any(AnyTransport),
    #[cfg(feature = "rustls")]
    Tls(Box<tokio_rustls::client::TlsStream<Self>>),
}

impl Stream {
    /// Our own address and the peer's, where the transport has such.
    pub(crate) fn addresses(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        match self {
            Self::Tcp(tcp) => (tcp.local_addr().ok(), tcp.peer_addr().ok()),
            Self::Any(any) => any.addresses(),
            #[cfg(feature = "rustls")]
            Self::Tls(tls) => tls.get_ref().0.addresses(),
        }
    }
}

macro_rules! delegate {
    ($stream:expr, $io:ident => $call:expr) => {
        match $stream.get_mut() {
            Stream::Tcp($io) => {
                let $io = Pin::new($io);
                $call
            }
            Stream::Any($io) => {
                let $io = Pin::new($io);
                $call
            }
            #[cfg(feature = "rustls")]
            Stream::Tls($io) => {
                let $io = Pin::new(&mut **$io);
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    #[inline]
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        delegate!(self, io => io.poll_read(cx, into))
    }
}

impl AsyncWrite for Stream {
    #[inline]
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(self, io => io.poll_write(cx, from))
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, io => io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, io => io.poll_shutdown(cx))
    }
}
