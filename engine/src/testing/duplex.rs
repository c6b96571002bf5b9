//! Two connections in memory, wired to each other.

use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use futures_core::Stream;
use futures_sink::Sink;

use super::scripted::LiveGuard;
use crate::{CloseCode, Connection, EngineError, EngineErrorKind, Handshake, Message, Stage, Text};

/// A pair of connections in memory that are wired to each other, with room for 64 messages each way and an
/// empty [`Handshake`].
///
/// ```
/// use everwire_engine::{Message, testing};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), everwire_engine::EngineError> {
/// let (mut ours, mut server) = testing::duplex();
/// ours.send("ping?").await?;
/// assert_eq!(server.recv().await.unwrap()?, Message::from("ping?"));
/// drop(server);
/// assert!(ours.recv().await.unwrap().is_err(), "an end without a close frame is an error");
/// assert!(ours.recv().await.is_none());
/// # Ok(())
/// # }
/// ```
pub fn duplex() -> (DuplexConnection, DuplexConnection) {
    duplex_with(64, Handshake::default())
}

/// Like [`duplex`], with a capacity in messages for each direction, and with what both ends report as their
/// handshake.
///
/// A peer that is not polled is a peer that fell silent: what is sent to it is accepted until `capacity`
/// messages wait, then `poll_ready` is pending, as with a full socket.
///
/// # Panics
/// When `capacity` is 0.
pub fn duplex_with(capacity: usize, handshake: Handshake) -> (DuplexConnection, DuplexConnection) {
    assert!(capacity > 0, "a connection without room cannot carry messages");
    let (there, back) = (Pipe::new(capacity), Pipe::new(capacity));
    let end = |incoming: &Arc<Pipe>, outgoing: &Arc<Pipe>, handshake| DuplexConnection {
        incoming: Arc::clone(incoming),
        outgoing: Arc::clone(outgoing),
        handshake,
        answer_pings: true,
        answer_close: true,
        pong_due: None,
        close_sent: false,
        done: false,
        live: None,
    };
    (end(&back, &there, handshake.clone()), end(&there, &back, handshake))
}

/// One end of [`duplex`]: a [`Connection`], and for the test that plays the server a few methods that need
/// no stream combinators.
///
/// It keeps the contract of [`Connection`]: pings are answered when they are read, a close frame is
/// answered and is the last message, and dropping one end makes the other yield [`EngineErrorKind::Io`]
/// after what had been sent before.
#[expect(clippy::struct_excessive_bools, reason = "two switches of the test and two facts, all independent")]
pub struct DuplexConnection {
    incoming: Arc<Pipe>,
    outgoing: Arc<Pipe>,
    handshake: Handshake,
    answer_pings: bool,
    answer_close: bool,
    /// The answer to the latest ping, until there is room for it; earlier ones need none
    /// (RFC 6455 §5.5.3).
    pong_due: Option<Bytes>,
    close_sent: bool,
    done: bool,
    live: Option<LiveGuard>,
}

impl DuplexConnection {
    /// Sends a message, waiting for room.
    ///
    /// # Errors
    /// [`EngineErrorKind::Closed`] after a close frame, [`EngineErrorKind::Io`] when the other end is gone.
    ///
    /// # Cancellation
    /// A dropped future has sent nothing, or all of it.
    pub async fn send(&mut self, message: impl Into<Message>) -> Result<(), EngineError> {
        poll_fn(|cx| Pin::new(&mut *self).poll_ready(cx)).await?;
        Pin::new(&mut *self).start_send(message.into())?;
        poll_fn(|cx| Pin::new(&mut *self).poll_flush(cx)).await
    }

    /// The next message, also pings and pongs; `None` when the connection is over.
    ///
    /// # Cancellation
    /// Cancel-safe: a dropped future has taken no message.
    pub async fn recv(&mut self) -> Option<Result<Message, EngineError>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// The next message if it is there already.
    pub fn try_recv(&mut self) -> Option<Result<Message, EngineError>> {
        match Pin::new(self).poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(item) => item,
            Poll::Pending => None,
        }
    }

    /// The next text message; pings and pongs before it are skipped.
    ///
    /// # Panics
    /// When something else comes: a binary message, a close frame, an error, the end.
    pub async fn recv_text(&mut self) -> Text {
        loop {
            match self.recv().await {
                Some(Ok(Message::Text(text))) => return text,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("a text message was expected, but there came {other:?}"),
            }
        }
    }

    /// Plays the closing side: sends a close frame, then reads until the connection is over. Gives back the
    /// close frame of the other end, if one came.
    pub async fn close(&mut self, code: CloseCode, reason: &str) -> Option<Message> {
        if self.send(Message::close(code, reason)).await.is_err() {
            return None;
        }
        let mut answer = None;
        while let Some(item) = self.recv().await {
            answer = item.ok().filter(|message| matches!(message, Message::Close(_)));
        }
        answer
    }

    /// Plays a failing transport: the other end yields this error after what had been sent before.
    pub fn fail(self, error: EngineError) {
        self.outgoing.push(Err(error));
    }

    /// Whether pings are answered as they are read (default: yes).
    pub fn set_answer_pings(&mut self, answer: bool) {
        self.answer_pings = answer;
    }

    /// Whether a close frame is answered as it is read (default: yes).
    pub fn set_answer_close(&mut self, answer: bool) {
        self.answer_close = answer;
    }

    /// Whether the other end was dropped.
    pub fn is_peer_gone(&self) -> bool {
        self.outgoing.lock().reader_gone
    }

    /// How many messages wait for the other end to read them.
    pub fn unread_by_peer(&self) -> usize {
        self.outgoing.lock().queue.len()
    }

    /// This end counts as live until it is dropped.
    pub(super) fn with_guard(mut self, guard: LiveGuard) -> Self {
        self.live = Some(guard);
        self
    }

    /// Puts the pong that is due, when there is room.
    fn answer(&mut self) {
        if self.pong_due.is_some() && !self.close_sent && self.outgoing.has_room() {
            let payload = self.pong_due.take().expect("was just seen");
            self.outgoing.push(Ok(Message::Pong(payload)));
        }
    }
}

impl Connection for DuplexConnection {
    fn handshake(&self) -> &Handshake {
        &self.handshake
    }
}

impl Stream for DuplexConnection {
    type Item = Result<Message, EngineError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.done {
            return Poll::Ready(None);
        }
        self.answer();
        let item = match self.incoming.poll_pop(cx) {
            Poll::Ready(item) => item,
            Poll::Pending => return Poll::Pending,
        };
        match &item {
            Ok(Message::Ping(payload)) if self.answer_pings => {
                self.pong_due = Some(payload.clone());
                self.answer();
            }
            Ok(Message::Close(frame)) => {
                self.done = true;
                if self.answer_close && !self.close_sent {
                    self.close_sent = true;
                    // The answer echoes the code (RFC 6455 §5.5.1); the reason is the peer's own.
                    let echo = frame.as_ref().map(|frame| Message::close(frame.code, ""));
                    self.outgoing.push(Ok(echo.unwrap_or(Message::Close(None))));
                }
            }
            Ok(_) => {}
            Err(_) => self.done = true,
        }
        Poll::Ready(Some(item))
    }
}

impl Sink<Message> for DuplexConnection {
    type Error = EngineError;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), EngineError>> {
        if self.done || self.close_sent {
            return Poll::Ready(Err(closed()));
        }
        self.answer();
        self.outgoing.poll_room(cx)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), EngineError> {
        if self.done || self.close_sent {
            return Err(closed());
        }
        message.check()?;
        self.close_sent = matches!(message, Message::Close(_));
        if !self.outgoing.push(Ok(message)) {
            return Err(gone());
        }
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Result<(), EngineError>> {
        self.answer();
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), EngineError>> {
        if !self.done && !self.close_sent {
            // A close frame needs no room: it is the last one.
            let _ = self.as_mut().start_send(Message::Close(None));
        }
        self.poll_flush(cx)
    }
}

impl Drop for DuplexConnection {
    fn drop(&mut self) {
        self.outgoing.writer_dropped();
        self.incoming.reader_dropped();
    }
}

impl fmt::Debug for DuplexConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DuplexConnection")
            .field("handshake", &self.handshake)
            .field("close_sent", &self.close_sent)
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}

fn closed() -> EngineError {
    EngineError::new(EngineErrorKind::Closed, Stage::Open)
}

fn gone() -> EngineError {
    EngineError::new(EngineErrorKind::Io, Stage::Open).with_detail("the peer is gone without a close frame")
}

/// One direction.
struct Pipe {
    capacity: usize,
    state: Mutex<PipeState>,
}

#[derive(Default)]
struct PipeState {
    queue: VecDeque<Result<Message, EngineError>>,
    reader: Option<Waker>,
    writer: Option<Waker>,
    reader_gone: bool,
    writer_gone: bool,
}

impl Pipe {
    fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self { capacity, state: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, PipeState> {
        // A test that panicked must not hide its message behind a second panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody will be able to read it.
    fn push(&self, item: Result<Message, EngineError>) -> bool {
        let mut state = self.lock();
        if state.reader_gone {
            return false;
        }
        state.queue.push_back(item);
        wake(state, |state| state.reader.take());
        true
    }

    fn has_room(&self) -> bool {
        self.lock().queue.len() < self.capacity
    }

    fn poll_room(&self, cx: &Context<'_>) -> Poll<Result<(), EngineError>> {
        let mut state = self.lock();
        if state.reader_gone {
            return Poll::Ready(Err(gone()));
        }
        if state.queue.len() < self.capacity {
            return Poll::Ready(Ok(()));
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_pop(&self, cx: &Context<'_>) -> Poll<Result<Message, EngineError>> {
        let mut state = self.lock();
        if let Some(item) = state.queue.pop_front() {
            wake(state, |state| state.writer.take());
            return Poll::Ready(item);
        }
        if state.writer_gone {
            return Poll::Ready(Err(gone()));
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    fn writer_dropped(&self) {
        let mut state = self.lock();
        state.writer_gone = true;
        wake(state, |state| state.reader.take());
    }

    fn reader_dropped(&self) {
        let mut state = self.lock();
        state.reader_gone = true;
        state.queue.clear();
        wake(state, |state| state.writer.take());
    }
}

/// Wakes after the lock is released: a waker may poll at once.
fn wake(mut state: MutexGuard<'_, PipeState>, take: impl FnOnce(&mut PipeState) -> Option<Waker>) {
    let waker = take(&mut state);
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CloseFrame;

    #[tokio::test]
    async fn what_was_sent_before_the_drop_is_drained_then_an_io_error_then_the_end() {
        let (mut ours, mut server) = duplex();
        server.send("a").await.unwrap();
        drop(server);
        assert_eq!(ours.recv().await.unwrap().unwrap(), Message::from("a"));
        assert_eq!(ours.recv().await.unwrap().unwrap_err().kind(), EngineErrorKind::Io);
        assert!(ours.recv().await.is_none());
        assert_eq!(ours.send("late").await.unwrap_err().kind(), EngineErrorKind::Closed);
    }

    #[tokio::test]
    async fn a_ping_is_answered_by_reading_and_only_the_latest_when_there_is_no_room() {
        let (mut ours, mut server) = duplex_with(1, Handshake::default());
        ours.send("fills the way back").await.unwrap();
        for payload in ["1", "2"] {
            server.send(Message::Ping(Bytes::from(payload))).await.unwrap();
            assert_eq!(ours.recv().await.unwrap().unwrap(), Message::Ping(Bytes::from(payload)));
        }
        server.recv_text().await;
        poll_fn(|cx| Pin::new(&mut ours).poll_flush(cx)).await.unwrap();
        assert_eq!(server.recv().await.unwrap().unwrap(), Message::Pong(Bytes::from("2")));
        assert!(server.try_recv().is_none());
    }

    #[tokio::test]
    async fn a_close_is_answered_and_is_the_last_message() {
        let (mut ours, mut server) = duplex();
        server.send(Message::close(CloseCode::RESTART, "back soon")).await.unwrap();
        let expected = CloseFrame::new(1012, "back soon").unwrap();
        assert_eq!(ours.recv().await.unwrap().unwrap(), Message::Close(Some(expected)));
        assert!(ours.recv().await.is_none());
        assert_eq!(server.recv().await.unwrap().unwrap(), Message::close(CloseCode::RESTART, ""));
        assert!(server.recv().await.is_none());
    }

    #[tokio::test]
    async fn a_peer_that_is_not_polled_fills_up_and_reading_frees_room() {
        let (mut ours, mut server) = duplex_with(2, Handshake::default());
        ours.send("1").await.unwrap();
        ours.send("2").await.unwrap();
        let mut third = Box::pin(ours.send("3"));
        assert!(third.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(server.recv_text().await, "1");
        third.await.unwrap();
    }

    #[tokio::test]
    async fn a_scripted_failure_is_the_last_item() {
        let (mut ours, server) = duplex();
        server.fail(EngineError::new(EngineErrorKind::InvalidUtf8, Stage::Open));
        assert_eq!(ours.recv().await.unwrap().unwrap_err().kind(), EngineErrorKind::InvalidUtf8);
        assert!(ours.recv().await.is_none());
    }
}
