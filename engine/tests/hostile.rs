//! The tungstenite engine against servers that break every rule: each ends in an error that says what and where,
//! within a bound of time.
#![cfg(feature = "tungstenite")]
#![expect(clippy::unwrap_used, reason = "a test may unwrap")]

mod common;

use std::time::Duration;

use common::{Authority, echo, serve};
use everwire_engine::{
    ConnectRequest, Engine, EngineError, EngineErrorKind, Limit, Message, Stage, TungsteniteConnection,
    TungsteniteEngine,
};
use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// No server may keep us longer, whatever it does. The machine may be slow; an attack is endless.
async fn within<T>(work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), work).await.expect("a hostile server must not keep us")
}

fn engine() -> TungsteniteEngine {
    TungsteniteEngine::builder().max_frame_size(1 << 20).max_message_size(2 << 20).build().unwrap()
}

async fn refused(engine: &TungsteniteEngine, url: String) -> EngineError {
    let request = ConnectRequest::new(&url).unwrap().subprotocol("v1").unwrap();
    within(engine.connect(request)).await.unwrap_err()
}

/// Reads the question and gives its key.
async fn question(tcp: &mut TcpStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(tcp.read_u8().await.unwrap());
    }
    let text = String::from_utf8(text).unwrap();
    let key = text.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
    key.unwrap().to_owned()
}

/// Accepts the upgrade as it should be.
async fn accept(tcp: &mut TcpStream) {
    let accept = derive_accept_key(question(tcp).await.as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    tcp.write_all(answer.as_bytes()).await.unwrap();
}

/// A connection to a server that sends these pieces as its frames, each by itself, and what it hears then. With
/// `cut` it ends the transport after them.
async fn sends(pieces: Vec<Vec<u8>>, cut: bool) -> (TungsteniteConnection, mpsc::UnboundedReceiver<Vec<u8>>) {
    let (heard, receiver) = mpsc::unbounded_channel();
    let address = serve(move |mut tcp| {
        let (pieces, heard) = (pieces.clone(), heard.clone());
        async move {
            tcp.set_nodelay(true).unwrap();
            accept(&mut tcp).await;
            for piece in pieces {
                let _ = tcp.write_all(&piece).await;
                tokio::task::yield_now().await;
            }
            if cut {
                return;
            }
            let mut bytes = Vec::new();
            let _ = tcp.read_to_end(&mut bytes).await;
            let _ = heard.send(bytes);
        }
    })
    .await;
    let request = ConnectRequest::new(&format!("ws://{address}/")).unwrap();
    (within(engine().connect(request)).await.unwrap(), receiver)
}

/// The error that these frames end in, and the close code that the server was told.
async fn breaks(pieces: Vec<Vec<u8>>) -> (EngineError, u16) {
    let (mut connection, mut heard) = sends(pieces, false).await;
    let error = loop {
        if let Err(error) = within(connection.next()).await.expect("an error comes before the end") {
            break error;
        }
    };
    assert!(within(connection.next()).await.is_none(), "an error is the end");
    drop(connection);
    let told = within(heard.recv()).await.unwrap();
    // The answer to a ping may precede it.
    let told = if told[..2] == [0x8A, 0x80] { &told[6..] } else { &told[..] };
    // 0x88, 0x80 | 2, four bytes of mask, then the code.
    assert_eq!(told[..2], [0x88, 0x82], "a close frame with a code, masked");
    (error, u16::from_be_bytes([told[6] ^ told[2], told[7] ^ told[3]]))
}

/// What was received before a violation is answered, also by another task than the one that reads, before the server
/// is told that it is over.
#[tokio::test]
async fn what_answers_a_message_before_a_violation_still_leaves() {
    let bytes = [b"\x81\x05hello".as_slice(), b"\x89\x01?", b"\xF1\x02no", b"\x81\x04more"].concat();
    let (connection, mut heard) = sends(vec![bytes], false).await;
    let (mut sink, mut stream) = connection.split();
    let (answers, mut to_send) = mpsc::unbounded_channel();
    let answering = tokio::spawn(async move {
        while let Some(message) = to_send.recv().await {
            sink.send(message).await.unwrap();
        }
        sink
    });
    let error = loop {
        match within(stream.next()).await.unwrap() {
            Ok(message) if message.is_data() => answers.send(message).unwrap(),
            Ok(message) => assert_eq!(message, Message::Ping("?".into())),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), EngineErrorKind::Protocol);
    assert!(within(stream.next()).await.is_none(), "nothing behind a violation is read");
    drop(answers);
    let mut sink = answering.await.unwrap();
    assert_eq!(sink.send("late".into()).await.unwrap_err().kind(), EngineErrorKind::Closed);
    drop((sink, stream));
    let mut told = within(heard.recv()).await.unwrap();
    let mut frames = Vec::new();
    while !told.is_empty() {
        let len = 6 + usize::from(told[1] & 0x7F);
        let payload: Vec<u8> = (6..len).map(|at| told[at] ^ told[2 + (at - 6) % 4]).collect();
        frames.push((told[0], payload));
        told.drain(..len);
    }
    frames.sort_by_key(|frame| frame.0 == 0x81); // the pong may leave before the answer or behind it
    frames.sort_by_key(|frame| frame.0 == 0x88);
    let expected = [(0x8A, b"?".to_vec()), (0x81, b"hello".to_vec()), (0x88, vec![0x03, 0xEA])];
    assert_eq!(frames, expected);
}

#[tokio::test]
async fn frames_that_break_the_protocol_are_an_error_and_the_server_is_told() {
    let long =
        |first: u8, len: u64, payload: &[u8]| [&[first, 127], &len.to_be_bytes()[..], payload].concat();
    let huge = |size| EngineErrorKind::TooLarge { what: Limit::Frame, size, max: 1 << 20 };
    let protocol = EngineErrorKind::Protocol;
    for (what, bytes, kind, code) in [
        ("2^63 bytes claimed", long(0x82, 1 << 63, &[]), huge(1 << 63), 1009),
        ("2^64 - 1 bytes claimed", long(0x82, u64::MAX, b"abc"), huge(usize::MAX), 1009),
        ("a ping of 2^62 bytes", long(0x89, 1 << 62, &[]), huge(1 << 62), 1009),
        ("reserved bit 1, no extension", vec![0xC2, 0], protocol, 1002),
        ("reserved bit 2", vec![0xA2, 0], protocol, 1002),
        ("reserved bit 3", vec![0x92, 0], protocol, 1002),
        ("reserved bit on a ping", vec![0xC9, 0], protocol, 1002),
        ("a masked frame", vec![0x82, 0x81, 1, 2, 3, 4, 5], protocol, 1002),
        ("a masked ping", vec![0x89, 0x80, 1, 2, 3, 4], protocol, 1002),
        ("a fragmented ping", vec![0x09, 0], protocol, 1002),
        ("a fragmented close", vec![0x08, 0], protocol, 1002),
        ("a ping of 126 bytes", [&[0x89, 126, 0, 126], &[0; 126][..]].concat(), protocol, 1002),
        ("reserved data frame", vec![0x83, 0], protocol, 1002),
        ("reserved control frame", vec![0x8B, 0], protocol, 1002),
        ("a continuation of nothing", vec![0x80, 0], protocol, 1002),
        ("a message in a message", vec![0x01, 0, 0x81, 0], protocol, 1002),
        ("half a close code", vec![0x88, 1, 3], protocol, 1002),
        ("a close reason that is no text", vec![0x88, 3, 3, 0xE8, 0xFF], EngineErrorKind::InvalidUtf8, 1007),
        ("a text that is none", vec![0x81, 2, 0xC3, 0x28], EngineErrorKind::InvalidUtf8, 1007),
    ] {
        let (error, told) = breaks(vec![bytes]).await;
        assert_eq!((error.kind(), error.stage(), told), (kind, Stage::Open, code), "{what}: {error}");
    }
}

#[tokio::test]
async fn invalid_utf8_is_found_wherever_it_is_split() {
    // A surrogate, an overlong slash, a character beyond the last, and one that is cut.
    let tails: [&[u8]; 4] = [&[0xED, 0xA0, 0x80], &[0xC0, 0xAF], &[0xF4, 0x90, 0x80, 0x80], &[0xE2, 0x82]];
    for tail in tails {
        let text = ["κόσμε".as_bytes(), tail].concat();
        let whole = [&[0x81, text.len() as u8], &text[..]].concat();
        for at in 0..=text.len() {
            let (head, rest) = text.split_at(at);
            let first = [&[0x01, head.len() as u8], head].concat();
            let last = [&[0x80, rest.len() as u8], rest].concat();
            let (error, told) = breaks(vec![first, vec![0x89, 0], last]).await;
            assert_eq!((error.kind(), told), (EngineErrorKind::InvalidUtf8, 1007), "fragments at {at}");
            assert!(!format!("{error:?}").contains("κ"), "a payload does not print");

            let (head, rest) = whole.split_at(at + 1);
            let (error, told) = breaks(vec![head.to_vec(), rest.to_vec()]).await;
            assert_eq!((error.kind(), told), (EngineErrorKind::InvalidUtf8, 1007), "pieces at {at}");
        }
    }
}

#[tokio::test]
async fn valid_utf8_may_be_split_at_every_byte() {
    let text = "κόσμε €𝄞";
    let fragments = text.bytes().map(|byte| vec![0x00, 1, byte]);
    let pieces = [vec![0x01, 0]].into_iter().chain(fragments).chain([vec![0x80, 0]]);
    let (mut connection, _heard) = sends(pieces.collect(), false).await;
    assert_eq!(within(connection.next()).await.unwrap().unwrap(), Message::from(text));
}

#[tokio::test]
async fn fragments_without_end_stop_at_the_limit_for_messages() {
    let address = serve(async |mut tcp| {
        accept(&mut tcp).await;
        let fragment = [&[0x00, 126, 0x10, 0][..], &[7; 4096]].concat();
        let mut sent = tcp.write_all(&[0x02, 0]).await;
        while sent.is_ok() {
            sent = tcp.write_all(&fragment).await;
        }
    })
    .await;
    let request = ConnectRequest::new(&format!("ws://{address}/")).unwrap();
    let mut connection = within(engine().connect(request)).await.unwrap();
    let error = within(connection.next()).await.unwrap().unwrap_err();
    let kind = EngineErrorKind::TooLarge { what: Limit::Message, size: (2 << 20) + 4096, max: 2 << 20 };
    assert_eq!((error.kind(), error.stage()), (kind, Stage::Open));
}

#[tokio::test]
async fn a_connection_that_is_cut_in_a_frame_is_an_io_error() {
    let frame = [0x82, 126, 0, 200, 1, 2, 3];
    for at in 1..=frame.len() {
        let (mut connection, _heard) =
            sends(vec![vec![0x81, 2, b'o', b'k'], frame[..at].to_vec()], true).await;
        assert_eq!(within(connection.next()).await.unwrap().unwrap(), Message::from("ok"));
        let error = within(connection.next()).await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Io, Stage::Open), "after {at} bytes");
        assert!(within(connection.next()).await.is_none());
    }
}

/// What an attempt ends with against a server that answers by these bytes, and then goes on with those, one
/// piece after each pause, for ever.
async fn answers(answer: &'static [u8], again: &'static [u8], pause: Duration) -> EngineError {
    let address = serve(move |mut tcp| async move {
        question(&mut tcp).await;
        let mut sent = tcp.write_all(answer).await;
        while sent.is_ok() && !again.is_empty() {
            if !pause.is_zero() {
                sleep(pause).await;
            }
            sent = tcp.write_all(again).await;
        }
        let _ = tcp.read_u8().await;
    })
    .await;
    let engine = TungsteniteEngine::builder().upgrade_timeout(Duration::from_millis(1500)).build().unwrap();
    refused(&engine, format!("ws://{address}/")).await
}

#[tokio::test]
async fn heads_without_end_are_cut_off() {
    for (answer, again) in [
        (&b"HTTP/1.1 101 Switching Protocols\r\n"[..], &b"X-More: and more of it, and more\r\n"[..]),
        (b"HTTP/1.1 101 Switching Protocols\r\nX-Long: ", b"................................"),
        (b"HTTP/1.1 200 ", b"OK OK OK OK OK OK OK OK OK OK OK "),
    ] {
        let error = answers(answer, again, Duration::ZERO).await;
        let head = matches!(error.kind(), EngineErrorKind::TooLarge { what: Limit::Head, max: 65_536, .. });
        assert!(head && error.stage() == Stage::Upgrade, "{error}");
    }
}

#[tokio::test]
async fn an_answer_that_drips_ends_at_the_deadline() {
    const INTERIM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
    for (answer, again) in [(&b"HTTP/1.1 101 "[..], &b"X"[..]), (INTERIM, INTERIM), (INTERIM, b"")] {
        let error = answers(answer, again, Duration::from_millis(40)).await;
        assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Timeout, Stage::Upgrade), "{error}");
    }
}

/// What counts is the status, and how long to wait: a body that never ends must not take them from us.
#[tokio::test]
async fn a_refusal_whose_body_drips_for_ever_is_a_refusal_all_the_same() {
    let head = b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\n\r\n";
    let error = answers(head, b"z", Duration::from_millis(40)).await;
    assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Refused(503), Stage::Upgrade), "{error}");
    assert_eq!(error.refusal().unwrap().headers["retry-after"], "7");
    let error = answers(head, &[b'z'; 4096], Duration::ZERO).await;
    assert_eq!(error.refusal().unwrap().body.len(), 64 << 10);
}

#[tokio::test]
async fn what_is_no_acceptance_is_an_upgrade_error_that_says_why() {
    const ACCEPTED: &str =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    let address = serve(async |mut tcp| {
        let key = question(&mut tcp).await;
        let accept = derive_accept_key(key.as_bytes());
        let answer =
            format!("{ACCEPTED}Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: v2\r\n\r\n");
        let _ = tcp.write_all(answer.as_bytes()).await;
        let _ = tcp.read_u8().await;
    })
    .await;
    let error = refused(&engine(), format!("ws://{address}/")).await;
    assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Upgrade, Stage::Upgrade));
    assert!(error.to_string().contains("not offered"), "{error}");

    for (answer, words) in [
        (
            &b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
           Sec-WebSocket-Accept: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"[..],
            "does not match",
        ),
        (b"\0\0\0\0\0\0\0\0", "not HTTP"),
        (b"HTTP/2 200\r\n\r\n", "not HTTP/1.1"),
        (b"HTTP/1.1 999999 Eh\r\n\r\n", "malformed"),
        (b"HTTP/1.1 101\r\nno colon\r\n\r\n", "malformed"),
        (b"HTTP/1.1 101 Yes\r\nX: \0\r\n\r\n", "malformed"),
    ] {
        let error = answers(answer, b"", Duration::ZERO).await;
        assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Upgrade, Stage::Upgrade), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn tls_to_a_plain_port_and_plain_to_a_tls_port_say_so() {
    let authority = Authority::new();
    let acceptor = authority.acceptor(&["localhost"], |_| {});
    let tls = serve(move |tcp| {
        let acceptor = acceptor.clone();
        async move { drop(acceptor.accept(tcp).await) }
    })
    .await;
    let error = refused(&engine(), format!("ws://{tls}/")).await;
    assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Upgrade, Stage::Upgrade));
    assert!(error.to_string().contains("wss://"), "{error}");

    let engine = TungsteniteEngine::builder().add_root_certificate_pem(authority.pem());
    let engine = engine.only_added_root_certificates().tls_timeout(Duration::from_secs(2)).build().unwrap();
    // This server knows no TLS and hangs up without a word; others answer 400, which has a test of its own.
    let plain = serve(echo).await;
    let error = refused(&engine, format!("wss://{plain}/")).await;
    assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Tls, Stage::Tls), "{error}");
    // And this one answers what looks like TLS for ever, and is none.
    let noise = serve(async |mut tcp| while tcp.write_all(&[0x16, 3, 3, 0, 1, 0]).await.is_ok() {}).await;
    let error = refused(&engine, format!("wss://{noise}/")).await;
    assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Tls, Stage::Tls), "{error}");
}
