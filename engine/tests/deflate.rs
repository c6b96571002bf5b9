//! Compression against servers that do as they please: what is agreed upon holds both ways, and a bomb is cut off
//! within a bound of memory.
#![cfg(feature = "deflate")]
#![expect(clippy::unwrap_used, reason = "a test may unwrap")]

mod common;

use std::{alloc::System, time::Duration};

use common::serve;
use everwire_engine::{
    ConnectRequest, Deflate, Engine, EngineError, EngineErrorKind, Limit, Message, Stage,
    TungsteniteConnection, TungsteniteEngine,
};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use futures_util::{SinkExt, StreamExt};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MIB: usize = 1 << 20;

async fn within<T>(work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), work).await.expect("a hostile server must not keep us")
}

/// Accepts the upgrade with this choice of extensions, and gives what was offered.
async fn accept(tcp: &mut TcpStream, choice: &str) -> Option<String> {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(tcp.read_u8().await.unwrap());
    }
    let text = String::from_utf8(text).unwrap();
    let header = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    let accept = derive_accept_key(header("Sec-WebSocket-Key: ").unwrap().as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{choice}\r\n"
    );
    tcp.write_all(answer.as_bytes()).await.unwrap();
    header("Sec-WebSocket-Extensions: ")
}

const CHOICE: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";

fn engine(deflate: Deflate) -> TungsteniteEngine {
    TungsteniteEngine::builder().max_message_size(4 * MIB).deflate(deflate).build().unwrap()
}

/// A connection to a server that agrees, sends these bytes, and then listens.
async fn sends(bytes: Vec<u8>) -> TungsteniteConnection {
    let address = serve(move |mut tcp| {
        let bytes = bytes.clone();
        async move {
            accept(&mut tcp, CHOICE).await;
            let _ = tcp.write_all(&bytes).await;
            let _ = tcp.read_to_end(&mut Vec::new()).await;
        }
    })
    .await;
    let request = ConnectRequest::new(&format!("ws://{address}/")).unwrap();
    within(engine(Deflate::default()).connect(request)).await.unwrap()
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let len = payload.len();
    let head = match len {
        0..126 => vec![first, len as u8],
        126..65_536 => [&[first, 126], &(len as u16).to_be_bytes()[..]].concat(),
        _ => [&[first, 127], &(len as u64).to_be_bytes()[..]].concat(),
    };
    [&head, payload].concat()
}

/// The payload of a compressed message.
fn compressed(compress: &mut Compress, message: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(message.len() + 1024);
    compress.compress_vec(message, &mut payload, FlushCompress::Sync).unwrap();
    assert!(payload.ends_with(&[0, 0, 0xFF, 0xFF]));
    payload.truncate(payload.len() - 4);
    payload
}

fn fresh() -> Compress {
    Compress::new(Compression::default(), false)
}

/// A gibibyte of zeros, the most that DEFLATE makes of a mebibyte.
fn bomb() -> Vec<u8> {
    let (mut compress, zeros) = (fresh(), vec![0; MIB]);
    let mut payload = Vec::with_capacity(2 * MIB);
    for _ in 0..1024 {
        compress.compress_vec(&zeros, &mut payload, FlushCompress::None).unwrap();
    }
    compress.compress_vec(&[], &mut payload, FlushCompress::Sync).unwrap();
    payload.truncate(payload.len() - 4);
    payload
}

/// One test, for the counters of memory are those of the whole process.
#[tokio::test]
async fn a_bomb_is_cut_off_at_the_limit_within_bounds_of_memory_and_time() {
    let payload = bomb();
    assert!(payload.len() < 2 * MIB, "{} bytes", payload.len());
    let half = payload.len() / 2;
    let whole = frame(0xC2, &payload);
    let text = frame(0xC1, &payload);
    let fragments = [frame(0x42, &payload[..half]), frame(0x80, &payload[half..])].concat();
    for (what, bytes) in [("a frame", whole), ("a text", text), ("fragments", fragments)] {
        let mut connection = sends(bytes).await;
        let region = Region::new(ALLOCATOR);
        let error = within(connection.next()).await.unwrap().unwrap_err();
        let used = region.change();
        let kind = EngineErrorKind::TooLarge { what: Limit::Message, size: 4 * MIB + 1, max: 4 * MIB };
        assert_eq!((error.kind(), error.stage()), (kind, Stage::Open), "{what}: {error}");
        assert!(error.to_string().contains("inflated from"), "{error}");
        // All that was allocated on the way, the server's part included; far less was held at once.
        let all = used.bytes_allocated;
        assert!(all < 40 * MIB, "{what}: {all} bytes for a message of at most {}", 4 * MIB);
        assert!(within(connection.next()).await.is_none(), "an error is the end");
    }
}

#[tokio::test]
async fn the_bit_of_compression_belongs_to_the_first_frame_of_a_message() {
    let hello = compressed(&mut fresh(), b"Hello");
    let (protocol, utf8) = (EngineErrorKind::Protocol, EngineErrorKind::InvalidUtf8);
    for (what, bytes, kind) in [
        ("on a ping", frame(0xC9, b""), protocol),
        ("on a close", frame(0xC8, b""), protocol),
        ("on a continuation", [frame(0x41, &hello[..3]), frame(0xC0, &hello[3..])].concat(), protocol),
        ("on a reserved frame", frame(0xC3, b""), protocol),
        ("with another reserved bit", frame(0xE1, &hello), protocol),
        ("with the last reserved bit", frame(0xD2, &hello), protocol),
        ("on what is not DEFLATE", frame(0xC2, &[0xFF; 9]), protocol),
        ("on a text that inflates to none", frame(0xC1, &compressed(&mut fresh(), &[0xC3, 0x28])), utf8),
    ] {
        let error = within(sends(bytes).await.next()).await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.stage()), (kind, Stage::Open), "{what}: {error}");
    }
}

#[tokio::test]
async fn compressed_and_plain_messages_come_in_their_order_and_kind() {
    let mut compress = fresh();
    let first = compressed(&mut compress, "grüezi grüezi".as_bytes());
    let second = compressed(&mut compress, "grüezi grüezi".as_bytes());
    assert!(second.len() < first.len(), "it refers to the first one");
    let bytes = [
        frame(0x82, b"\xFF"),
        frame(0x41, &first[..4]),
        frame(0x89, b"?"),
        frame(0x00, &first[4..]),
        frame(0x80, b""),
        frame(0x81, b"plain"),
        frame(0xC2, &second),
        frame(0x82, b""),
    ]
    .concat();
    let mut connection = sends(bytes).await;
    let mut seen = Vec::new();
    while seen.len() < 6 {
        seen.push(within(connection.next()).await.unwrap().unwrap());
    }
    let expected = [
        Message::binary(&b"\xFF"[..]),
        Message::Ping("?".into()),
        Message::text("grüezi grüezi"),
        Message::text("plain"),
        Message::binary("grüezi grüezi".as_bytes()),
        Message::binary(&b""[..]),
    ];
    assert_eq!(seen, expected);
}

/// What a server hears of these messages: the first byte and the unmasked payload of each frame.
async fn hears(deflate: Deflate, choice: &'static str, messages: Vec<Message>) -> Vec<(u8, Vec<u8>)> {
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let address = serve(move |mut tcp| {
        let told = told.clone();
        async move {
            accept(&mut tcp, choice).await;
            while let Ok(first) = tcp.read_u8().await {
                let len = match tcp.read_u8().await.unwrap() & 0x7F {
                    126 => usize::from(tcp.read_u16().await.unwrap()),
                    len => usize::from(len),
                };
                let mask = tcp.read_u32().await.unwrap().to_be_bytes();
                let mut payload = vec![0; len];
                tcp.read_exact(&mut payload).await.unwrap();
                payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
                let _ = told.send((first, payload));
            }
        }
    })
    .await;
    let request = ConnectRequest::new(&format!("ws://{address}/")).unwrap();
    let mut connection = within(engine(deflate).connect(request)).await.unwrap();
    let mut frames = Vec::new();
    for message in messages {
        connection.send(message).await.unwrap();
        frames.push(within(heard.recv()).await.unwrap());
    }
    frames
}

#[tokio::test]
async fn what_is_long_goes_compressed_and_what_is_short_or_control_does_not() {
    let long = "long ".repeat(300);
    let messages = [
        Message::text(long.clone()),
        Message::text("short"),
        Message::Ping("?".into()),
        Message::binary(long.clone().into_bytes()),
    ];
    let frames = hears(Deflate::default(), CHOICE, messages.to_vec()).await;
    assert_eq!(frames.iter().map(|frame| frame.0).collect::<Vec<_>>(), [0xC1, 0x81, 0x89, 0xC2]);
    let mut decompress = Decompress::new(false);
    for at in [0, 3] {
        let payload = [&frames[at].1[..], &[0, 0, 0xFF, 0xFF]].concat();
        let mut message = Vec::with_capacity(4096);
        decompress.decompress_vec(&payload, &mut message, FlushDecompress::Sync).unwrap();
        assert_eq!(message, long.as_bytes());
    }
    assert!(frames[3].1.len() < frames[0].1.len(), "the second one refers to the first");

    // A server that declines, and one that asks for less than we can do, are spoken to without.
    for choice in ["", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=8\r\n"] {
        let frames = hears(Deflate::default(), choice, vec![Message::text(long.clone())]).await;
        assert_eq!(frames, [(0x81, long.clone().into_bytes())], "{choice}");
    }
}

async fn refused(choice: &'static str) -> EngineError {
    let address = serve(async move |mut tcp| {
        accept(&mut tcp, choice).await;
        let _ = tcp.read_u8().await;
    })
    .await;
    let request = ConnectRequest::new(&format!("ws://{address}/")).unwrap();
    within(engine(Deflate::default()).connect(request)).await.unwrap_err()
}

#[tokio::test]
async fn an_answer_that_does_not_fit_the_offer_fails_the_upgrade() {
    for (choice, words) in [
        ("Sec-WebSocket-Extensions: permessage-deflate; zip\r\n", "unknown"),
        ("Sec-WebSocket-Extensions: permessage-deflate, permessage-deflate\r\n", "more extensions"),
        ("Sec-WebSocket-Extensions: foo\r\n", "not offered"),
        (
            "Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Extensions: foo\r\n",
            "more extensions",
        ),
        ("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=16\r\n", "8 to 15"),
    ] {
        let error = refused(choice).await;
        assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Upgrade, Stage::Upgrade), "{choice}");
        assert!(error.to_string().contains(words), "{error}");
    }
}
