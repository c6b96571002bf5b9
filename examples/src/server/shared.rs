//! What all connections of a server have in common.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::{Notify, mpsc, watch};

use super::{
    faults::Faults,
    hall::Hall,
    record::{ConnectionRecord, Ending, Record},
    session::Order,
};
use crate::clock;

/// The server's state. No lock is held across an await, and no two at a time.
pub(super) struct Shared {
    pub(super) hall: Mutex<Hall>,
    pub(super) record: watch::Sender<Record>,
    pub(super) faults: watch::Sender<Faults>,
    pub(super) started: Instant,
    live: Mutex<HashMap<usize, Live>>,
}

/// A connection as the others see it.
struct Live {
    participant: Option<String>,
    room: Option<String>,
    orders: mpsc::Sender<Order>,
    /// There is something new in this participant's log.
    news: Arc<Notify>,
}

impl Shared {
    pub(super) fn new(any_token: bool) -> Self {
        Self {
            hall: Mutex::new(Hall::new(any_token)),
            record: watch::Sender::new(Record::default()),
            faults: watch::Sender::new(Faults::default()),
            started: clock::now(),
            live: Mutex::default(),
        }
    }

    /// Notes a new connection.
    pub(super) fn opened(self: &Arc<Self>, path: String, orders: mpsc::Sender<Order>) -> Presence {
        let opened = clock::now().saturating_duration_since(self.started);
        let mut index = 0;
        self.record.send_modify(|record| {
            index = record.connections.len();
            record.connections.push(ConnectionRecord {
                connection_id: format!("conn-{}", index + 1),
                participant: None,
                path,
                opened,
                ending: Ending::Open,
            });
        });
        let news = Arc::new(Notify::new());
        let live = Live { participant: None, room: None, orders, news: Arc::clone(&news) };
        lock(&self.live).insert(index, live);
        Presence { shared: Arc::clone(self), index, news }
    }

    /// Gives an order to all connections, or to those of one participant.
    pub(super) fn order(&self, participant: Option<&str>, order: &Order) {
        for live in lock(&self.live).values() {
            if participant.is_none() || live.participant.as_deref() == participant {
                // A connection with eight orders waiting is past helping.
                let _ = live.orders.try_send(order.clone());
            }
        }
    }

    /// Wakes everybody else in a room.
    pub(super) fn wake_others(&self, room: &str, participant: &str) {
        for live in lock(&self.live).values() {
            if live.room.as_deref() == Some(room) && live.participant.as_deref() != Some(participant) {
                live.news.notify_one();
            }
        }
    }
}

/// A connection's entry in the server's books; dropping it takes it out.
pub(super) struct Presence {
    pub(super) shared: Arc<Shared>,
    pub(super) news: Arc<Notify>,
    index: usize,
}

impl Presence {
    pub(super) fn connection_id(&self) -> String {
        format!("conn-{}", self.index + 1)
    }

    pub(super) fn authenticated(&self, participant: &str) {
        self.shared.record.send_modify(|record| {
            record.connections[self.index].participant = Some(participant.to_owned());
        });
        if let Some(live) = lock(&self.shared.live).get_mut(&self.index) {
            live.participant = Some(participant.to_owned());
        }
    }

    /// Enters a room. Whoever was there before under the same name is sent away: its socket may be dead
    /// without anybody having noticed.
    pub(super) fn entered(&self, room: &str, participant: &str) {
        let mut live = lock(&self.shared.live);
        for (index, other) in live.iter() {
            let same =
                other.room.as_deref() == Some(room) && other.participant.as_deref() == Some(participant);
            if same && *index != self.index {
                let _ = other.orders.try_send(Order::Close(4009, "joined again elsewhere".to_owned()));
            }
        }
        if let Some(live) = live.get_mut(&self.index) {
            live.room = Some(room.to_owned());
        }
    }

    pub(super) fn left(&self) {
        if let Some(live) = lock(&self.shared.live).get_mut(&self.index) {
            live.room = None;
        }
    }

    /// Notes the end. The first one stands.
    pub(super) fn ended(&self, ending: Ending) {
        self.shared.record.send_if_modified(|record| {
            let entry = &mut record.connections[self.index].ending;
            let first = *entry == Ending::Open;
            if first {
                *entry = ending;
            }
            first
        });
    }

    pub(super) fn count(&self, count: impl FnOnce(&mut Record)) {
        self.shared.record.send_modify(count);
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.ended(Ending::Lost);
        lock(&self.shared.live).remove(&self.index);
    }
}

/// Locks, also after a panic elsewhere: what is guarded here is changed in single steps.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
