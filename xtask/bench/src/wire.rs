//! A server in memory: answers the upgrade, says so many messages, and swallows what it is sent. No system call, no
//! clock, the same every time: for the count of instructions.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::server::{answer, message};

/// So much comes with one read at most, as from a socket.
const PIECE: usize = 16 << 10;

#[derive(Debug)]
pub(crate) struct Wire {
    /// Of the client's request, until it is answered.
    request: Option<Vec<u8>>,
    ready: VecDeque<u8>,
    block: Vec<u8>,
    /// Bytes still to say, from this place of the block.
    left: usize,
    at: usize,
}

impl Wire {
    /// Says `count` messages of `size` bytes; of size 0, events as JSON.
    pub(crate) fn new(size: usize, count: usize) -> Self {
        let frame = message(size);
        let block = frame.repeat((PIECE * 2).div_ceil(frame.len()));
        Self { request: Some(Vec::new()), ready: VecDeque::new(), left: frame.len() * count, block, at: 0 }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.ready.is_empty() {
            let (ready, _) = this.ready.as_slices();
            let len = ready.len().min(into.remaining());
            into.put_slice(&ready[..len]);
            this.ready.drain(..len);
            return Poll::Ready(Ok(()));
        }
        let len = PIECE.min(this.left).min(into.remaining()).min(this.block.len() - this.at);
        // Nobody is woken any more: whoever measures ends when all is there.
        if this.request.is_some() || len == 0 {
            return Poll::Pending;
        }
        into.put_slice(&this.block[this.at..this.at + len]);
        this.left -= len;
        this.at = (this.at + len) % this.block.len();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Some(request) = &mut this.request {
            request.extend_from_slice(from);
            if request.ends_with(b"\r\n\r\n") {
                this.ready = answer(&String::from_utf8_lossy(request)).into_bytes().into();
                this.request = None;
            }
        }
        Poll::Ready(Ok(from.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
