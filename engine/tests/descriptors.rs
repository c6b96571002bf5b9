//! Dropping an attempt at any stage leaves no descriptor open. A test of its own process: it counts them all.
#![cfg(all(feature = "tungstenite", target_os = "linux"))]
#![expect(clippy::unwrap_used, reason = "a test may unwrap")]

mod common;

use std::{net::SocketAddr, time::Duration};

use common::{Authority, TemporaryDirectory, echo, listen, serve};
use everwire_engine::{
    ConnectRequest, Connection, Engine, EngineErrorKind, Proxy, Stage, TungsteniteEngine, resolver_fn,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    time::timeout,
};

const SHORT: Duration = Duration::from_millis(300);

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// A port whose queue is full: the system answers nobody who wants to connect.
async fn unreachable() -> (TcpListener, Vec<TcpStream>, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let (mut queued, mut unanswered) = (Vec::new(), 0);
    // A busy machine may be late once.
    while unanswered < 3 {
        match timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
            Ok(tcp) => queued.push(tcp.unwrap()),
            Err(_) => unanswered += 1,
        }
        assert!(queued.len() < 64, "the queue has an end");
    }
    (listener, queued, address)
}

/// All that was open is closed, at once; only where a server of ours has accepted it takes that server a moment.
async fn released(before: usize, stage: Stage, has_server: bool) {
    let mut patience = if has_server { 400 } else { 0 };
    while descriptors() > before && patience > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        patience -= 1;
    }
    assert_eq!(descriptors(), before, "at {stage}");
}

#[tokio::test]
async fn a_dropped_attempt_leaves_no_descriptor_at_any_stage() {
    // Accepted by the system's backlog, and answered by nobody.
    let (_silent_listener, silent) = listen().await;
    let (_full_listener, _queued, full) = unreachable().await;
    let directory = TemporaryDirectory::new("descriptors");
    let unix = directory.path().join("silent.sock");
    let _unix_listener = tokio::net::UnixListener::bind(&unix).unwrap();
    let redirecting = serve(async |mut tcp| {
        let mut asked = vec![0; 4096];
        let len = tcp.read(&mut asked).await.unwrap();
        if asked[..len].starts_with(b"GET / ") {
            tcp.write_all(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: /silent\r\n\r\n")
                .await
                .unwrap();
        }
        let _ = tcp.read(&mut asked).await;
    })
    .await;
    let builder = || {
        TungsteniteEngine::builder()
            .add_root_certificate_pem(Authority::new().pem())
            .only_added_root_certificates()
    };
    let hanging = resolver_fn(|_, _| async {
        let _held = std::fs::File::open("/proc/self/stat").unwrap();
        std::future::pending().await
    });
    let http = Proxy::http(&format!("http://{silent}")).unwrap();
    let socks = Proxy::socks5(&format!("socks5://{silent}")).unwrap();
    let cases = [
        (Stage::Resolve, builder().resolver(hanging).resolve_timeout(SHORT), "ws", silent),
        (Stage::Connect, builder().connect_timeout(SHORT), "ws", full),
        (Stage::Proxy, builder().proxy(http).proxy_timeout(SHORT), "ws", silent),
        (Stage::Proxy, builder().proxy(socks).proxy_timeout(SHORT), "ws", silent),
        (Stage::Tls, builder().tls_timeout(SHORT), "wss", silent),
        (Stage::Upgrade, builder().upgrade_timeout(SHORT), "ws", silent),
        (Stage::Upgrade, builder().unix_socket(unix).upgrade_timeout(SHORT), "ws", silent),
        (Stage::Upgrade, builder().follow_redirects(1).upgrade_timeout(SHORT), "ws", redirecting),
    ];
    for (stage, builder, scheme, address) in cases {
        let engine = builder.build().unwrap();
        let request = ConnectRequest::new(&format!("{scheme}://{address}/")).unwrap();
        let before = descriptors();
        // Where the attempt hangs is told by how it ends when it is not dropped.
        let error = engine.connect(request.clone()).await.unwrap_err();
        assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Timeout, stage), "{error}");
        released(before, stage, address == redirecting).await;
        let mut attempts: Vec<_> = (0..10).map(|_| Box::pin(engine.connect(request.clone()))).collect();
        for attempt in &mut attempts {
            assert!(timeout(Duration::from_millis(10), attempt).await.is_err(), "it hangs at {stage}");
        }
        drop(attempts);
        released(before, stage, address == redirecting).await;
    }
    let answering = serve(echo).await;
    // The address that hangs has lost the race; its socket is closed with the attempt that won.
    let both = resolver_fn(move |_, _| async move { Ok(vec![full, answering]) });
    let engine = builder().resolver(both).build().unwrap();
    let before = descriptors();
    let connection = engine.connect(ConnectRequest::new("ws://h/").unwrap()).await.unwrap();
    assert_eq!(connection.handshake().peer_addr, Some(answering));
    assert!(descriptors() <= before + 2, "our end of the connection, the server's, and none of the loser");
    drop(connection);
    let before = descriptors();
    let request = ConnectRequest::new(&format!("ws://{answering}/")).unwrap();
    let connection = TungsteniteEngine::new().connect(request).await.unwrap();
    assert!(descriptors() > before, "the count sees an open connection");
    drop(connection);
}
