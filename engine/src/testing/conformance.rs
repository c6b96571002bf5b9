//! The contract of [`Engine`] and [`Connection`], executable: run it against an engine of your own.
//!
//! [`check`] runs every check; each is public, too, so that a failing one can be run alone. A check panics
//! with its name and with what it expected, and one that hangs is given up after ten seconds.
//!
//! The suite plays the server through the trait [`Server`]. For engines that open real sockets there is
//! [`LoopbackServer`]; [`ScriptedEngine`] is a [`Server`] by itself:
//!
//! ```
//! use everwire_engine::testing::{ScriptedEngine, conformance};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let engine = ScriptedEngine::default();
//! conformance::check(&engine, &mut engine.clone()).await;
//! # }
//! ```

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Waker},
    time::Duration,
};

use bytes::Bytes;
use futures_sink::Sink as _;

use super::{DuplexConnection, ScriptedEngine};
use crate::{
    CloseCode, CloseFrame, ConnectRequest, Connection, Engine, EngineError, EngineErrorKind, Message,
};

/// Plays the server for the engine under test.
pub trait Server: Send {
    /// The server's end of a connection. Dropping it ends the transport without a close frame.
    type Peer: Peer;

    /// Where the engine under test shall connect.
    fn url(&self) -> String;

    /// The server's end of the next connection that the engine opens.
    fn accept(&mut self) -> impl Future<Output = Self::Peer> + Send;
}

/// The server's end of one connection. Pings and closes are answered by it as it is read.
pub trait Peer: Send {
    /// Sends and flushes a message.
    fn send(&mut self, message: Message) -> impl Future<Output = ()> + Send;

    /// The next message; `None` when the connection is over, however it ended.
    fn recv(&mut self) -> impl Future<Output = Option<Message>> + Send;
}

/// Runs all checks, one after the other, each on a connection of its own.
///
/// # Panics
/// When the engine breaks the contract; the message names the check.
pub async fn check<E: Engine, S: Server>(engine: &E, server: &mut S) {
    within("messages_come_across_in_order", Box::pin(messages_come_across_in_order(engine, server))).await;
    within("a_ping_is_answered_by_reading", Box::pin(a_ping_is_answered_by_reading(engine, server))).await;
    within("a_received_close_is_the_last_item", Box::pin(a_received_close_is_the_last_item(engine, server)))
        .await;
    within("closing_is_sending_and_reading_on", Box::pin(closing_is_sending_and_reading_on(engine, server)))
        .await;
    within("an_end_without_close_is_an_error", Box::pin(an_end_without_close_is_an_error(engine, server)))
        .await;
    within("what_has_not_left_is_not_flushed", Box::pin(what_has_not_left_is_not_flushed(engine, server)))
        .await;
    within(
        "what_may_not_be_sent_is_refused_and_the_connection_stays",
        Box::pin(what_may_not_be_sent_is_refused_and_the_connection_stays(engine, server)),
    )
    .await;
    within("a_read_is_cancel_safe", Box::pin(a_read_is_cancel_safe(engine, server))).await;
    within("dropping_releases_the_transport", Box::pin(dropping_releases_the_transport(engine, server)))
        .await;
    within("attempts_are_independent", Box::pin(attempts_are_independent(engine, server))).await;
}

/// Text and binary messages arrive whole and in order, both ways, also empty and large ones.
///
/// # Panics
/// When they do not.
pub async fn messages_come_across_in_order<E: Engine, S: Server>(engine: &E, server: &mut S) {
    let (mut ours, mut theirs) = open(engine, server).await;
    let messages = [
        Message::from("first"),
        Message::binary(Bytes::new()),
        Message::text("grüezi ✓".to_owned()),
        Message::binary(vec![42; 100_000]),
        Message::from("last"),
    ];
    for message in &messages {
        let ((), sent) = tokio::join!(theirs.send(message.clone()), recv(&mut ours));
        assert_eq!(sent.expect("the stream goes on").expect("no error"), *message, "from the server");
    }
    for message in &messages {
        let (outcome, received) = tokio::join!(send(&mut ours, message.clone()), theirs.recv());
        outcome.expect("the message is sent");
        assert_eq!(received.as_ref(), Some(message), "to the server");
    }
}

/// A protocol ping is answered with its payload by a connection that is merely read, and is delivered.
///
/// # Panics
/// When it is not.
pub async fn a_ping_is_answered_by_reading<E: Engine, S: Server>(engine: &E, server: &mut S) {
    let (mut ours, mut theirs) = open(engine, server).await;
    theirs.send(Message::Ping(Bytes::from_static(b"41"))).await;
    let seen = recv(&mut ours).await.expect("the stream goes on").expect("no error");
    assert_eq!(seen, Message::Ping(Bytes::from_static(b"41")));
    let reading = async {
        let _ = recv(&mut ours).await;
        unreachable!("nothing else was sent");
    };
    tokio::select! {
        () = reading => {}
        answer = theirs.recv() => assert_eq!(answer, Some(Message::Pong(Bytes::from_static(b"41")))),
    }
}

/// A close frame is delivered with code and reason, answered, and is the last item.
///
/// # Panics
/// When it is not.
pub async fn a_received_close_is_the_last_item<E: Engine, S: Server>(engine: &E, server: &mut S) {
    let (mut ours, mut theirs) = open(engine, server).await;
    theirs.send("before".into()).await;
    theirs.send(Message::close(CloseCode::RESTART, "back soon")).await;
    assert_eq!(recv(&mut ours).await.expect("an item").expect("no error"), Message::from("before"));
    let close = recv(&mut ours).await.expect("an item").expect("no error");
    assert_eq!(close, Message::close(CloseCode::RESTART, "back soon"));
    let answered = async {
        let answer = theirs.recv().await;
        drop(theirs);
        answer
    };
    let (end, answer) = tokio::join!(recv(&mut ours), answered);
    assert!(end.is_none(), "after the close frame came {end:?}");
    assert!(
        matches!(&answer, Some(Message::Close(Some(CloseFrame { code: CloseCode::RESTART, .. })))),
        "the answer to the close frame was {answer:?}"
    );
    assert!(send(&mut ours, "late".into()).await.is_err(), "a closed connection took a message");
}

/// After a close frame was sent, what the server had sent before is still read, then its close frame, then
/// the end; and nothing more can be sent.
///
/// # Panics
/// When it is otherwise.
pub async fn closing_is_sending_and_reading_on<E: Engine, S: Server>(engine: &E, server: &mut S) {
    let (mut ours, mut theirs) = open(engine, server).await;
    theirs.send("already under way".into()).await;
    send(&mut ours, Message::close(CloseCode::NORMAL, "bye")).await.expect("the close frame is sent");
    let error = send(&mut ours, "late".into()).await.expect_err("nothing follows a close frame");
    assert_eq!(error.kind(), EngineErrorKind::Closed);
    let playing = async {
        let seen = theirs.recv().await;
        assert_eq!(seen, Some(Message::close(CloseCode::NORMAL, "bye")));
        // Reading on answers it.
        let _ = theirs.recv().await;
    };
    let reading = async {
        let mut seen = Vec::new();
        while let Some(item) = recv(&mut ours).await {
            seen.push(item.expect("no error"));
        }
        seen
    };
    let ((), seen) = tokio::join!(playing, reading);
    assert_eq!(seen.first(), Some(&Message::from("already under way")));
    assert!(matches!(seen.last(), Some(Message::Close(_))), "the last item was {:?}", seen.last());
}

/// A transport that ends without a close frame is an error of kind [`EngineErrorKind::Io`], after what was
/// sent before; then the end.
///
/// # Panics
/// When it is otherwise.
pub async fn an_end_without_close_is_an_error<E: Engine, S: Server>(engine: &E, server: &mut S) {
    let (mut ours, mut theirs) = open(engine, server).await;
    theirs.send("before".into()).await;
    drop(theirs);
    assert_eq!(recv(&mut ours).await.expect("an item").expect("no error"), Message::from("before"));
    let error = recv(&mut ours).await.expect("an item").expect_err("the end was not announced");
    assert_eq!(error.kind(), EngineErrorKind::Io);
    assert!(recv(&mut ours).await.is_none(), "an error is the last item");
}

/// What the peer has not taken when the connection ends is not told flushed afterwards. An engine whose transport takes
/// 64 MiB that nobody reads has nothing to show here.
///
/// # Panics
/// When it is.
pub async fn what_has_not_left_is_not_flushed<E: Engine, S: Server>(engine: &E, server: &mut S) {
    let (mut ours, theirs) = open(engine, server).await;
    let cx = &mut Context::from_waker(Waker::noop());
    let mut left = 64;
    while left > 0 && Pin::new(&mut ours).poll_ready(cx).is_ready() {
        Pin::new(&mut ours).start_send(Message::binary(vec![7; 1 << 20])).expect("the connection is open");
        left -= 1;
    }
    if Pin::new(&mut ours).poll_flush(cx).is_ready() {
        return;
    }
    drop(theirs);
    while recv(&mut ours).await.is_some() {}
    let outcome = poll_fn(|cx| Pin::new(&mut ours).poll_flush(cx)).await;
    assert!(outcome.is_err(), "messages that nobody took were told flushed after the end");
}

/// A close frame with a code that is never sent or a reason that does not fit, and a ping or pong that is too large, are
/// refused as [`Message::check`] refuses them; the connection is not concerned.
///
/// # Panics
/// When one is taken, or the connection ends.
pub async fn what_may_not_be_sent_is_refused_and_the_connection_stays<E: Engine, S: Server>(
    engine: &E,
    server: &mut S,
) {
    let (mut ours, mut theirs) = open(engine, server).await;
    let codes = [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000].map(CloseCode::received);
    let mut bad: Vec<_> = codes.map(|code| Message::close(code, "")).to_vec();
    bad.push(Message::close(CloseCode::NORMAL, "x".repeat(CloseFrame::MAX_REASON + 1)));
    bad.extend([Message::Ping(vec![0; 126].into()), Message::Pong(vec![0; 126].into())]);
    for message in bad {
        let expected = message.check().expect_err("it may not be sent").kind();
        let Err(error) = send(&mut ours, message.clone()).await else { panic!("{message:?} was taken") };
        assert_eq!(error.kind(), expected, "for {message:?}: {error}");
    }
    let ((), seen) = tokio::join!(theirs.send("still".into()), recv(&mut ours));
    assert_eq!(seen.expect("the stream goes on").expect("no error"), Message::from("still"));
    let (outcome, received) = tokio::join!(send(&mut ours, "here".into()), theirs.recv());
    outcome.expect("the message is sent");
    assert_eq!(received, Some(Message::from("here")));
}

/// A read that was given up has consumed nothing.
///
/// # Panics
/// When it has.
pub async fn a_read_is_cancel_safe<E: Engine, S: Server>(engine: &E, server: &mut S) {
    let (mut ours, mut theirs) = open(engine, server).await;
    for number in 0..20 {
        let text = Message::text(number.to_string());
        {
            let given_up = pin!(recv(&mut ours));
            assert!(given_up.poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        let ((), seen) = tokio::join!(theirs.send(text.clone()), recv(&mut ours));
        assert_eq!(seen.expect("an item").expect("no error"), text);
    }
}

/// Dropping the connection releases its transport: the server sees the end.
///
/// # Panics
/// When the check is given up, since the server never does.
pub async fn dropping_releases_the_transport<E: Engine, S: Server>(engine: &E, server: &mut S) {
    let (ours, mut theirs) = open(engine, server).await;
    drop(ours);
    while theirs.recv().await.is_some() {}
}

/// Attempts at the same time yield connections that have nothing to do with each other, and one that was
/// given up disturbs nobody.
///
/// # Panics
/// When they have.
pub async fn attempts_are_independent<E: Engine, S: Server>(engine: &E, server: &mut S) {
    let (mut first, mut first_peer) = open(engine, server).await;
    let (mut second, mut second_peer) = open(engine, server).await;
    first_peer.send("1".into()).await;
    second_peer.send("2".into()).await;
    assert_eq!(recv(&mut second).await.expect("an item").expect("no error"), Message::from("2"));
    drop((second, second_peer));
    assert_eq!(recv(&mut first).await.expect("an item").expect("no error"), Message::from("1"));
}

async fn open<E: Engine, S: Server>(engine: &E, server: &mut S) -> (E::Connection, S::Peer) {
    let request = ConnectRequest::new(&server.url()).expect("the server's URL is valid");
    let (ours, theirs) = tokio::join!(engine.connect(request), server.accept());
    (ours.expect("the attempt succeeds"), theirs)
}

async fn recv(connection: &mut impl Connection) -> Option<Result<Message, EngineError>> {
    poll_fn(|cx| Pin::new(&mut *connection).poll_next(cx)).await
}

async fn send(connection: &mut impl Connection, message: Message) -> Result<(), EngineError> {
    poll_fn(|cx| Pin::new(&mut *connection).poll_ready(cx)).await?;
    Pin::new(&mut *connection).start_send(message)?;
    poll_fn(|cx| Pin::new(&mut *connection).poll_flush(cx)).await
}

async fn within(name: &str, check: impl Future<Output = ()>) {
    let patience = Duration::from_secs(10);
    assert!(tokio::time::timeout(patience, check).await.is_ok(), "conformance: {name} hangs");
}

impl Server for ScriptedEngine {
    type Peer = DuplexConnection;

    fn url(&self) -> String {
        "ws://scripted.invalid/".to_owned()
    }

    async fn accept(&mut self) -> DuplexConnection {
        self.next_connection().await
    }
}

impl Peer for DuplexConnection {
    async fn send(&mut self, message: Message) {
        Self::send(self, message).await.expect("the engine's end is there");
    }

    async fn recv(&mut self) -> Option<Message> {
        Self::recv(self).await.and_then(Result::ok)
    }
}

#[cfg(feature = "tungstenite")]
pub use loopback::{LoopbackPeer, LoopbackServer};

#[cfg(feature = "tungstenite")]
mod loopback {
    use std::{fmt, io};

    use tokio::net::TcpListener;

    use super::{Peer, Server};
    use crate::{
        Handshake, Message,
        frames::{FrameConfig, TungsteniteConnection},
        pipeline::Stream,
    };

    /// A WebSocket server on a free port of 127.0.0.1, for engines that open real sockets.
    #[derive(Debug)]
    pub struct LoopbackServer(TcpListener);

    impl LoopbackServer {
        /// Listens.
        ///
        /// # Errors
        /// When the operating system has no port left.
        pub async fn bind() -> io::Result<Self> {
            TcpListener::bind("127.0.0.1:0").await.map(Self)
        }
    }

    impl Server for LoopbackServer {
        type Peer = LoopbackPeer;

        fn url(&self) -> String {
            format!("ws://{}/", self.0.local_addr().expect("a bound listener has an address"))
        }

        async fn accept(&mut self) -> LoopbackPeer {
            let tcp = self.0.accept().await.expect("a connection comes").0;
            let socket = tokio_tungstenite::accept_async(tcp).await.expect("the upgrade is asked for");
            LoopbackPeer(TungsteniteConnection::server(
                // A client waits for the answer before it sends, so no byte of a frame is lost here.
                Stream::Tcp(socket.into_inner()),
                Handshake::default(),
                FrameConfig {
                    small_read_buffer: 4096,
                    read_buffer: 4096,
                    flood_read_buffer: 4096,
                    write_buffer: 4096,
                    max_frame: 1 << 24,
                    max_message: 1 << 24,
                },
            ))
        }
    }

    /// See [`LoopbackServer`].
    pub struct LoopbackPeer(TungsteniteConnection);

    impl Peer for LoopbackPeer {
        async fn send(&mut self, message: Message) {
            super::send(&mut self.0, message).await.expect("the engine's end is there");
        }

        async fn recv(&mut self) -> Option<Message> {
            super::recv(&mut self.0).await.and_then(Result::ok)
        }
    }

    impl fmt::Debug for LoopbackPeer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("LoopbackPeer").finish_non_exhaustive()
        }
    }
}
