//! Transports that are not TCP by name: a connector of the user's own, and Unix sockets.
#![cfg(feature = "tungstenite")]
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests measure deadlines, and may unwrap"
)]

mod common;

use std::{
    error::Error,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use common::{Authority, echo};
use everwire_engine::{
    Addressed, ConnectRequest, Connection, Endpoint, Engine, EngineErrorKind, Message, Proxy, Stage,
    Transport, TungsteniteEngine, connector_fn,
};
use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::mpsc,
};

fn request(url: &str) -> ConnectRequest {
    ConnectRequest::new(url).unwrap()
}

async fn echoes(connection: &mut impl Connection) {
    connection.send("through".into()).await.unwrap();
    assert_eq!(connection.next().await.unwrap().unwrap(), Message::from("through"));
}

/// The clock is paused: nothing here waits for a machine.
#[tokio::test(start_paused = true)]
async fn frames_and_tls_run_over_a_pipe_in_memory() {
    let authority = Authority::new();
    let acceptor = authority.acceptor(&["pipe.invalid"], |_| {});
    let engine = TungsteniteEngine::builder()
        .add_root_certificate_pem(authority.pem())
        .only_added_root_certificates()
        .connector(connector_fn(move |to: Endpoint| {
            let acceptor = acceptor.clone();
            async move {
                assert_eq!((to.host(), to.port()), ("pipe.invalid", 7));
                let (ours, theirs) = duplex(1024);
                tokio::spawn(async move {
                    if to.is_secure() {
                        echo(acceptor.accept(theirs).await.unwrap()).await;
                    } else {
                        echo(theirs).await;
                    }
                });
                let local = ([192, 0, 2, 1], 1).into();
                Ok(Addressed::new(ours).local(local).peer(([192, 0, 2, 2], 7).into()))
            }
        }))
        .build()
        .unwrap();
    for (scheme, tls) in [("ws", None), ("wss", Some("TLSv1_3"))] {
        let mut connection = engine.connect(request(&format!("{scheme}://pipe.invalid:7/"))).await.unwrap();
        echoes(&mut connection).await;
        let facts = connection.handshake();
        assert_eq!(facts.tls_version, tls);
        assert_eq!(facts.local_addr.unwrap().to_string(), "192.0.2.1:1");
        assert_eq!(facts.peer_addr.unwrap().to_string(), "192.0.2.2:7");
    }
}

/// Messages that are here already take no call of the system, so nothing but the scheduler's budget ends such a loop.
#[tokio::test]
async fn a_loop_over_messages_that_are_here_leaves_its_neighbours_their_turns() {
    const COUNT: usize = 10_000;
    let (said, mut all_is_said) = mpsc::channel(1);
    let connector = connector_fn(move |_: Endpoint| {
        let said = said.clone();
        async move {
            let (ours, theirs) = duplex(1 << 20);
            tokio::spawn(async move {
                let mut server = tokio_tungstenite::accept_async(theirs).await.unwrap();
                for _ in 0..COUNT {
                    server.feed("x".into()).await.unwrap();
                }
                server.flush().await.unwrap();
                said.send(server).await.unwrap();
            });
            Ok(ours)
        }
    });
    let engine = TungsteniteEngine::builder().connector(connector).build().unwrap();
    let mut connection = engine.connect(request("ws://h/")).await.unwrap();
    let _server = all_is_said.recv().await.unwrap();
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&turns);
    let neighbour = tokio::spawn(async move {
        loop {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    for _ in 0..COUNT {
        assert_eq!(connection.next().await.unwrap().unwrap(), Message::from("x"));
    }
    let turns = turns.load(Ordering::Relaxed);
    assert!(turns >= 5, "the neighbour had {turns} turns beside {COUNT} messages");
    neighbour.abort();
}

#[tokio::test(start_paused = true)]
async fn a_connector_that_fails_is_a_connect_error_with_its_cause_and_a_slow_one_is_late() {
    let failing = connector_fn(|_| async { Err::<DuplexStream, _>(io::Error::other("the tunnel is shut")) });
    let engine = TungsteniteEngine::builder().connector(failing).build().unwrap();
    let error = engine.connect(request("ws://h/")).await.unwrap_err();
    assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Connect, Stage::Connect));
    assert_eq!(error.source().unwrap().to_string(), "the tunnel is shut");
    assert_eq!(error.endpoint().unwrap().to_string(), "ws://h:80");

    let hanging = connector_fn(|_| std::future::pending::<io::Result<DuplexStream>>());
    let engine = TungsteniteEngine::builder().connector(hanging).build().unwrap();
    let began = tokio::time::Instant::now();
    let error = engine.connect(request("ws://h/")).await.unwrap_err();
    assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Timeout, Stage::Connect));
    assert_eq!(began.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_attempt_drops_the_transport() {
    let (yielded, mut theirs) = mpsc::unbounded_channel();
    let engine = TungsteniteEngine::builder()
        .connector(connector_fn(move |_| {
            let (ours, theirs) = duplex(1024);
            yielded.send(theirs).unwrap();
            async { Ok(ours) }
        }))
        .build()
        .unwrap();
    let attempt = engine.connect(request("ws://h/"));
    assert!(tokio::time::timeout(Duration::from_secs(1), attempt).await.is_err(), "nobody answers");
    let mut theirs = theirs.recv().await.unwrap();
    let mut question = Vec::new();
    theirs.read_to_end(&mut question).await.unwrap(); // ends, since our end is gone
    assert!(question.ends_with(b"\r\n\r\n"));
    assert!(theirs.write_all(b"HTTP/1.1 101").await.is_err());
}

/// A transport in types of `std` alone, which lies about how much it has read.
struct Liar;

impl Transport for Liar {
    fn poll_read(&mut self, _: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(into.len() + 1))
    }

    fn poll_write(&mut self, _: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(from.len()))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_transport_that_lies_about_its_buffer_is_an_error_and_no_panic() {
    let engine =
        TungsteniteEngine::builder().connector(connector_fn(|_| async { Ok(Liar) })).build().unwrap();
    let error = engine.connect(request("ws://h/")).await.unwrap_err();
    assert_eq!(error.stage(), Stage::Upgrade);
    assert!(error.source().unwrap().to_string().contains("it is broken"), "{error:?}");
}

#[test]
fn what_a_connector_makes_void_is_refused_beside_it() {
    let builder = || TungsteniteEngine::builder().connector(connector_fn(|_| async { Ok(duplex(1).0) }));
    for (builder, words) in [
        (builder().proxy(Proxy::http("http://h").unwrap()), "a proxy"),
        (builder().bind_address([127, 0, 0, 1].into()), "bind_address"),
        (builder().bind_interface("lo"), "bind_interface"),
    ] {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), EngineErrorKind::InvalidConfiguration);
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_carries_frames_and_an_absent_one_is_named() {
    let directory = common::TemporaryDirectory::new("unix-socket");
    let path = directory.path().join("chat.sock");
    let engine = Arc::new(TungsteniteEngine::builder().unix_socket(&path).build().unwrap());
    let error = engine.connect(request("ws://chat.invalid/room")).await.unwrap_err();
    assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Connect, Stage::Connect));
    assert!(error.to_string().contains("chat.sock"), "{error}");

    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    tokio::spawn(async move { echo(listener.accept().await.unwrap().0).await });
    let mut connection = engine.connect(request("ws://chat.invalid/room")).await.unwrap();
    assert_eq!(connection.handshake().peer_addr, None);
    echoes(&mut connection).await;
}
