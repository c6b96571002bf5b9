//! The open connection over scripted bytes: a server that says whatever it likes, in pieces, after a good upgrade.

use std::{fmt::Write as _, io, time::Duration};

use everwire_client::{ConnectRequest, Engine as _, EngineError, Message};
use everwire_engine::{Deflate, TungsteniteConnection, TungsteniteEngine, connector_fn};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    time::timeout,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

const MOST_FRAME: usize = 2048;
const MOST_MESSAGE: usize = 4096;

/// No deflated byte inflates to more.
const MOST_INFLATED: usize = 1032;

/// The first byte says how large the pieces are and whether the transport ends after them; the rest is what the
/// server says.
pub(crate) fn frames(bytes: &[u8]) {
    let Some((how, said)) = bytes.split_first() else { return };
    talk(*how, None, said, said.len());
}

/// As [`frames`], and the second byte says to which compression the server agreed.
pub(crate) fn frames_deflate(bytes: &[u8]) {
    let [how, agreed, said @ ..] = bytes else { return };
    talk(*how, Some(agreement(*agreed)), said, said.len() * MOST_INFLATED);
}

/// An answer that fits the offer: two bits for what is forgotten, thrice two for windows, of which 0 is none.
fn agreement(agreed: u8) -> String {
    let mut answer = "permessage-deflate".to_owned();
    if agreed & 1 != 0 {
        answer.push_str("; server_no_context_takeover");
    }
    if agreed & 2 != 0 {
        answer.push_str("; client_no_context_takeover");
    }
    for (name, bits) in [("server_max_window_bits", agreed >> 2 & 7), ("client_max_window_bits", agreed >> 5)]
    {
        if bits > 0 {
            let _ = write!(answer, "; {name}={}", bits + 8); // a `String` takes all
        }
    }
    answer
}

/// `most` is the most that may come out.
fn talk(how: u8, agreed: Option<String>, said: &[u8], most: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without I/O");
    runtime.block_on(async {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let compressed = agreed.is_some();
        let server = tokio::spawn(serve(theirs, how, agreed, said.to_vec()));
        let connection = open(ours, compressed).await.expect("the upgrade is good");
        // No silence lasts longer: the connection may wait for a server that says nothing more, but no read hangs
        // that could end.
        let _ = timeout(Duration::from_secs(60), read(connection, most)).await;
        server.abort();
    });
}

async fn open(transport: DuplexStream, compressed: bool) -> Result<TungsteniteConnection, EngineError> {
    let transport = std::sync::Mutex::new(Some(transport));
    let mut engine = TungsteniteEngine::builder()
        .connector(connector_fn(move |_| {
            let transport = transport.lock().ok().and_then(|mut transport| transport.take());
            async { transport.ok_or_else(|| io::Error::other("there is one alone")) }
        }))
        .max_frame_size(MOST_FRAME)
        .max_message_size(MOST_MESSAGE);
    if compressed {
        // What is sent is compressed too, however short.
        engine = engine.deflate(Deflate::default().threshold(0));
    }
    engine.build()?.connect(ConnectRequest::new("ws://server.test/")?).await
}

async fn serve(
    mut transport: DuplexStream,
    how: u8,
    agreed: Option<String>,
    said: Vec<u8>,
) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(transport.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let mut key =
        fields.filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key")).map(|(_, key)| key.trim());
    let accept = derive_accept_key(key.next().unwrap_or_default().as_bytes());
    let extension =
        agreed.map(|agreed| format!("Sec-WebSocket-Extensions: {agreed}\r\n")).unwrap_or_default();
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n{extension}\r\n"
    );
    transport.write_all(answer.as_bytes()).await?;
    let piece = match how & 0x7f {
        0 => said.len().max(1),
        size => usize::from(size),
    };
    for piece in said.chunks(piece) {
        transport.write_all(piece).await?;
        tokio::task::yield_now().await;
    }
    if how & 0x80 == 0 {
        return Ok(()); // which drops the transport
    }
    // Whatever the client says is taken and not answered.
    let mut taken = [0; 1024];
    while transport.read(&mut taken).await? > 0 {}
    Ok(())
}

/// Reads to the end, sends meanwhile, and checks what the contract of a connection says.
async fn read(mut connection: TungsteniteConnection, most: usize) {
    let mut payload = 0;
    let mut last = None;
    while let Some(item) = connection.next().await {
        assert!(last.is_none(), "something came after the last: {item:?}");
        match item {
            Ok(Message::Close(frame)) => last = Some(format!("{frame:?}")),
            Ok(message) => {
                assert!(message.len() <= MOST_MESSAGE, "a message of {} bytes", message.len());
                payload += message.len();
                if matches!(message, Message::Ping(_) | Message::Pong(_)) {
                    assert!(message.len() <= 125);
                } else {
                    // May fail: the server may be gone.
                    let _ = connection.send(message).await;
                }
            }
            Err(error) => {
                assert!(error.to_string().len() < 1024);
                last = Some(error.to_string());
            }
        }
    }
    assert!(payload <= most, "more came out than went in");
    assert!(connection.next().await.is_none(), "the end is the end");
}
