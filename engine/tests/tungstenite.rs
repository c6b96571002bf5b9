//! The tungstenite engine against servers on loopback.
#![cfg(feature = "tungstenite")]
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests measure deadlines, and may unwrap"
)]

mod common;

use std::time::{Duration, Instant};

use common::{Authority, echo, listen, serve};
use everwire_engine::{
    CertificateProblem, CloseCode, ConnectRequest, Connection, Engine, EngineError, EngineErrorKind, Limit,
    Message, Stage, TungsteniteEngine, testing::conformance,
};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn request(url: impl AsRef<str>) -> ConnectRequest {
    ConnectRequest::new(url.as_ref()).unwrap()
}

/// What an attempt ends with against a server that answers each connection with these bytes.
async fn answered_with(bytes: &'static [u8]) -> EngineError {
    let address = serve(async move |mut tcp| {
        let _ = tcp.read(&mut [0; 4096]).await;
        let _ = tcp.write_all(bytes).await;
        let _ = tcp.shutdown().await;
        let _ = tcp.read_to_end(&mut Vec::new()).await;
    })
    .await;
    TungsteniteEngine::new().connect(request(format!("ws://{address}/"))).await.unwrap_err()
}

#[tokio::test]
async fn messages_of_all_sizes_come_back_and_the_close_handshake_ends_the_stream() {
    let address = serve(echo).await;
    let mut connection = TungsteniteEngine::new().connect(request(format!("ws://{address}/"))).await.unwrap();
    assert_eq!(connection.handshake().peer_addr, Some(address));
    for size in [0, 1, 125, 126, 65_535, 65_536, 1 << 20] {
        connection.send(Message::binary(vec![7; size])).await.unwrap();
        assert_eq!(connection.next().await.unwrap().unwrap(), Message::binary(vec![7; size]));
    }
    connection.send(Message::text("grüezi")).await.unwrap();
    assert_eq!(connection.next().await.unwrap().unwrap().as_text(), Some("grüezi"));
    connection.send(Message::close(CloseCode::NORMAL, "bye")).await.unwrap();
    assert!(
        matches!(connection.next().await, Some(Ok(Message::Close(Some(frame)))) if frame.code == CloseCode::NORMAL)
    );
    assert!(connection.next().await.is_none());
    assert_eq!(connection.send("late".into()).await.unwrap_err().kind(), EngineErrorKind::Closed);
}

#[tokio::test]
async fn tls_with_an_added_authority_tells_its_version_and_resumes() {
    let authority = Authority::new();
    let acceptor = authority.acceptor(&["localhost"], |_| {});
    let address = serve(move |tcp| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(tls) = acceptor.accept(tcp).await {
                echo(tls).await;
            }
        }
    })
    .await;
    let engine = TungsteniteEngine::builder()
        .add_root_certificate_pem(authority.pem())
        .only_added_root_certificates()
        .build()
        .unwrap();
    let url = format!("wss://localhost:{}/", address.port());
    for resumed in [false, true] {
        let mut connection = engine.connect(request(&url)).await.unwrap();
        assert_eq!(connection.handshake().tls_version, Some("TLSv1_3"));
        assert_eq!(connection.handshake().tls_resumed, Some(resumed));
        connection.send("a".into()).await.unwrap();
        assert_eq!(connection.next().await.unwrap().unwrap(), Message::from("a"));
    }
}

#[tokio::test]
async fn each_bad_certificate_is_refused_with_its_reason() {
    let (authority, stranger) = (Authority::new(), Authority::named("somebody else"));
    let cases = [
        (
            authority.acceptor(&["localhost"], |p| p.not_after = rcgen::date_time_ymd(2001, 1, 1)),
            CertificateProblem::Expired,
        ),
        (
            authority.acceptor(&["localhost"], |p| p.not_before = rcgen::date_time_ymd(2101, 1, 1)),
            CertificateProblem::NotYetValid,
        ),
        (authority.acceptor(&["example.org"], |_| {}), CertificateProblem::WrongHost),
        (stranger.acceptor(&["localhost"], |_| {}), CertificateProblem::UnknownIssuer),
    ];
    let engine = TungsteniteEngine::builder()
        .add_root_certificate_pem(authority.pem())
        .only_added_root_certificates()
        .build()
        .unwrap();
    for (acceptor, problem) in cases {
        let address = serve(move |tcp| {
            let acceptor = acceptor.clone();
            async move { drop(acceptor.accept(tcp).await) }
        })
        .await;
        let url = format!("wss://localhost:{}/", address.port());
        let error = engine.connect(request(url)).await.unwrap_err();
        assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Certificate(problem), Stage::Tls));
        assert!(error.to_string().contains(&problem.to_string()), "{error}");
    }
}

#[tokio::test]
async fn a_refusal_keeps_status_headers_and_body() {
    let error = answered_with(
        b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbusy\r\n0\r\n\r\n",
    )
    .await;
    assert_eq!(error.kind(), EngineErrorKind::Refused(503));
    let refusal = error.refusal().unwrap();
    assert_eq!((&refusal.headers["retry-after"], &refusal.body[..]), (&"7".parse().unwrap(), &b"busy"[..]));
}

#[tokio::test]
async fn answers_that_are_no_acceptance_have_their_own_errors() {
    for (answer, words) in [
        (&b"SSH-2.0-OpenSSH\r\n"[..], "not HTTP/1.1"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "wss://"),
        (b"", "ended before"),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
            "lacks Sec-WebSocket-Accept",
        ),
    ] {
        let error = answered_with(answer).await;
        assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Upgrade, Stage::Upgrade), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn tls_to_a_plain_port_says_so() {
    let address = serve(async |mut tcp| {
        let _ = tcp.read(&mut [0; 1024]).await;
        let _ = tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    let authority = Authority::new();
    let engine = TungsteniteEngine::builder()
        .add_root_certificate_pem(authority.pem())
        .only_added_root_certificates()
        .build()
        .unwrap();
    let error = engine.connect(request(format!("wss://{address}/"))).await.unwrap_err();
    assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Tls, Stage::Tls));
    assert!(error.to_string().contains("ws://"), "{error}");
}

/// behaviour §1: each stage has its own deadline, and the attempt one more.
#[tokio::test]
async fn rule_1_a_silent_server_ends_at_the_deadline_of_its_stage() {
    let (_listener, address) = listen().await;
    let builder = || TungsteniteEngine::builder().add_root_certificate_pem(Authority::new().pem());
    let short = Duration::from_millis(80);
    for (engine, scheme, stage) in [
        (builder().upgrade_timeout(short), "ws", Stage::Upgrade),
        (builder().tls_timeout(short), "wss", Stage::Tls),
        (builder().attempt_timeout(short), "ws", Stage::Attempt),
    ] {
        let engine = engine.only_added_root_certificates().build().unwrap();
        let begin = Instant::now();
        let error = engine.connect(request(format!("{scheme}://{address}/"))).await.unwrap_err();
        assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Timeout, stage));
        assert!(begin.elapsed() >= short && begin.elapsed() < Duration::from_secs(4));
    }
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_a_connect_error_with_its_cause() {
    let (listener, address) = listen().await;
    drop(listener);
    let error = TungsteniteEngine::new().connect(request(format!("ws://{address}/"))).await.unwrap_err();
    assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Connect, Stage::Connect));
    assert_eq!(error.endpoint().unwrap().port(), address.port());
    assert!(std::error::Error::source(&error).is_some());
}

/// behaviour §1: the limits for frames and messages are told apart, and the peer is told 1009.
#[tokio::test]
async fn rule_1_what_is_too_large_says_which_and_how_large_and_the_peer_gets_1009() {
    for (frame, message, what) in [(100, 1000, Limit::Frame), (1000, 100, Limit::Message)] {
        let (listener, address) = listen().await;
        let server = tokio::spawn(async move {
            let tcp = listener.accept().await.unwrap().0;
            let mut socket = tokio_tungstenite::accept_async(tcp).await.unwrap();
            socket.send(vec![0; 101].into()).await.unwrap();
            socket.next().await.unwrap().unwrap()
        });
        let engine =
            TungsteniteEngine::builder().max_frame_size(frame).max_message_size(message).build().unwrap();
        let mut connection = engine.connect(request(format!("ws://{address}/"))).await.unwrap();
        let error = connection.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), EngineErrorKind::TooLarge { what, size: 101, max: 100 });
        assert!(connection.next().await.is_none());
        let told = server.await.unwrap();
        assert!(
            matches!(&told, tokio_tungstenite::tungstenite::Message::Close(Some(frame)) if u16::from(frame.code) == 1009),
            "{told:?}"
        );
    }
}

#[tokio::test]
async fn what_may_not_be_sent_is_refused_and_the_connection_stays() {
    let address = serve(echo).await;
    let mut connection = TungsteniteEngine::new().connect(request(format!("ws://{address}/"))).await.unwrap();
    let error = connection.send(Message::Ping(vec![0; 126].into())).await.unwrap_err();
    assert!(matches!(error.kind(), EngineErrorKind::TooLarge { size: 126, max: 125, .. }));
    let error = connection.send(Message::close(CloseCode::ABNORMAL, "")).await.unwrap_err();
    assert_eq!(error.kind(), EngineErrorKind::InvalidRequest);
    connection.send("still here".into()).await.unwrap();
    assert_eq!(connection.next().await.unwrap().unwrap(), Message::from("still here"));
}

/// tungstenite knows nothing of 1014, which gateways send, and would report that we broke the protocol, and answer that
/// they did.
#[tokio::test]
async fn rule_3_every_close_code_that_may_be_sent_is_received_as_it_is_and_answered_by_itself() {
    for code in [1000, 1001, 1002, 1011, 1012, 1013, 1014, 3000, 4999] {
        for cut in [1, 3, 4, 5, 6, 7, 100] {
            let (told, answer) = tokio::sync::oneshot::channel();
            let told = std::sync::Arc::new(std::sync::Mutex::new(Some(told)));
            let address = serve(move |tcp| {
                let told = told.lock().unwrap().take();
                async move {
                    let mut tcp = tokio_tungstenite::accept_async(tcp).await.unwrap().into_inner();
                    let [high, low] = u16::to_be_bytes(code);
                    let close = [b"\x81\x02hi\x88\x09".as_slice(), &[high, low], b"goodbye"].concat();
                    // In one piece, or in two.
                    let (first, second) = close.split_at(cut.min(close.len()));
                    tcp.write_all(first).await.unwrap();
                    tokio::task::yield_now().await;
                    tcp.write_all(second).await.unwrap();
                    let mut heard = Vec::new();
                    let _ = tcp.read_to_end(&mut heard).await;
                    told.unwrap().send(heard).unwrap();
                }
            })
            .await;
            let engine = TungsteniteEngine::new();
            let mut connection = engine.connect(request(format!("ws://{address}/"))).await.unwrap();
            assert_eq!(connection.next().await.unwrap().unwrap(), Message::from("hi"));
            let closed = connection.next().await.unwrap().unwrap();
            let Message::Close(Some(frame)) = closed else { panic!("{closed:?}") };
            assert_eq!((frame.code.get(), &*frame.reason), (code, "goodbye"));
            assert!(connection.send("late".into()).await.is_err());
            drop(connection);
            // 0x88, the length, four bytes of mask, then the code.
            let heard = answer.await.unwrap();
            let answer = u16::from_be_bytes([heard[6] ^ heard[2], heard[7] ^ heard[3]]);
            // A code that came behind its head is not known in time to be answered by itself.
            let is_cut = matches!(cut, 5..=7);
            assert_eq!(heard[0], 0x88, "{code} cut at {cut}");
            assert_eq!(answer, if code == 1014 && is_cut { 1000 } else { code }, "{code} cut at {cut}");
        }
    }
}

#[tokio::test]
async fn a_transport_that_ends_without_a_close_frame_is_an_io_error() {
    let address = serve(async |tcp| drop(tokio_tungstenite::accept_async(tcp).await)).await;
    let mut connection = TungsteniteEngine::new().connect(request(format!("ws://{address}/"))).await.unwrap();
    assert_eq!(connection.next().await.unwrap().unwrap_err().kind(), EngineErrorKind::Io);
    assert!(connection.next().await.is_none());
}

#[tokio::test]
async fn the_engine_conforms() {
    let mut server = conformance::LoopbackServer::bind().await.unwrap();
    let builder = TungsteniteEngine::builder;
    for builder in [builder(), builder().firehose(), builder().many_idle()] {
        conformance::check(&builder.build().unwrap(), &mut server).await;
    }
    conformance::check(&everwire_engine::BoxEngine::new(TungsteniteEngine::new()), &mut server).await;
}

/// 64 MiB that nobody reads, and a peer that goes away.
#[tokio::test]
async fn what_has_not_left_before_the_end_is_not_told_flushed() {
    let address = serve(async move |tcp: tokio::net::TcpStream| {
        drop(tokio_tungstenite::accept_async(tcp).await.unwrap());
    })
    .await;
    let mut connection = TungsteniteEngine::new().connect(request(format!("ws://{address}/"))).await.unwrap();
    connection.feed(Message::binary(vec![7; 64 << 20])).await.unwrap();
    assert!(connection.next().await.unwrap().is_err());
    assert_eq!(connection.flush().await.unwrap_err().kind(), EngineErrorKind::Closed);
    assert_eq!(connection.close().await.unwrap_err().kind(), EngineErrorKind::Closed);
}

#[tokio::test]
async fn what_had_left_before_the_end_stays_flushed() {
    let address = serve(async move |tcp: tokio::net::TcpStream| {
        let mut ws = tokio_tungstenite::accept_async(tcp).await.unwrap();
        while ws.next().await.is_some() {}
    })
    .await;
    let mut connection = TungsteniteEngine::new().connect(request(format!("ws://{address}/"))).await.unwrap();
    connection.send("a".into()).await.unwrap();
    // Not flushed apart: a close frame leaves at once, and all that was before it.
    connection.feed(Message::close(CloseCode::NORMAL, "")).await.unwrap();
    assert!(matches!(connection.next().await, Some(Ok(Message::Close(_)))));
    assert!(connection.next().await.is_none());
    connection.flush().await.unwrap();
    connection.close().await.unwrap();
}
