//! Compression with a peer that is not ours: Python's `websockets`, whose DEFLATE is zlib's own. Every window both ways,
//! with and without takeover, and messages of every size.

use everwire_engine::{Connection as _, Deflate, Message, TungsteniteEngine};
use futures_util::{SinkExt as _, StreamExt as _};
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};

use super::{Program, TemporaryDirectory, arguments, connect};

/// Sends each message back. At its first port it grants what is asked; at its second it asks for windows of 10 bits and
/// no takeover itself.
const ECHO: &str = r#"
import asyncio, sys
from websockets import serve
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory as Deflate

async def echo(socket):
    async for message in socket:
        await socket.send(message)

async def main(granting, asking):
    strict = Deflate(True, True, 10, 10)
    options = dict(compression=None, max_size=None)
    async with serve(echo, "127.0.0.1", granting, extensions=[Deflate()], **options), \
               serve(echo, "127.0.0.1", asking, extensions=[strict], **options):
        await asyncio.Future()

asyncio.run(main(*map(int, sys.argv[1:])))
"#;

async fn python(directory: &TemporaryDirectory) -> Option<Program> {
    let has = std::process::Command::new("python3").args(["-c", "import websockets"]).output();
    if !has.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: needs python3-websockets (cargo xtask setup)");
        return None;
    }
    Program::start("python3", 2, directory, |ports, file| {
        (ECHO.to_owned(), arguments(&[file, &ports[0].to_string(), &ports[1].to_string()]))
    })
    .await
}

/// The bytes of a message: words from a small book, so that it compresses, and noise between them.
fn bytes(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut bytes = Vec::with_capacity(size + 16);
    while bytes.len() < size {
        match random() % 4 {
            0 => bytes.extend(random().to_le_bytes()),
            word => bytes.extend_from_slice([&b"window"[..], b"context ", b"takeover"][word as usize - 1]),
        }
    }
    bytes.truncate(size);
    bytes
}

/// All of these come back as they were, over one connection; which of them are texts goes by turns.
async fn echoes(deflate: Deflate, port: u16, sizes: &[usize]) -> String {
    let url = format!("ws://127.0.0.1:{port}/");
    let mut connection = connect(TungsteniteEngine::builder().deflate(deflate), &url).await.unwrap();
    let agreed = connection.handshake().headers["sec-websocket-extensions"].to_str().unwrap().to_owned();
    for (turn, &size) in sizes.iter().enumerate() {
        let bytes = bytes(size as u64 + turn as u64, size);
        let message = match turn % 2 {
            0 => Message::binary(bytes),
            _ => Message::text(bytes.iter().map(|byte| char::from(byte & 0x7F)).collect::<String>()),
        };
        connection.send(message.clone()).await.unwrap();
        let back = connection.next().await.expect("the connection is open").unwrap();
        assert!(back == message, "message {turn} of {size} bytes came back as another; agreed: {agreed}");
    }
    connection.send(Message::Close(None)).await.unwrap();
    while connection.next().await.is_some() {}
    agreed
}

const SIZES: [usize; 10] = [0, 1, 2, 125, 126, 1023, 1024, 65_535, 65_536, 1 << 20];

fn deflate(ours: u8, theirs: u8, (our_reset, their_reset): (bool, bool)) -> Deflate {
    Deflate::default()
        .threshold(0)
        .client_max_window_bits(ours)
        .server_max_window_bits(theirs)
        .client_no_context_takeover(our_reset)
        .server_no_context_takeover(their_reset)
}

#[tokio::test]
async fn every_window_and_every_takeover_with_the_zlib_of_another() {
    let directory = TemporaryDirectory::new("deflate");
    let Some(python) = python(&directory).await else { return };
    for ours in 9..=15 {
        for theirs in 9..=15 {
            for resets in [(false, false), (false, true), (true, false), (true, true)] {
                // The largest messages, which take their time, where the windows are the same.
                let sizes = if ours == theirs { &SIZES[..] } else { &SIZES[..7] };
                let agreed = echoes(deflate(ours, theirs, resets), python.ports[0], sizes).await;
                let names = [("client_no_context", resets.0), ("server_no_context", resets.1)];
                for (name, reset) in names {
                    assert_eq!(agreed.contains(name), reset, "{agreed}");
                }
                for (name, bits) in [("client_max_window_bits", ours), ("server_max_window_bits", theirs)] {
                    let limit = format!("{name}={bits}");
                    assert!(bits == 15 || agreed.split("; ").any(|part| part == limit), "{limit}: {agreed}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_peer_that_asks_for_less_gets_it() {
    let directory = TemporaryDirectory::new("deflate-asking");
    let Some(python) = python(&directory).await else { return };
    let agreed = echoes(Deflate::default().threshold(0), python.ports[1], &SIZES).await;
    for part in
        ["client_max_window_bits=10", "server_max_window_bits=10", "client_no_context", "server_no_context"]
    {
        assert!(agreed.contains(part), "{agreed}");
    }
}

/// Runs of messages of any sizes, with any threshold and level: the windows of both sides stay the same.
#[tokio::test]
async fn runs_of_messages_of_any_size_come_back() {
    let directory = TemporaryDirectory::new("deflate-runs");
    let Some(python) = python(&directory).await else { return };
    let runs = (
        (9..=15_u8, 9..=15_u8, any::<(bool, bool)>()),
        (0..2000_usize, 1..=9_u8),
        prop::collection::vec(
            prop_oneof![4 => 0..3000_usize, 1 => 0..200_000_usize, 1 => Just(1_usize << 20)],
            1..12,
        ),
    );
    let mut runner = TestRunner::deterministic();
    for _ in 0..40 {
        let ((ours, theirs, resets), (threshold, level), sizes) =
            runs.new_tree(&mut runner).unwrap().current();
        echoes(deflate(ours, theirs, resets).threshold(threshold).level(level), python.ports[0], &sizes)
            .await;
    }
}
