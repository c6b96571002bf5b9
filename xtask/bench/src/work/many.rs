//! Many connections, and many subscribers of one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use everwire_client::{ClientEvent, PingConfig};
use futures_util::{SinkExt, StreamExt, future::join_all};
use tokio::sync::mpsc;

use super::{cannot, told};
use crate::{
    measure::{Mark, Meter},
    peers::{
        Outcome, bare,
        everwire::{self, raw, whole},
    },
    task::{Contender, Measures, Task},
};

const SIZE: usize = 64;
/// So many connect at once.
const AT_ONCE: usize = 64;

/// Messages of 64 bytes over many connections at once: all are open before the first one says "go".
pub(super) async fn many(task: &Task, connections: usize, count: u64) -> Outcome<Measures> {
    let each = count / connections as u64;
    let path = format!("{}&wait=1", crate::server::path(SIZE, each, None));
    let (done, done_end) = mpsc::unbounded_channel();
    let meter = Arc::new(Together { left: AtomicU64::new(each * connections as u64), done });
    match task.contender {
        Contender::Bare | Contender::Control => {
            let mut sockets = Vec::with_capacity(connections);
            while sockets.len() < connections {
                let next = (0..AT_ONCE.min(connections - sockets.len())).map(|_| bare::connect(task, &path));
                for socket in join_all(next).await {
                    sockets.push(socket?);
                }
            }
            let start = Mark::now();
            for mut socket in sockets {
                let meter = Arc::clone(&meter);
                tokio::spawn(async move {
                    let _ = socket.send(bare::Message::text("go")).await;
                    while let Some(Ok(message)) = socket.next().await {
                        std::hint::black_box(message.len());
                        meter.hit();
                    }
                });
            }
            meter.finish(done_end, start, each * connections as u64).await
        }
        Contender::Everwire | Contender::ManyIdle => {
            let engine = everwire::engine(task)?;
            let mut clients = Vec::with_capacity(connections);
            while clients.len() < connections {
                let mut next = Vec::new();
                for _ in 0..AT_ONCE.min(connections - clients.len()) {
                    let meter = Arc::clone(&meter);
                    let builder = raw(task, &path).on_event(move |event| {
                        std::hint::black_box(event.0.len());
                        meter.hit();
                    });
                    next.push(whole(task, &engine, builder)?);
                }
                for outcome in join_all(next.iter().map(|whole| whole.client.connect())).await {
                    outcome?;
                }
                clients.extend(next);
            }
            let start = Mark::now();
            for whole in &clients {
                let _receipt = whole.client.try_send("go")?;
            }
            meter.finish(done_end, start, each * connections as u64).await
        }
        _ => cannot(task),
    }
}

/// Counts what comes over all connections.
struct Together {
    left: AtomicU64,
    done: mpsc::UnboundedSender<Mark>,
}

impl Together {
    #[inline]
    fn hit(&self) {
        if self.left.fetch_sub(1, Relaxed) == 1 {
            let _ = self.done.send(Mark::now());
        }
    }

    async fn finish(
        &self,
        mut done: mpsc::UnboundedReceiver<Mark>,
        start: Mark,
        count: u64,
    ) -> Outcome<Measures> {
        let end = done.recv().await.ok_or("the clients ended before all messages were there")?;
        let (cpu, wall) = (end.cpu - start.cpu, end.wall - start.wall);
        let count = count as f64;
        Ok([("cpu_ns", cpu.as_secs_f64() * 1e9 / count), ("per_s", count / wall.as_secs_f64())]
            .map(|(name, value)| (name.to_owned(), value))
            .into())
    }
}

/// One connection, and so many subscribers that each get every message; the cost is that of a message to all.
pub(super) async fn fan(task: &Task, subscribers: usize, count: u64) -> Outcome<Measures> {
    let (done, done_end) = mpsc::unbounded_channel();
    let builder = raw(task, &crate::server::path(SIZE, count, None));
    let whole = whole(task, &everwire::engine(task)?, builder)?;
    for index in 0..subscribers {
        let mut events = whole.client.subscribe();
        let mut meter = Meter::new(count);
        let done = done.clone();
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                let ClientEvent::Event { event, .. } = event else { continue };
                std::hint::black_box(event.0.len());
                // Whoever is last tells; they are never a batch apart.
                if let Some(measures) = meter.hit()
                    && index == 0
                {
                    let _ = done.send(measures);
                }
            }
        });
    }
    whole.client.connect().await?;
    told(done_end).await
}

/// The share of a core (1 is all of it) that connections take which do nothing but ping.
pub(super) async fn pings(task: &Task, connections: usize, interval: f64, seconds: f64) -> Outcome<Measures> {
    let engine = everwire::engine(task)?;
    let interval = Duration::from_secs_f64(interval);
    let config = PingConfig::builder().interval(interval).build()?;
    let mut clients = Vec::with_capacity(connections);
    while clients.len() < connections {
        let mut next = Vec::new();
        for _ in 0..AT_ONCE.min(connections - clients.len()) {
            next.push(whole(task, &engine, raw(task, "/listen").ping_config(config))?);
        }
        for outcome in join_all(next.iter().map(|whole| whole.client.connect())).await {
            outcome?;
        }
        clients.extend(next);
    }
    let start = Mark::now();
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    let end = Mark::now();
    let lost = clients.iter().filter(|whole| !whole.client.state().state.is_connected()).count();
    if lost > 0 {
        return Err(format!("{lost} of {connections} connections were lost").into());
    }
    let share = (end.cpu - start.cpu).as_secs_f64() / (end.wall - start.wall).as_secs_f64();
    Ok([("share".to_owned(), share)].into())
}
