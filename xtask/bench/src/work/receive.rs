//! Receiving: a handler in the reading task, another task, a consumer that keeps everything, typed events.

use everwire_client::{ClientEvent, JsonDecoder};
use everwire_engine::{ConnectRequest, Engine};
use futures_util::StreamExt;
use tokio::sync::mpsc;

use super::{cannot, told};
use crate::{
    event::Event,
    measure::Meter,
    peers::{
        Outcome, bare,
        everwire::{self, raw, whole},
        ezsockets, others,
    },
    task::{Contender, Delivery, Measures, Task},
};

/// How many messages wait between a reading task and the one that consumes, where the contender has us choose.
const QUEUE: usize = 256;

pub(super) async fn receive(task: &Task, path: &str, count: u64, delivery: Delivery) -> Outcome<Measures> {
    match (task.contender, delivery) {
        (Contender::Bare | Contender::Control, Delivery::Inline) => {
            drain(bare::connect(task, path).await?, count, bare::Message::len).await
        }
        (Contender::Bare | Contender::Control, Delivery::Task) => channel(task, path, count).await,
        (Contender::TokioWebsockets, _) => {
            let socket = others::tokio_websockets(task, path).await?;
            drain(socket, count, |message| message.as_payload().len()).await
        }
        (Contender::Yawc, _) => {
            let socket = others::yawc(task, path).await?.map(Ok::<_, std::io::Error>);
            drain(socket, count, |frame| frame.payload().len()).await
        }
        (Contender::Fastwebsockets, _) => {
            let mut socket = others::fastwebsockets(task, path).await?;
            let mut meter = Meter::new(count);
            loop {
                let frame = socket.read_frame().await?;
                std::hint::black_box(frame.payload.len());
                if let Some(measures) = meter.hit() {
                    return Ok(measures);
                }
            }
        }
        (Contender::Ezsockets, _) => {
            let (done, done_end) = mpsc::unbounded_channel();
            let counter = ezsockets::Counter { meter: Meter::new(count), done };
            let _client = ezsockets::start(task, path, counter).await;
            told(done_end).await
        }
        (Contender::Engine, _) => {
            let request = ConnectRequest::new(&everwire::url(task, path, false))?;
            let socket = everwire::engine(task)?.connect(request).await?;
            drain(socket, count, everwire_engine::Message::len).await
        }
        (Contender::Everwire | Contender::Firehose | Contender::ManyIdle, Delivery::Inline) => {
            let (done, done_end) = mpsc::unbounded_channel();
            let mut meter = Meter::new(count);
            let builder = raw(task, path).on_event(move |event| {
                std::hint::black_box(event.0.len());
                if let Some(measures) = meter.hit() {
                    let _ = done.send(measures);
                }
            });
            let whole = whole(task, &everwire::engine(task)?, builder)?;
            whole.client.connect().await?;
            told(done_end).await
        }
        (Contender::Everwire | Contender::Firehose | Contender::ManyIdle, Delivery::Task) => {
            let whole = whole(task, &everwire::engine(task)?, raw(task, path))?;
            let mut events = whole.client.subscribe();
            let consumer = tokio::spawn(async move {
                let mut meter = Meter::new(count);
                while let Some(event) = events.recv().await {
                    let ClientEvent::Event { event, .. } = event else { continue };
                    std::hint::black_box(event.0.len());
                    if let Some(measures) = meter.hit() {
                        return Some(measures);
                    }
                }
                None
            });
            whole.client.connect().await?;
            consumer.await?.ok_or_else(|| "the client ended".into())
        }
        _ => cannot(task),
    }
}

/// The loop around a socket.
async fn drain<S, T, E>(mut socket: S, count: u64, len: impl Fn(&T) -> usize) -> Outcome<Measures>
where
    S: futures_util::Stream<Item = Result<T, E>> + Unpin,
    E: std::error::Error + Send + Sync + 'static,
{
    let mut meter = Meter::new(count);
    while let Some(message) = socket.next().await {
        std::hint::black_box(len(&message?));
        if let Some(measures) = meter.hit() {
            return Ok(measures);
        }
    }
    Err("the server ended the connection".into())
}

/// A task around the socket, and a channel to the consumer: what one writes first.
async fn channel(task: &Task, path: &str, count: u64) -> Outcome<Measures> {
    let mut socket = bare::connect(task, path).await?;
    let (sender, mut receiver) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        while let Some(Ok(message)) = socket.next().await {
            if sender.send(message).await.is_err() {
                break;
            }
        }
    });
    let mut meter = Meter::new(count);
    while let Some(message) = receiver.recv().await {
        std::hint::black_box(message.len());
        if let Some(measures) = meter.hit() {
            return Ok(measures);
        }
    }
    Err("the server ended the connection".into())
}

/// All messages are kept in a queue behind the socket. The parent counts the calls of the system.
pub(super) async fn hold(task: &Task, path: &str, count: u64) -> Outcome<Measures> {
    let mut kept = Vec::with_capacity(count as usize);
    let mut meter = Meter::new(count);
    match task.contender {
        Contender::Bare | Contender::Control => {
            let mut socket = bare::connect(task, path).await?;
            let (sender, mut receiver) = mpsc::channel(QUEUE);
            tokio::spawn(async move {
                while let Some(Ok(message)) = socket.next().await {
                    if sender.send(message).await.is_err() {
                        break;
                    }
                }
            });
            while let Some(message) = receiver.recv().await {
                kept.push(message);
                if let Some(measures) = meter.hit() {
                    return Ok(measures);
                }
            }
        }
        _ => {
            let mut kept = Vec::with_capacity(count as usize);
            let whole = whole(task, &everwire::engine(task)?, raw(task, path))?;
            let mut events = whole.client.subscribe();
            whole.client.connect().await?;
            while let Some(event) = events.recv().await {
                let ClientEvent::Event { event, .. } = event else { continue };
                kept.push(event);
                if let Some(measures) = meter.hit() {
                    return Ok(measures);
                }
            }
        }
    }
    Err("the client ended".into())
}

/// Typed events: through the stream of the client, or decoded in the loop around the socket.
pub(super) async fn json(task: &Task, path: &str, count: u64) -> Outcome<Measures> {
    let mut meter = Meter::new(count);
    if matches!(task.contender, Contender::Bare | Contender::Control) {
        let mut socket = bare::connect(task, path).await?;
        while let Some(message) = socket.next().await {
            let event: Event = serde_json::from_str(message?.to_text()?)?;
            std::hint::black_box(&event);
            if let Some(measures) = meter.hit() {
                return Ok(measures);
            }
        }
        return Err("the server ended the connection".into());
    }
    let builder = everwire::builder(&everwire::url(task, path, false), JsonDecoder::<Event>::new());
    let whole = whole(task, &everwire::engine(task)?, builder)?;
    let mut events = whole.client.subscribe();
    whole.client.connect().await?;
    while let Some(event) = events.recv().await {
        let ClientEvent::Event { event, .. } = event else { continue };
        std::hint::black_box(&event);
        if let Some(measures) = meter.hit() {
            return Ok(measures);
        }
    }
    Err("the client ended".into())
}
