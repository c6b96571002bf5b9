//! Memory and allocations.

use std::{alloc::System, time::Duration};

use bytes::Bytes;
use everwire_client::{ClientEvent, RawDecoder, SubscriberPolicy};
use everwire_engine::{ConnectRequest, Engine};
use futures_util::StreamExt;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::sync::mpsc;

use crate::{
    measure::{peak_resident, resident},
    peers::{
        Outcome, bare,
        everwire::{self, raw, whole},
        others,
    },
    task::{Contender, Measures, Task},
};

/// The allocator of the binary that counts; in the other one its figures stay 0.
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How large the message is after which memory is to be given back.
const BURST: usize = 1 << 20;
/// The first few set up what there is once, tables of the runtime for instance.
const WARM_UP: usize = 8;

fn in_use() -> f64 {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated as f64 - stats.bytes_deallocated as f64
}

/// What a connection holds that does nothing: in memory (`resident`) and of the heap (`heap`, in the binary that
/// counts).
pub(super) async fn idle(task: &Task, connections: usize, tls: bool, burst: bool) -> Outcome<Measures> {
    let path = if burst { crate::server::path(BURST, 1, None) } else { "/listen".to_owned() };
    let connector = bare::tls(task)?;
    let engine = everwire::engine(task)?;
    let mut kept = Vec::new();
    let mut before = (0.0, 0.0);
    for index in 0..WARM_UP + connections {
        if index == WARM_UP {
            everwire::settle().await;
            before = (resident(), in_use());
        }
        match task.contender {
            Contender::Bare | Contender::Control if tls => {
                read(bare::connect_tls(task, &connector, &path).await?.0);
            }
            Contender::Bare | Contender::Control => read(bare::connect(task, &path).await?),
            Contender::TokioWebsockets => read(others::tokio_websockets(task, &path).await?),
            Contender::Yawc => read(others::yawc(task, &path).await?),
            Contender::Fastwebsockets => {
                let mut socket = others::fastwebsockets(task, &path).await?;
                tokio::spawn(async move { while socket.read_frame().await.is_ok() {} });
            }
            Contender::Engine => {
                let request = ConnectRequest::new(&everwire::url(task, &path, tls))?;
                read(engine.connect(request).await?);
            }
            _ => {
                let builder = everwire::builder(&everwire::url(task, &path, tls), RawDecoder);
                let whole = whole(task, &engine, builder)?;
                whole.client.connect().await?;
                kept.push(whole);
            }
        }
    }
    // Time for a large message to come and go.
    tokio::time::sleep(Duration::from_millis(if burst { 1000 } else { 100 })).await;
    let each = |now: f64, before: f64| (now - before) / connections as f64;
    let (resident, heap) = (each(resident(), before.0), each(in_use(), before.1));
    Ok([("resident", resident), ("heap", heap)].map(|(name, value)| (name.to_owned(), value)).into())
}

/// A task that reads, as everybody has who waits for messages.
fn read<S>(mut socket: S)
where
    S: futures_util::Stream + Send + Unpin + 'static,
    S::Item: Send,
{
    tokio::spawn(async move { while socket.next().await.is_some() {} });
}

/// The most memory of a process whose consumer reads nothing until all messages are there.
pub(super) async fn behind(task: &Task, count: u64) -> Outcome<Measures> {
    let path = crate::server::path(64, count, None);
    let before = resident();
    let consumed = match task.contender {
        Contender::Bare | Contender::Control => {
            let mut socket = bare::connect(task, &path).await?;
            let (sender, mut receiver) = mpsc::unbounded_channel();
            let reader = tokio::spawn(async move {
                for _ in 0..count {
                    let Some(Ok(message)) = socket.next().await else { return };
                    let _ = sender.send(message);
                }
            });
            reader.await?;
            let mut consumed = 0;
            while receiver.try_recv().is_ok() {
                consumed += 1;
            }
            consumed
        }
        _ => {
            let whole = whole(task, &everwire::engine(task)?, raw(task, &path))?;
            let mut events = whole.client.subscribe_with(count as usize, SubscriberPolicy::BackPressure);
            whole.client.connect().await?;
            while whole.client.health().messages_received < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let mut consumed = 0;
            while consumed < count {
                let event = events.recv().await.ok_or("the client ended")?;
                consumed += u64::from(matches!(event, ClientEvent::Event { .. }));
            }
            consumed
        }
    };
    if consumed != count {
        return Err(format!("{consumed} of {count} messages were there").into());
    }
    Ok([("peak".to_owned(), peak_resident() - before)].into())
}

/// Allocations for each message, once all is set up. In the binary that counts.
pub(super) async fn allocations(task: &Task, count: u64, sent: bool) -> Outcome<Measures> {
    let engine = everwire::engine(task)?;
    let allocations = if sent {
        let whole = whole(task, &engine, raw(task, "/listen"))?;
        whole.client.connect().await?;
        let payload = Bytes::from(vec![b'x'; 64]);
        let mut receipts = Vec::with_capacity(128);
        let mut all = 0;
        for round in 0..2 {
            let region = Region::new(ALLOCATOR);
            for _ in 0..count / 128 {
                for _ in 0..128 {
                    receipts.push(whole.client.queue(payload.clone()).await);
                }
                for receipt in receipts.drain(..) {
                    if !receipt.await.is_flushed() {
                        return Err("a message was not flushed".into());
                    }
                }
            }
            all = if round == 0 { 0 } else { region.change().allocations };
        }
        all
    } else {
        let (done, mut done_end) = mpsc::unbounded_channel();
        let (mut seen, mut region) = (0, Region::new(ALLOCATOR));
        let builder = raw(task, &crate::server::path(64, 2 * count, None)).on_event(move |_| {
            seen += 1;
            if seen == count {
                region.reset();
            } else if seen == 2 * count {
                let _ = done.send(region.change().allocations);
            }
        });
        let whole = whole(task, &engine, builder)?;
        whole.client.connect().await?;
        done_end.recv().await.ok_or("the client ended")?
    };
    Ok([("allocations".to_owned(), allocations as f64 / count as f64)].into())
}
