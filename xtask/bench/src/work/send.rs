//! Sending: `feed` and one flush per 128 messages on a bare sink; from a handle in another task where there is one,
//! with the outcome of each message awaited.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::{Sink, SinkExt};
use tokio::sync::mpsc;

use super::cannot;
use crate::{
    measure::Meter,
    peers::{
        Outcome, bare,
        everwire::{self, raw, whole},
        ezsockets, others,
    },
    task::{Contender, Measures, Task},
};

/// So many messages are flushed at once.
const BATCH: u64 = 128;
/// So many messages may be on their way with their outcomes unknown.
const WINDOW: usize = 512;

pub(super) async fn send(task: &Task, size: usize, count: u64) -> Outcome<Measures> {
    let payload = Bytes::from(vec![b'x'; size]);
    match task.contender {
        Contender::Bare | Contender::Control => {
            let socket = bare::connect(task, "/listen").await?;
            feed(socket, count, || bare::Message::Binary(payload.clone())).await
        }
        Contender::TokioWebsockets => {
            let socket = others::tokio_websockets(task, "/listen").await?;
            feed(socket, count, || tokio_websockets::Message::binary(payload.clone())).await
        }
        Contender::Yawc => {
            let socket = others::yawc(task, "/listen").await?;
            feed(socket, count, || yawc::Frame::binary(payload.clone())).await
        }
        Contender::Fastwebsockets => {
            let mut socket = others::fastwebsockets(task, "/listen").await?;
            let mut meter = Meter::new(count);
            // It has no buffer for what is sent: each frame is written at once.
            loop {
                let payload = fastwebsockets::Payload::Borrowed(&payload);
                socket.write_frame(fastwebsockets::Frame::binary(payload)).await?;
                if let Some(measures) = meter.hit() {
                    return Ok(measures);
                }
            }
        }
        Contender::Ezsockets => from_ezsockets(task, &payload, count).await,
        Contender::Everwire | Contender::Firehose => {
            let whole = whole(task, &everwire::engine(task)?, raw(task, "/listen"))?;
            whole.client.connect().await?;
            let mut meter = Meter::new(count);
            let mut receipts = VecDeque::with_capacity(WINDOW);
            loop {
                receipts.push_back(whole.client.queue(payload.clone()).await);
                if receipts.len() < WINDOW {
                    continue;
                }
                for receipt in receipts.drain(..WINDOW / 2) {
                    let outcome = receipt.await;
                    if !outcome.is_flushed() {
                        return Err(format!("a message was {outcome}").into());
                    }
                    if let Some(measures) = meter.hit() {
                        return Ok(measures);
                    }
                }
            }
        }
        _ => cannot(task),
    }
}

async fn feed<S, M, E>(mut socket: S, count: u64, message: impl Fn() -> M) -> Outcome<Measures>
where
    S: Sink<M, Error = E> + Unpin,
    E: std::error::Error + Send + Sync + 'static,
{
    let mut meter = Meter::new(count);
    loop {
        for _ in 0..BATCH {
            socket.feed(message()).await?;
        }
        socket.flush().await?;
        for _ in 0..BATCH {
            if let Some(measures) = meter.hit() {
                return Ok(measures);
            }
        }
    }
}

async fn from_ezsockets(task: &Task, payload: &Bytes, count: u64) -> Outcome<Measures> {
    let (done, _done) = mpsc::unbounded_channel();
    let counter = ezsockets::Counter { meter: Meter::new(u64::MAX), done };
    let client = ezsockets::start(task, "/listen", counter).await;
    let mut meter = Meter::new(count);
    let mut signals = VecDeque::with_capacity(WINDOW);
    loop {
        signals.push_back(client.binary(payload.clone())?);
        if signals.len() < WINDOW {
            continue;
        }
        for signal in signals.drain(..WINDOW / 2) {
            // Its signal cannot be awaited.
            while signal.status() == ::ezsockets::MessageStatus::Sending {
                tokio::task::yield_now().await;
            }
            if let Some(measures) = meter.hit() {
                return Ok(measures);
            }
        }
    }
}
