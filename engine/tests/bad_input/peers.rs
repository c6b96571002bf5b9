//! Peers that do one thing wrong each.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use super::common::{echo, listen, serve};

/// Answers the first thing that it hears by these bytes, and hangs up when we do.
pub(super) async fn answering(answer: &[u8]) -> SocketAddr {
    let answer: Arc<[u8]> = answer.into();
    serve(move |mut tcp| {
        let answer = Arc::clone(&answer);
        async move {
            let _ = tcp.read(&mut [0; 4096]).await;
            let _ = tcp.write_all(&answer).await;
            let _ = tcp.shutdown().await;
            let _ = tcp.read_to_end(&mut Vec::new()).await;
        }
    })
    .await
}

/// Accepts the upgrade, says these bytes, and ends its side.
pub(super) async fn upgrading(bytes: &[u8]) -> SocketAddr {
    let bytes: Arc<[u8]> = bytes.into();
    serve(move |tcp| {
        let bytes = Arc::clone(&bytes);
        async move {
            let Ok(mut socket) = tokio_tungstenite::accept_async(tcp).await else { return };
            let tcp = socket.get_mut();
            let _ = tcp.write_all(&bytes).await;
            let _ = tcp.shutdown().await;
            let _ = tcp.read_to_end(&mut Vec::new()).await;
        }
    })
    .await
}

/// Answers by these bytes and then by those, for ever.
pub(super) async fn endless(answer: &'static [u8], again: &'static [u8]) -> SocketAddr {
    serve(move |mut tcp| async move {
        let again = again.repeat(1000);
        let mut sent = tcp.write_all(answer).await;
        while sent.is_ok() {
            sent = tcp.write_all(&again).await;
        }
    })
    .await
}

/// Accepts TCP, which the system does by itself, and nothing else.
pub(super) async fn silent() -> (TcpListener, SocketAddr) {
    listen().await
}

/// Echoes by TLS over a transport that breaks what comes after the upgrade, so that the server's TLS sends an alert.
pub(super) async fn alerting(acceptor: TlsAcceptor) -> SocketAddr {
    serve(move |tcp| {
        let acceptor = acceptor.clone();
        async move {
            let is_open = Arc::new(AtomicBool::new(false));
            let io = Breaking { tcp, is_open: Arc::clone(&is_open) };
            let mut tls = acceptor.accept(io).await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                asked.push(tls.read_u8().await.unwrap());
            }
            is_open.store(true, Ordering::Relaxed);
            echo(Replaying { head: io::Cursor::new(asked), tls }).await;
        }
    })
    .await
}

struct Breaking {
    tcp: TcpStream,
    is_open: Arc<AtomicBool>,
}

impl AsyncRead for Breaking {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.tcp).poll_read(cx, into))?;
        if self.is_open.load(Ordering::Relaxed)
            && let Some(last) = into.filled_mut()[before..].last_mut()
        {
            *last ^= 1;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Breaking {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// Reads what was read already, and then the rest.
struct Replaying<T> {
    head: io::Cursor<Vec<u8>>,
    tls: T,
}

impl<T: AsyncRead + Unpin> AsyncRead for Replaying<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.head).poll_read(cx, into))?;
        if into.filled().len() > before {
            Poll::Ready(Ok(()))
        } else {
            Pin::new(&mut self.tls).poll_read(cx, into)
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Replaying<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write(cx, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }
}
