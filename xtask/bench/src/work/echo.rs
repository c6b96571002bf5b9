//! One message there and back, on the core of the server: half of the time of both.

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use bytes::Bytes;
use everwire_client::ClientEvent;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc;

use super::{cannot, told};
use crate::{
    measure::{Mark, percentile},
    peers::{
        Outcome, bare,
        everwire::{self, raw, whole},
        others,
    },
    task::{Contender, Delivery, Measures, Task},
};

const SIZE: usize = 64;

/// The round trips, in nanoseconds. The first tenth warms up.
struct Trips {
    sent: Instant,
    start: Option<Mark>,
    trips: Vec<f64>,
    warm_up: usize,
    count: usize,
}

impl Trips {
    fn new(count: u64) -> Self {
        let warm_up = count as usize / 10;
        Self {
            sent: Instant::now(),
            start: None,
            trips: Vec::with_capacity(count as usize),
            warm_up,
            count: count as usize,
        }
    }

    fn sent(&mut self) {
        self.sent = Instant::now();
    }

    fn back(&mut self) -> Option<Measures> {
        self.trips.push(self.sent.elapsed().as_secs_f64() * 1e9);
        if self.trips.len() == self.warm_up {
            self.start = Some(Mark::now());
        }
        if self.trips.len() < self.count {
            return None;
        }
        let mut trips = self.trips.split_off(self.warm_up);
        let mut measures = self.start?.since(trips.len() as u64);
        trips.sort_by(f64::total_cmp);
        measures.insert("p50_ns".to_owned(), percentile(&trips, 0.5));
        measures.insert("p99_ns".to_owned(), percentile(&trips, 0.99));
        Some(measures)
    }
}

pub(super) async fn echo(task: &Task, count: u64, delivery: Delivery) -> Outcome<Measures> {
    let payload = Bytes::from(vec![b'x'; SIZE]);
    let mut trips = Trips::new(count);
    match (task.contender, delivery) {
        (Contender::Bare | Contender::Control, _) => {
            let mut socket = bare::connect(task, "/echo").await?;
            loop {
                trips.sent();
                socket.send(bare::Message::Binary(payload.clone())).await?;
                socket.next().await.ok_or("the server ended the connection")??;
                if let Some(measures) = trips.back() {
                    return Ok(measures);
                }
            }
        }
        (Contender::TokioWebsockets, _) => {
            let mut socket = others::tokio_websockets(task, "/echo").await?;
            loop {
                trips.sent();
                socket.send(tokio_websockets::Message::binary(payload.clone())).await?;
                socket.next().await.ok_or("the server ended the connection")??;
                if let Some(measures) = trips.back() {
                    return Ok(measures);
                }
            }
        }
        (Contender::Everwire, Delivery::Task) => {
            let whole = whole(task, &everwire::engine(task)?, raw(task, "/echo"))?;
            let mut events = whole.client.subscribe();
            whole.client.connect().await?;
            loop {
                trips.sent();
                let _receipt = whole.client.try_send(payload.clone())?;
                loop {
                    let event = events.recv().await.ok_or("the client ended")?;
                    if matches!(event, ClientEvent::Event { .. }) {
                        break;
                    }
                }
                if let Some(measures) = trips.back() {
                    return Ok(measures);
                }
            }
        }
        (Contender::Everwire, Delivery::Inline) => {
            let (done, done_end) = mpsc::unbounded_channel();
            let handle: Arc<OnceLock<everwire_client::Client<_>>> = Arc::default();
            let (client, next) = (Arc::clone(&handle), payload.clone());
            let mut trips = Trips::new(count);
            let builder = raw(task, "/echo").on_event(move |_| {
                if let Some(measures) = trips.back() {
                    let _ = done.send(measures);
                } else if let Some(client) = client.get() {
                    trips.sent();
                    let _receipt = client.try_send(next.clone());
                }
            });
            let whole = whole(task, &everwire::engine(task)?, builder)?;
            whole.client.connect().await?;
            let _ = handle.set(whole.client.clone());
            let _receipt = whole.client.try_send(payload)?;
            told(done_end).await
        }
        _ => cannot(task),
    }
}
