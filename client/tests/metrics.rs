//! What the `metrics` facade gets, and that the table in the README says the same.

#![cfg(feature = "metrics")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use everwire_client::{
    Client, ClientBuilder, EngineErrorKind, SendOutcome, SubscriberPolicy,
    testing::{Line, Lines, Server},
};
use everwire_engine::testing::{ScriptedEngine, Step};
use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use tokio::time::sleep;

/// Keeps everything, as an exporter would.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// Name, kind and unit of each that was described.
    described: BTreeSet<(String, &'static str, &'static str)>,
    /// Name and names of labels of each that was registered, with what it stands at.
    numbers: BTreeMap<String, Arc<AtomicU64>>,
    samples: BTreeMap<String, Arc<Samples>>,
    labels: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Default)]
struct Samples(Mutex<Vec<f64>>);

impl HistogramFn for Samples {
    fn record(&self, value: f64) {
        self.0.lock().unwrap().push(value);
    }
}

impl Kept {
    fn describe(&self, name: &KeyName, kind: &'static str, unit: Option<Unit>) {
        let unit = unit.map_or("", |unit| unit.as_str());
        self.0.lock().unwrap().described.insert((name.as_str().to_owned(), kind, unit));
    }

    fn register(&self, key: &Key) -> Arc<AtomicU64> {
        let mut inner = self.0.lock().unwrap();
        let labels = inner.labels.entry(key.name().to_owned()).or_default();
        labels.extend(key.labels().map(|label| label.key().to_owned()));
        let values: Vec<_> = key.labels().map(metrics::Label::value).collect();
        let name = [&[key.name()], &values[..]].concat().join(" ");
        Arc::clone(inner.numbers.entry(name).or_default())
    }

    fn count(&self, name: &str) -> u64 {
        let inner = self.0.lock().unwrap();
        inner
            .numbers
            .get(&format!("everwire_client_{name}"))
            .unwrap_or_else(|| panic!("{name}"))
            .load(Relaxed)
    }

    fn level(&self, name: &str) -> f64 {
        f64::from_bits(self.count(name))
    }

    fn samples(&self, name: &str) -> Vec<f64> {
        self.0.lock().unwrap().samples[&format!("everwire_client_{name}")].0.lock().unwrap().clone()
    }
}

impl Recorder for Kept {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(&key, "counter", unit);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(&key, "gauge", unit);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(&key, "histogram", unit);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.register(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.register(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.register(key);
        let mut inner = self.0.lock().unwrap();
        Histogram::from_arc(Arc::clone(inner.samples.entry(key.name().to_owned()).or_default()))
    }
}

fn build(
    kept: &Kept,
    engine: &ScriptedEngine,
    change: impl FnOnce(ClientBuilder<Lines>) -> ClientBuilder<Lines>,
) -> Client<Line> {
    let builder = change(Client::builder("ws://server.test/live", Lines));
    metrics::with_local_recorder(kept, || builder.build(engine.clone())).unwrap()
}

async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

/// §8.12: what happens to a client is counted, of two clients together, and gauges are taken back.
#[tokio::test(start_paused = true)]
async fn rule_8_12_what_happens_is_counted() {
    let kept = Kept::default();
    let engine = ScriptedEngine::new([Step::fail(EngineErrorKind::Connect)]);
    let client = build(&kept, &engine, |builder| {
        builder.on_event(|event| assert_ne!(*event, Line::Text("boom".into()), "as the test wants"))
    });
    assert!(client.connect().await.is_err());
    let begin = async {
        let mut server = Server::accept(&engine).await;
        sleep(Duration::from_secs(2)).await;
        server.say("hello a").await;
        server
    };
    let (_, mut server) = tokio::join!(client.connect(), begin);
    let slow = client.subscribe_with(100, SubscriberPolicy::DropOldest);
    for line in ["four", "garbage", "boom"] {
        server.say(line).await;
    }
    assert_eq!(client.send("123").await, SendOutcome::Flushed);
    settle().await;
    let sum = "hello a".len() + "four".len() + "garbage".len() + "boom".len();
    for (name, expected) in [
        ("attempts_total", 2),
        ("connections_total", 1),
        ("disconnections_total ServerInitiated", 1),
        ("disconnections_total UserInitiated", 0),
        ("messages_received_total", 4),
        ("bytes_received_total", sum as u64),
        ("messages_sent_total", 1),
        ("bytes_sent_total", 3),
        ("rejects_total", 1),
        ("handler_panics_total", 1),
        ("late_events_total", 0),
    ] {
        assert_eq!(kept.count(name), expected, "{name}");
    }
    assert_eq!(kept.level("connected").to_bits(), 1_f64.to_bits());
    assert!(kept.level("delivery_queue_items") >= 2.0);
    assert_eq!(kept.samples("connect_seconds"), [2.0]);
    drop(slow);

    // A pong after half a second, then none.
    assert_eq!(server.text().await, "123");
    server.text().await;
    sleep(Duration::from_millis(500)).await;
    server.say("hello a").await;
    while let Some(message) = server.next().await {
        if matches!(message, everwire_client::Message::Close(_)) {
            break;
        }
    }
    settle().await;
    assert_eq!(kept.samples("round_trip_seconds"), [0.5]);
    assert_eq!((kept.count("pings_sent_total"), kept.count("pongs_missed_total")), (2, 1));
    assert_eq!(kept.count("disconnections_total NoPongReceived"), 1);
    assert!(kept.level("connected").abs() < 0.5);

    // Held messages of two clients add up, and go with them.
    let other = build(&kept, &engine, |builder| builder);
    let minute = Duration::from_secs(60);
    let held = |text| everwire_client::Outgoing::from(text).hold(minute);
    let receipts =
        [client.queue(held("12345")).await, other.queue(held("123")).await, other.queue(held("1")).await];
    // The driver looks when it has something to do.
    client.reconnect();
    other.reconnect();
    settle().await;
    client.disconnect_system();
    other.probe(minute);
    settle().await;
    assert_eq!(kept.level("send_queue_messages").to_bits(), 3_f64.to_bits());
    assert_eq!(kept.level("send_queue_bytes").to_bits(), 9_f64.to_bits());
    drop((client, other));
    drop(receipts);
    sleep(Duration::from_secs(10)).await;
    for gauge in ["connected", "send_queue_messages", "send_queue_bytes", "delivery_queue_items"] {
        assert!(kept.level(gauge).abs() < 0.5, "{gauge}: {}", kept.level(gauge));
    }
}

/// The README's table: name, kind, unit and labels of all of them, and of no others.
#[tokio::test]
async fn the_table_in_the_readme_is_true() {
    let kept = Kept::default();
    let _client = build(&kept, &ScriptedEngine::default(), |builder| builder);
    let inner = kept.0.lock().unwrap();
    let told: BTreeSet<_> = inner
        .described
        .iter()
        .map(|(name, kind, unit)| {
            let labels =
                inner.labels[name].iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
            format!("`{name}` | {kind} | {unit} | {labels}")
        })
        .collect();
    assert_eq!(inner.described.len(), inner.labels.len(), "described and registered are the same");
    let readme = include_str!("../README.md");
    let written: BTreeSet<_> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| ").filter(|line| line.starts_with("`everwire_client_")))
        .map(|line| line.split(" | ").take(4).collect::<Vec<_>>().join(" | ").trim().to_owned())
        .collect();
    let told: BTreeSet<_> = told.into_iter().map(|line| line.trim().to_owned()).collect();
    assert_eq!(written, told);
}
