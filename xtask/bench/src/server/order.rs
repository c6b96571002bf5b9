//! What a connection is told to do, in the path of its request: `/say?size=64&count=9&rate=0` says messages, after the
//! client's first one with `wait=1`, then listens; `/echo` gives back what it gets; `/listen` counts it. All answer pings, and close.

use std::{
    io,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    task::yield_now,
};

use super::frames::{BINARY, CLOSE, Frames, PING, PONG, TEXT, head};
use crate::event::Event;

/// What is due is said so often when a rate is given.
const TICK: Duration = Duration::from_micros(100);
/// How much is handed to the system at once in a flood.
const BLOCK: usize = 256 << 10;

/// The path of a request to say messages. `rate` 0 is a flood, and `size` 0 an event as JSON.
pub(crate) fn path(size: usize, count: u64, rate: Option<u64>) -> String {
    format!("/say?size={size}&count={count}&rate={}", rate.unwrap_or(0))
}

/// Does what the path says, until the client ends.
pub(super) async fn carry_out<S>(io: &mut S, path: &str, mut rest: BytesMut) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mode, query) = path.split_once('?').unwrap_or((path, ""));
    let number = |name: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.into_iter().find(|(key, _)| *key == name).and_then(|(_, value)| value.parse::<u64>().ok())
    };
    if mode == "/say" {
        let size = number("size").unwrap_or(0) as usize;
        if number("wait") == Some(1) {
            while Frames::default().next(&mut rest, false).is_none() {
                if io.read_buf(&mut rest).await? == 0 {
                    return Ok(());
                }
            }
        }
        say(io, size, number("count").unwrap_or(0), number("rate").unwrap_or(0)).await?;
    }
    listen(io, rest, mode == "/echo").await
}

/// A message of `size` bytes; of size 0, an event as JSON.
pub(crate) fn message(size: usize) -> Vec<u8> {
    if size == 0 {
        let json = serde_json::to_vec(&Event::sample()).expect("it is plain data");
        return [head(TEXT, json.len()), json].concat();
    }
    [head(BINARY, size), vec![b'x'; size]].concat()
}

async fn say<S>(io: &mut S, size: usize, count: u64, rate: u64) -> io::Result<()>
where
    S: AsyncWrite + Unpin,
{
    let frame = message(size);
    let in_block = (BLOCK / frame.len()).max(1) as u64;
    let block = frame.repeat(in_block.min(count.max(1)) as usize);
    let start = Instant::now();
    let mut said = 0;
    while said < count {
        let due =
            if rate == 0 { count } else { count.min((start.elapsed().as_secs_f64() * rate as f64) as u64) };
        while said < due {
            let messages = (due - said).min(in_block);
            io.write_all(&block[..messages as usize * frame.len()]).await?;
            said += messages;
        }
        io.flush().await?;
        let next = Instant::now() + TICK;
        while said < count && Instant::now() < next {
            yield_now().await;
        }
    }
    Ok(())
}

async fn listen<S>(io: &mut S, mut buffer: BytesMut, echo: bool) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut frames = Frames::default();
    let mut out = Vec::new();
    let mut room = 512;
    loop {
        let mut closed = false;
        while let Some(frame) = frames.next(&mut buffer, echo) {
            let answer = match frame.opcode {
                CLOSE => CLOSE,
                PING => PONG,
                opcode if echo => opcode,
                _ => continue,
            };
            closed |= answer == CLOSE;
            let payload = frame.payload.unwrap_or_default();
            out.extend(head(answer, payload.len()));
            out.extend_from_slice(&payload);
        }
        if !out.is_empty() {
            io.write_all(&out).await?;
            io.flush().await?;
            out.clear();
        }
        if closed {
            return io.shutdown().await;
        }
        // Ten thousand idle connections must not cost ten thousand big buffers here; a busy one gets a big one.
        buffer.reserve(room);
        let read = io.read_buf(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        if read >= room {
            room = BLOCK;
        }
    }
}
