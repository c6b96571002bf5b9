//! The figures of the client through the `metrics` facade.
//!
//! Handles are taken from the recorder that is installed when the client is built. What changes with each message is
//! handed on once per turn of the driver, as a difference; gauges are moved by differences too, so that those of many
//! clients add up. No label has anything from the wire.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};

use crate::state::DisconnectionSource;

/// All of them.
pub(crate) struct Facade {
    pub(crate) attempts: Counter,
    connections: Counter,
    disconnections: [(&'static str, Counter); 6],
    pub(crate) connected: Level,
    connect: Histogram,
    pub(crate) pings: Counter,
    pub(crate) missed_pongs: Counter,
    pub(crate) round_trip: Histogram,
    renewed: Counter,
    failed_renewals: Counter,
    replaced: Counter,
    failed_replacements: Counter,
    pub(crate) messages_received: Total,
    pub(crate) bytes_received: Total,
    pub(crate) messages_sent: Total,
    pub(crate) bytes_sent: Total,
    pub(crate) rejects: Total,
    pub(crate) handler_panics: Total,
    pub(crate) late_events: Total,
    pub(crate) send_queue_messages: Level,
    pub(crate) send_queue_bytes: Level,
    pub(crate) delivery_queue: Level,
}

/// The names that the label `source` may have: those of [`DisconnectionSource`].
const SOURCES: [&str; 6] = [
    "UserInitiated",
    "ServerInitiated",
    "SystemInitiated",
    "NoPongReceived",
    "ConnectTimeout",
    "AuthenticationFailed",
];

impl Default for Facade {
    fn default() -> Self {
        describe();
        Self {
            attempts: counter!("everwire_client_attempts_total"),
            connections: counter!("everwire_client_connections_total"),
            disconnections: SOURCES
                .map(|source| (source, counter!("everwire_client_disconnections_total", "source" => source))),
            connected: Level::new(gauge!("everwire_client_connected")),
            connect: histogram!("everwire_client_connect_seconds"),
            pings: counter!("everwire_client_pings_sent_total"),
            missed_pongs: counter!("everwire_client_pongs_missed_total"),
            round_trip: histogram!("everwire_client_round_trip_seconds"),
            renewed: counter!("everwire_client_renewals_total", "outcome" => "renewed"),
            failed_renewals: counter!("everwire_client_renewals_total", "outcome" => "failed"),
            replaced: counter!("everwire_client_replacements_total", "outcome" => "replaced"),
            failed_replacements: counter!("everwire_client_replacements_total", "outcome" => "failed"),
            messages_received: Total::new(counter!("everwire_client_messages_received_total")),
            bytes_received: Total::new(counter!("everwire_client_bytes_received_total")),
            messages_sent: Total::new(counter!("everwire_client_messages_sent_total")),
            bytes_sent: Total::new(counter!("everwire_client_bytes_sent_total")),
            rejects: Total::new(counter!("everwire_client_rejects_total")),
            handler_panics: Total::new(counter!("everwire_client_handler_panics_total")),
            late_events: Total::new(counter!("everwire_client_late_events_total")),
            send_queue_messages: Level::new(gauge!("everwire_client_send_queue_messages")),
            send_queue_bytes: Level::new(gauge!("everwire_client_send_queue_bytes")),
            delivery_queue: Level::new(gauge!("everwire_client_delivery_queue_items")),
        }
    }
}

/// The README has the same table, and a test compares them.
fn describe() {
    for (name, unit, what) in [
        ("attempts_total", Unit::Count, "attempts to connect"),
        ("connections_total", Unit::Count, "connections that were fully established"),
        ("disconnections_total", Unit::Count, "attempts and connections that ended"),
        ("pings_sent_total", Unit::Count, "pings sent"),
        ("pongs_missed_total", Unit::Count, "pongs that did not come in time"),
        ("renewals_total", Unit::Count, "renewals of credentials before they expire"),
        ("replacements_total", Unit::Count, "connections that were to take the place of a live one"),
        ("messages_received_total", Unit::Count, "messages received"),
        ("bytes_received_total", Unit::Bytes, "payload received"),
        ("messages_sent_total", Unit::Count, "messages flushed"),
        ("bytes_sent_total", Unit::Bytes, "payload flushed"),
        ("rejects_total", Unit::Count, "messages that did not decode"),
        ("handler_panics_total", Unit::Count, "panics of the event handler"),
        ("late_events_total", Unit::Count, "events of an old connection"),
    ] {
        describe_counter!(format!("everwire_client_{name}"), unit, what);
    }
    for (name, unit, what) in [
        ("connected", Unit::Count, "clients that are connected"),
        ("send_queue_messages", Unit::Count, "messages that wait to be sent"),
        ("send_queue_bytes", Unit::Bytes, "payload that waits to be sent"),
        ("delivery_queue_items", Unit::Count, "items that wait for the slowest subscriber"),
    ] {
        describe_gauge!(format!("everwire_client_{name}"), unit, what);
    }
    for (name, what) in [
        ("connect_seconds", "from the begin of an attempt to connected"),
        ("round_trip_seconds", "from a ping to its pong"),
    ] {
        describe_histogram!(format!("everwire_client_{name}"), Unit::Seconds, what);
    }
}

impl Facade {
    /// A connection is fully established, so long after its attempt began.
    pub(crate) fn connected(&self, after: Duration) {
        self.connections.increment(1);
        self.connected.set(1);
        self.connect.record(after);
    }

    pub(crate) fn disconnected(&self, source: &DisconnectionSource) {
        let counter = self.disconnections.iter().find(|(name, _)| *name == source.name());
        if let Some((_, counter)) = counter {
            counter.increment(1);
        }
    }

    pub(crate) fn renewed(&self, good: bool) {
        if good { &self.renewed } else { &self.failed_renewals }.increment(1);
    }

    pub(crate) fn replaced(&self, good: bool) {
        if good { &self.replaced } else { &self.failed_replacements }.increment(1);
    }
}

/// A counter that is told totals. The driver is its only writer.
pub(crate) struct Total {
    counter: Counter,
    told: AtomicU64,
}

impl Total {
    const fn new(counter: Counter) -> Self {
        Self { counter, told: AtomicU64::new(0) }
    }

    pub(crate) fn reach(&self, total: u64) {
        let told = self.told.load(Relaxed);
        if total != told {
            self.told.store(total, Relaxed);
            self.counter.increment(total.wrapping_sub(told));
        }
    }
}

/// This client's part of a gauge, which it takes back when it goes.
pub(crate) struct Level {
    gauge: Gauge,
    told: AtomicU64,
}

impl Level {
    const fn new(gauge: Gauge) -> Self {
        Self { gauge, told: AtomicU64::new(0) }
    }

    #[expect(clippy::cast_precision_loss, reason = "no queue holds 2^52 of anything")]
    pub(crate) fn set(&self, level: u64) {
        let told = self.told.swap(level, Relaxed);
        if level > told {
            self.gauge.increment((level - told) as f64);
        } else if level < told {
            self.gauge.decrement((told - level) as f64);
        }
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        self.set(0);
    }
}
