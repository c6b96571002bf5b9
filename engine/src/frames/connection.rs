//! The open connection of the tungstenite engine.

mod buffers;

use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream as MessageStream;
use futures_sink::Sink;
use tokio::{
    task::coop,
    time::{Sleep, sleep},
};
use tokio_tungstenite::tungstenite::{
    self,
    error::Error as WsError,
    protocol::{CloseFrame as WsCloseFrame, Role, WebSocketContext},
};

use super::{
    adapter::NonBlocking,
    appetite::Appetite,
    config::FrameConfig,
    convert::{
        Failure, bad_gateway, closed, deflated, from_tungstenite, inflated, into_tungstenite, map_error,
        would_block,
    },
    deflate::{Agreement, Codec},
};
use crate::{
    CloseCode, Connection, EngineError, EngineErrorKind, Handshake, Message, Stage, pipeline::Stream,
};

/// How long the server may take to end the transport after both close frames are through. RFC 6455 §7.1.1
/// leaves it to the server to do so first; one that does not must not keep us.
const LINGER: Duration = Duration::from_secs(1);

/// How long the application may still answer what came before a violation of the protocol, until the connection ends
/// for it. Nothing more is read meanwhile. A task that was woken by a message has its turn before a timer.
const GRACE: Duration = Duration::from_millis(1);

/// A message of more than this makes the buffers grow past what an idle connection should hold.
const BURST: usize = 32 << 10;

/// So many messages that are already here count as one step of the scheduler's budget, which is meant for steps that
/// take a call of the system. Yielding makes the runtime look at all its sockets: after each hundred small messages
/// that would cost a tenth of what they cost themselves.
const STRIDE: u8 = 8;

/// An open connection of [`TungsteniteEngine`](crate::TungsteniteEngine): keeps the contract of
/// [`Connection`].
///
/// Poll it from one task at a time; when the halves of a split connection are polled by two tasks, each is
/// still woken for its own direction.
///
/// - A read costs no allocation as long as earlier messages are not kept; a loop over messages that are
///   already here yields to tokio's scheduler when its budget is used up.
/// - The read buffer has its configured size only while much comes, and a small one at first and once little has come
///   for a while; where none was configured, it is larger under a flood that lasts. What a large message made the buffers grow by is given back as soon as nothing is under way.
/// - Pings are answered in the order they come; of those that come while the server reads nothing, only as many
///   as a bounded buffer holds, and the latest.
/// - A violation of the protocol by the peer is told to the peer by a close frame (1002, 1007 or 1009),
///   yielded as an error, and is the end. A text that is none ends it at the first wrong byte, though more of it is to
///   come; a compressed one when it is complete. The error comes one millisecond after the violation: until then
///   nothing more is read, and what answers the messages before it still leaves.
/// - After a close frame went both ways the connection waits for the server to end the transport, for at
///   most one second, before the stream yields `None`.
/// - `start_send` refuses a close frame that may not be sent
///   ([`EngineErrorKind::InvalidRequest`]) and a ping or pong of more than 125 bytes
///   ([`EngineErrorKind::TooLarge`]); the connection stays open.
pub struct TungsteniteConnection {
    io: NonBlocking,
    /// Apart from the transport, so that it can be made anew.
    socket: WebSocketContext,
    role: Role,
    /// When compression was agreed upon.
    codec: Option<Box<Codec>>,
    handshake: Handshake,
    config: FrameConfig,
    phase: Phase,
    /// The last write did not fit into the transport: flush before taking more.
    blocked: bool,
    /// A large message went through since the buffers were made.
    burst: bool,
    /// The write buffer is bounded.
    bounded: bool,
    /// So many more messages are covered by the last step of the budget.
    paid: u8,
}

enum Phase {
    Open,
    /// The peer has violated the protocol, which it is told when the time is over.
    Failing(Pin<Box<Sleep>>, Box<Failure>),
    /// Both close frames are known of; the transport is to end.
    Ending(Pin<Box<Sleep>>),
    Done,
}

impl TungsteniteConnection {
    /// A connection over a transport on which the upgrade is done; `prefix` is what came behind the answer.
    pub(crate) fn new(
        io: Stream,
        prefix: Bytes,
        handshake: Handshake,
        config: FrameConfig,
        compression: Option<Agreement>,
    ) -> Self {
        let codec = compression.map(|agreement| Box::new(Codec::new(agreement, config.max_message)));
        Self::with_role(Role::Client, io, prefix, handshake, config, codec)
    }

    /// The server's end, for the conformance suite.
    #[cfg(feature = "testing")]
    pub(crate) fn server(io: Stream, handshake: Handshake, config: FrameConfig) -> Self {
        Self::with_role(Role::Server, io, Bytes::new(), handshake, config, None)
    }

    fn with_role(
        role: Role,
        io: Stream,
        prefix: Bytes,
        handshake: Handshake,
        config: FrameConfig,
        codec: Option<Box<Codec>>,
    ) -> Self {
        // Never `from_partially_read`: a codec that is built on those bytes remembers their capacity as
        // its own, and reads in small pieces for the rest of its life.
        let appetite = Appetite::new(config.small_read_buffer, config.read_buffer, config.flood_read_buffer);
        let socket = WebSocketContext::new(role, Some(config.tungstenite(appetite.size())));
        let io = NonBlocking::new(io, prefix, codec.is_some(), appetite);
        Self {
            io,
            socket,
            role,
            codec,
            handshake,
            config,
            phase: Phase::Open,
            blocked: false,
            burst: false,
            bounded: true,
            paid: 0,
        }
    }

    /// Reads the next message, and writes the answers that are due.
    fn read(&mut self) -> Result<tungstenite::Message, WsError> {
        if self.io.is_blocked() {
            if !self.bounded {
                self.bound(true);
            }
            // tungstenite knows of answers it still holds only if it was itself that tried to write them. Should
            // it fail, the read tells the better story.
            let _ = self.flush();
        }
        loop {
            match self.socket.read(&mut self.io) {
                // The answer to the latest ping may have found no room, and there is room now.
                Err(error) if would_block(&error) && self.io.take_caught_up() => {}
                Err(error) if would_block(&error) && self.io.take_cut() => self.grow(),
                outcome => return outcome,
            }
        }
    }

    fn flush(&mut self) -> Result<(), WsError> {
        loop {
            self.socket.flush(&mut self.io)?;
            // As in `read`.
            if !self.io.take_caught_up() {
                return Ok(());
            }
        }
    }

    /// Reads and writes until the server ends the transport, or for [`LINGER`].
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Phase::Ending(linger) = &mut self.phase else { return Poll::Ready(()) };
        let late = linger.as_mut().poll(cx).is_ready();
        // Flushes our own close frame, if it is still held, and discards what may follow the peer's.
        if matches!(self.read(), Err(error) if would_block(&error)) && !late {
            return Poll::Pending;
        }
        // For the peer's sake only, so a transport that cannot do it now need not.
        let _ = self.io.poll_shutdown(cx);
        self.phase = Phase::Done;
        Poll::Ready(())
    }

    /// Ends at once when the transport does, and after [`GRACE`] when the peer has violated the protocol.
    fn fail(&mut self, failure: Failure, cx: &mut Context<'_>) -> Poll<EngineError> {
        if failure.close_code().is_some() {
            self.phase = Phase::Failing(Box::pin(sleep(GRACE)), Box::new(failure));
            return self.poll_failure(cx);
        }
        self.phase = Phase::Done;
        Poll::Ready(failure.into_error(self.config))
    }

    /// Tells the peer in the end what it did wrong, as far as the transport takes it without waiting.
    fn poll_failure(&mut self, cx: &mut Context<'_>) -> Poll<EngineError> {
        let Phase::Failing(grace, _) = &mut self.phase else { return Poll::Pending };
        if grace.as_mut().poll(cx).is_pending() {
            // The answer to a ping may be held still.
            let _ = self.flush();
            return Poll::Pending;
        }
        let Phase::Failing(_, failure) = mem::replace(&mut self.phase, Phase::Done) else {
            return Poll::Pending;
        };
        if let Some(code) = failure.close_code() {
            let frame = WsCloseFrame { code: code.get().into(), reason: "".into() };
            let _ = self.socket.close(&mut self.io, Some(frame));
        }
        Poll::Ready(failure.into_error(self.config))
    }

    /// The message as the peer meant it.
    #[inline]
    fn receive(&mut self, message: tungstenite::Message) -> Result<Message, Failure> {
        match (&mut self.codec, message) {
            (Some(codec), tungstenite::Message::Binary(payload)) => {
                inflated(codec, self.io.next_mark(), payload)
            }
            (_, message @ tungstenite::Message::Close(_)) => Ok(closed(message, self.io.close())),
            (_, tungstenite::Message::Pong(payload)) if self.io.is_disguised(&payload) => {
                let message = bad_gateway(&payload)?;
                // As tungstenite answers the codes that it knows.
                let _ = self.socket.close(
                    &mut self.io,
                    Some(WsCloseFrame { code: CloseCode::BAD_GATEWAY.get().into(), reason: "".into() }),
                );
                Ok(message)
            }
            (_, tungstenite::Message::Ping(payload)) => {
                self.io.answers();
                Ok(Message::Ping(payload))
            }
            (_, message) => Ok(from_tungstenite(message)),
        }
    }

    #[inline]
    fn open_for_sending(&self) -> Result<(), EngineError> {
        match self.phase {
            Phase::Open | Phase::Failing(..) if self.socket.can_write() => Ok(()),
            _ => Err(EngineError::new(EngineErrorKind::Closed, Stage::Open)),
        }
    }

    /// What has not left by the end never will.
    fn flushed_at_the_end(&self) -> Result<(), EngineError> {
        if self.io.is_unflushed() {
            let error = EngineError::new(EngineErrorKind::Closed, Stage::Open);
            return Err(error.with_detail("it ended before all was flushed"));
        }
        Ok(())
    }
}

impl Connection for TungsteniteConnection {
    fn handshake(&self) -> &Handshake {
        &self.handshake
    }
}

impl MessageStream for TungsteniteConnection {
    type Item = Result<Message, EngineError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        this.io.register(cx);
        match this.phase {
            Phase::Open => {}
            Phase::Failing(..) => return this.poll_failure(cx).map(|error| Some(Err(error))),
            Phase::Ending(_) => return this.poll_end(cx).map(|()| None),
            Phase::Done => return Poll::Ready(None),
        }
        // Messages that are already in the buffer touch no socket, and would so never yield.
        let budget = if this.paid == 0 { Some(ready!(coop::poll_proceed(cx))) } else { None };
        let message = match this.read() {
            Ok(message) => message,
            Err(error) if would_block(&error) => {
                let quiet = this.io.appetite().ran_dry();
                if this.burst || quiet {
                    this.give_back(quiet);
                }
                return Poll::Pending;
            }
            Err(WsError::ConnectionClosed | WsError::AlreadyClosed) => {
                this.phase = Phase::Done;
                return Poll::Ready(None);
            }
            Err(error) => return this.fail(error.into(), cx).map(|error| Some(Err(error))),
        };
        match budget {
            Some(budget) => {
                budget.made_progress();
                this.paid = STRIDE - 1;
            }
            None => this.paid -= 1,
        }
        this.burst |= message.len() > BURST;
        let message = match this.receive(message) {
            Ok(message) => message,
            Err(failure) => return this.fail(failure, cx).map(|error| Some(Err(error))),
        };
        if matches!(message, Message::Close(_)) {
            this.phase = Phase::Ending(Box::pin(sleep(LINGER)));
            // The answer goes out now if the transport takes it: who drops the connection after this
            // message has answered all the same.
            let _ = this.flush();
        }
        Poll::Ready(Some(Ok(message)))
    }
}

impl Sink<Message> for TungsteniteConnection {
    type Error = EngineError;

    #[inline]
    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), EngineError>> {
        self.open_for_sending()?;
        if self.blocked {
            return self.poll_flush(cx);
        }
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), EngineError> {
        self.open_for_sending()?;
        let mut message = into_tungstenite(message)?;
        let this = self.get_mut();
        if let Some(codec) = &mut this.codec {
            message = deflated(codec, message);
        }
        this.burst |= message.len() > BURST;
        if this.bounded {
            this.bound(false);
        }
        this.io.sends();
        match this.socket.write(&mut this.io, message) {
            Ok(()) => Ok(()),
            // It is in the write buffer all the same; the buffer is to be emptied before the next one.
            Err(error) if would_block(&error) => {
                this.blocked = true;
                Ok(())
            }
            Err(error) => Err(map_error(error, this.config)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), EngineError>> {
        let this = self.get_mut();
        this.io.register(cx);
        if matches!(this.phase, Phase::Done) {
            return Poll::Ready(this.flushed_at_the_end());
        }
        match this.flush() {
            Ok(()) => {
                this.blocked = false;
                Poll::Ready(Ok(()))
            }
            Err(WsError::ConnectionClosed) => Poll::Ready(this.flushed_at_the_end()),
            Err(error) if would_block(&error) => Poll::Pending,
            Err(error) => Poll::Ready(Err(map_error(error, this.config))),
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), EngineError>> {
        if self.open_for_sending().is_ok() {
            // A close frame needs no room: nothing follows it.
            self.as_mut().start_send(Message::Close(None))?;
        }
        self.poll_flush(cx)
    }
}

impl fmt::Debug for TungsteniteConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TungsteniteConnection")
            .field("handshake", &self.handshake)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, io, sync::Mutex, task::Waker};

    use futures_util::StreamExt as _;
    use proptest::prelude::*;

    use super::*;
    use crate::pipeline::Transport;

    /// A transport that brings these pieces, one a read where the buffer has room for it; an empty one is a moment in
    /// which nothing has come yet.
    #[derive(Default)]
    struct Pieces {
        pieces: VecDeque<Vec<u8>>,
        /// How much each read asked for.
        asked: std::sync::Arc<Mutex<Vec<usize>>>,
    }

    impl Transport for Pieces {
        fn poll_read(&mut self, _cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
            self.asked.lock().unwrap().push(into.len());
            match self.pieces.pop_front() {
                Some(piece) if piece.is_empty() => Poll::Pending,
                Some(mut piece) => {
                    let len = piece.len().min(into.len());
                    into[..len].copy_from_slice(&piece[..len]);
                    let rest = piece.split_off(len);
                    if !rest.is_empty() {
                        self.pieces.push_front(rest);
                    }
                    Poll::Ready(Ok(len))
                }
                None => Poll::Ready(Ok(0)),
            }
        }

        fn poll_write(&mut self, _cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(from.len()))
        }

        fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    // Below a KiB a buffer whose messages are kept forgets what it was.
    const SMALL: usize = 1 << 10;
    const LARGE: usize = 4 << 10;
    const FLOOD: usize = 16 << 10;

    fn over(transport: Pieces, prefix: Vec<u8>) -> TungsteniteConnection {
        let config = FrameConfig {
            small_read_buffer: SMALL,
            read_buffer: LARGE,
            flood_read_buffer: FLOOD,
            write_buffer: 1024,
            max_frame: 1 << 20,
            max_message: 1 << 20,
        };
        let io = Stream::Any(crate::pipeline::AnyTransport::new(transport));
        TungsteniteConnection::new(io, prefix.into(), Handshake::default(), config, None)
    }

    /// All that comes until the end, however often there is nothing for a moment.
    fn all(connection: &mut TungsteniteConnection) -> Vec<Message> {
        let (mut messages, mut dry) = (Vec::new(), 0);
        loop {
            match connection.poll_next_unpin(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Some(Ok(message))) => messages.push(message),
                // The transport ends without a close frame, which is an error of its own.
                Poll::Ready(_) => return messages,
                Poll::Pending => {
                    dry += 1;
                    assert!(dry < 1_000_000, "it waits for what has come");
                }
            }
        }
    }

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let head = match payload.len() {
            len @ 0..126 => vec![first, len as u8],
            len => [&[first, 126], &(len as u16).to_be_bytes()[..]].concat(),
        };
        [head, payload.to_vec()].concat()
    }

    proptest! {
        /// Whatever sizes messages have, and whatever pieces they come in: each arrives once and in order, while the
        /// buffer grows and shrinks.
        #[test]
        fn nothing_is_lost_where_the_buffer_changes(
            sent in prop::collection::vec((0..4_u8, prop_oneof![0..40_usize, 1000..1050_usize, 2000..9000_usize]), 1..60),
            cuts in prop::collection::vec(prop_oneof![0..8_usize, 500..2000_usize, 0..10_000_usize], 1..8),
            behind in 0..3000_usize,
        ) {
            let (mut bytes, mut expected) = (Vec::new(), Vec::new());
            for (index, (kind, len)) in sent.into_iter().enumerate() {
                let payload = vec![index as u8; len];
                match kind {
                    0 => bytes.extend(frame(0x82, &payload)),
                    1 => {
                        let (begin, rest) = payload.split_at(len / 3);
                        bytes.extend([frame(0x02, begin), frame(0x89, b"?"), frame(0x80, rest)].concat());
                        expected.push(Message::Ping("?".into()));
                    }
                    2 => bytes.extend([frame(0x8A, &[]), frame(0x82, &payload)].concat()),
                    _ => bytes.extend([frame(0x02, &[]), frame(0x00, &payload), frame(0x80, &[])].concat()),
                }
                if kind == 2 {
                    expected.push(Message::Pong(Bytes::new()));
                }
                expected.push(Message::binary(payload));
            }
            let prefix: Vec<u8> = bytes.drain(..behind.min(bytes.len())).collect();
            let mut transport = Pieces::default();
            let mut cuts = cuts.into_iter().cycle();
            while !bytes.is_empty() {
                let cut = cuts.next().unwrap_or(0);
                transport.pieces.push_back(bytes.drain(..cut.min(bytes.len())).collect());
                // Never only moments without anything.
                transport.pieces.push_back(bytes.drain(..1.min(bytes.len())).collect());
            }
            prop_assert_eq!(all(&mut over(transport, prefix)), expected);
        }
    }

    #[test]
    fn reads_are_large_while_much_comes_and_small_again_once_little_does() {
        let asked = std::sync::Arc::default();
        let flood = frame(0x82, &[7; 100]).repeat(500);
        let mut pieces = VecDeque::from([flood]);
        for _ in 0..64 {
            pieces.extend([vec![], frame(0x8A, &[])]);
        }
        let transport = Pieces { pieces, asked: std::sync::Arc::clone(&asked) };
        assert_eq!(all(&mut over(transport, Vec::new())).len(), 564);
        let asked = asked.lock().unwrap();
        assert!(asked[0] <= SMALL && asked[1] > SMALL, "it grows at once: {asked:?}");
        let large: usize = asked.iter().filter(|&&len| len > LARGE / 2).sum();
        assert!(large >= 500 * 102 - SMALL, "and reads much at a time: {asked:?}");
        assert!(asked.iter().any(|&len| len > FLOOD / 2), "still more, since it goes on: {asked:?}");
        assert!(asked[asked.len() - 16..].iter().all(|&len| len <= SMALL), "until it is quiet: {asked:?}");
    }
}
