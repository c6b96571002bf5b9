//! From the driver to any number of subscribers: each bounded, each with its policy, each seeing state
//! changes and events in one order.
//!
//! The driver's [`Hub`] gathers what it has for each subscriber and hands it over in batches, with one lock
//! per subscriber and batch; queues are swapped, so that in steady state nothing is allocated. The handles'
//! [`Registry`] adds subscribers.

mod channel;
mod hub;
mod subscription;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub(crate) use self::hub::{Hub, Registry};
pub use self::subscription::Subscription;
use crate::{
    decode::Reject,
    state::{DisconnectionSource, Snapshot},
};

/// The most that is handed over in one go.
const BATCH: usize = 64;

/// How many notices (whatever is neither event nor reject) may wait beside a subscriber's capacity, and how
/// far a back-pressure subscriber may exceed it, by what was received before reading paused.
const SLACK: usize = 64;

/// What a subscriber's capacity is unless it says otherwise.
pub(crate) const DEFAULT_CAPACITY: usize = 256;

/// Something on its way to a subscriber. Events are many, and moved from queue to queue: they must not be as large as
/// the largest of the rest, which is rare and so boxed.
#[derive(Clone)]
pub(crate) enum Item<E> {
    Event {
        generation: u64,
        event: E,
    },
    /// So many were dropped here.
    Gap(u64),
    Other(Box<ClientEvent<E>>),
}

impl<E> Item<E> {
    /// Whether it counts against a subscriber's capacity. The others are few and must get through.
    fn is_bulk(&self) -> bool {
        match self {
            Self::Event { .. } => true,
            Self::Gap(_) => false,
            Self::Other(other) => matches!(**other, ClientEvent::Rejected { .. }),
        }
    }
}

impl<E> From<ClientEvent<E>> for Item<E> {
    fn from(item: ClientEvent<E>) -> Self {
        match item {
            ClientEvent::Event { generation, event } => Self::Event { generation, event },
            ClientEvent::Lagged(dropped) => Self::Gap(dropped),
            other => Self::Other(Box::new(other)),
        }
    }
}

impl<E> From<Item<E>> for ClientEvent<E> {
    fn from(item: Item<E>) -> Self {
        match item {
            Item::Event { generation, event } => Self::Event { generation, event },
            Item::Gap(dropped) => Self::Lagged(dropped),
            Item::Other(other) => *other,
        }
    }
}

/// Something that a subscriber is told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClientEvent<E> {
    /// The state changed, to this. Boxed, as all that is large and rare here: events are many, and shall not be moved at
    /// its size.
    State(Box<Snapshot>),
    /// An event was received.
    Event {
        /// On which connection; the first is 1.
        generation: u64,
        /// What the decoder made of the message.
        event: E,
    },
    /// A message was received that does not decode. Only for a subscriber that
    /// [asked for rejects](Subscription::with_rejects).
    Rejected {
        /// On which connection.
        generation: u64,
        /// What is known of the message.
        reject: Reject,
    },
    /// This subscriber was too slow: so many items were dropped here, between the one before and the next.
    Lagged(u64),
    /// The connection still works, and a new one would be better: the server announced that it goes away, or
    /// the path has changed.
    ReconnectSuggested,
    /// Whether the path to the server is believed to work at the moment. The connection may live on without.
    ViabilityChanged(bool),
    /// A newer connection has taken the place of the old one, which is drained and closed. It ends the old one's
    /// generation in the place of a `Disconnected`; the state of the new one follows.
    Replaced {
        /// The generation that ends.
        old: u64,
        /// The generation that goes on.
        new: u64,
    },
    /// An attempt to replace the connection has failed; the connection is not concerned. It ends the generation of
    /// that attempt in the place of a `Disconnected`.
    ReplacementFailed {
        /// Which attempt it was.
        generation: u64,
        /// How it ended.
        source: Box<DisconnectionSource>,
    },
    /// A connection is fully established that is not the first one: what happened in between was missed,
    /// unless the server replays it.
    Reconnected {
        /// The server's name for the connection before.
        old_connection_id: Option<String>,
        /// The server's name for this one.
        new_connection_id: Option<String>,
        /// How long there was none; zero when it replaced the one before.
        gap: Duration,
    },
}

impl<E> ClientEvent<E> {
    /// The event, if this is one.
    pub fn into_event(self) -> Option<E> {
        match self {
            Self::Event { event, .. } => Some(event),
            _ => None,
        }
    }
}

/// What happens when a subscriber does not keep up.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum SubscriberPolicy {
    /// Reading from the connection pauses until there is room: nothing is lost, all subscribers wait, and in
    /// the end so does the server. The pong deadline does not run while nothing is read. A subscription with
    /// this policy that is never read stops the client's events for everybody.
    #[default]
    BackPressure,
    /// Its oldest events are dropped, and [`Lagged`](ClientEvent::Lagged) says how many, in their place.
    DropOldest,
}
