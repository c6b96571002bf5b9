//! A client among random commands and random servers, on virtual time; and what must hold of whatever happens.
//!
//! The choices come from a seed, or from the bytes of a fuzzer: the tests and the target `story` of
//! `cargo xtask fuzz` share this world.

use std::{
    collections::{HashMap, VecDeque},
    ops::Range,
    sync::{Arc, Mutex},
    time::Duration,
};

use everwire_client::{
    Client, ClientEvent, CloseCode, EngineErrorKind, Message, Outgoing, SendOutcome, SubscriberPolicy,
    testing::{Lines, Server},
};
use everwire_engine::testing::{ScriptedEngine, Step};
use futures_util::StreamExt as _;
use tokio::time::{sleep, timeout};

const LONG: Duration = Duration::from_secs(120);

/// Runs a story on virtual time. Says how many connections were replaced.
pub(crate) fn run(choices: Choices) -> usize {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(story(choices))
}

/// Where the choices come from.
#[derive(Clone, Debug)]
pub(crate) enum Choices {
    Seeded(fastrand::Rng),
    /// Each choice takes the next bytes; behind their end all choices are the first one.
    Bytes(VecDeque<u8>),
}

impl Choices {
    #[allow(dead_code, reason = "the tests alone have seeds")]
    pub(crate) fn seeded(seed: u64) -> Self {
        Self::Seeded(fastrand::Rng::with_seed(seed))
    }

    #[allow(dead_code, reason = "the fuzzer alone has bytes")]
    pub(crate) fn bytes(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.iter().copied().collect())
    }

    fn u64(&mut self, range: Range<u64>) -> u64 {
        match self {
            Self::Seeded(random) => random.u64(range),
            Self::Bytes(bytes) => {
                let span = range.end - range.start;
                let mut next = || bytes.pop_front().unwrap_or(0);
                let wide = if span > 256 { next() } else { 0 };
                let chosen = u64::from(wide) << 8 | u64::from(next());
                // Two bytes reach across a range that is wider than they are.
                range.start + if span > 1 << 16 { (chosen * span) >> 16 } else { chosen % span }
            }
        }
    }

    fn u8(&mut self, range: Range<u8>) -> u8 {
        self.u64(range.start.into()..range.end.into()) as u8
    }

    fn usize(&mut self, range: Range<usize>) -> usize {
        self.u64(range.start as u64..range.end as u64) as usize
    }

    fn bool(&mut self) -> bool {
        self.u8(0..2) == 1
    }

    /// Choices of somebody else's: half of the bytes that are left.
    fn fork(&mut self) -> Self {
        match self {
            Self::Seeded(random) => Self::Seeded(random.fork()),
            Self::Bytes(bytes) => Self::Bytes(bytes.split_off(bytes.len() / 2)),
        }
    }
}

/// What arrived at any server, by connection.
type Arrived = Arc<Mutex<Vec<Vec<String>>>>;

/// Says how many connections were replaced.
async fn story(mut random: Choices) -> usize {
    // Half of the clients may replace a connection by one that is made beside it, and have two sockets meanwhile.
    // Their servers are calmer, or hardly any connection would live for long enough.
    let replaces = random.bool();
    let most = 1 + usize::from(replaces);
    let script: Vec<Step> = (0..30)
        .map(|_| if replaces && random.u8(0..4) > 0 { Step::accept() } else { step(&mut random) })
        .collect();
    let engine = ScriptedEngine::new(script).capacity(random.usize(1..20));
    let arrived = Arrived::default();
    let servers = tokio::spawn(serve(engine.clone(), random.fork(), replaces, Arc::clone(&arrived)));

    let client = Client::builder("ws://server.test", Lines).make_before_break(replaces);
    let client = client.build(engine.clone()).unwrap();
    let mut events = client.subscribe_with(100_000, SubscriberPolicy::DropOldest);
    let lossy = client.subscribe_with(1, SubscriberPolicy::DropOldest);
    let mut receipts = Vec::new();
    let mut connects = Vec::new();
    if replaces {
        let _ = timeout(LONG, client.connect()).await.expect("connect settles");
        client.replace();
        sleep(Duration::from_millis(random.u64(0..2_000))).await;
    }
    for n in 0..random.usize(5..60) {
        match random.u8(0..16) {
            0..=2 => {
                let client = client.clone();
                connects.push(tokio::spawn(async move { client.connect().await.is_ok() }));
            }
            3 => {
                let client = client.clone();
                connects.push(tokio::spawn(async move { client.disconnect().await.generation > 0 }));
            }
            4..=7 => {
                let message = Outgoing::from(format!("{n}"));
                let class = random.u8(0..3);
                let message = match class {
                    0 => message,
                    1 => message.hold(Duration::from_secs(random.u64(1..60))),
                    _ => message.idempotent(Duration::from_secs(random.u64(1..60))),
                };
                if let Ok(receipt) = client.try_send(message) {
                    receipts.push((n, class, receipt));
                }
            }
            8 => client.reconnect(),
            9 => client.disconnect_system(),
            10 => client.probe(Duration::from_millis(random.u64(1..3000))),
            11 => client.abandon(client.state().generation),
            12 | 13 => client.replace(),
            _ => sleep(Duration::from_millis(random.u64(0..20_000))).await,
        }
        assert!(engine.live_connections() <= most, "more live sockets than allowed");
        if random.bool() {
            tokio::task::yield_now().await;
        }
    }

    // Who was told to call has called.
    sleep(Duration::from_millis(1)).await;
    // The user's last word. Everything settles, within the sum of all deadlines.
    timeout(LONG, client.disconnect()).await.expect("disconnect settles");
    let snapshot = client.state();
    assert!(!snapshot.wanted);
    for call in connects {
        timeout(LONG, call).await.expect("connect settles").unwrap();
    }
    let generation = client.state().generation;
    client.reconnect();
    sleep(LONG).await;
    assert_eq!(client.state().generation, generation, "the user's disconnect is the last word");
    assert_eq!((engine.live_connections(), engine.dialling()), (0, 0));
    assert!(engine.most_live_connections() <= most, "more live sockets than allowed");
    let generation = u64::max(generation, client.health().generation);

    let mut outcomes = HashMap::new();
    for (n, class, receipt) in receipts {
        let outcome = timeout(LONG, receipt).await.expect("every message has its outcome");
        outcomes.insert(n.to_string(), (class, outcome));
    }
    drop((client, lossy));
    let mut states = Vec::new();
    while let Some(event) = timeout(LONG, events.next()).await.expect("no task is left") {
        match event {
            ClientEvent::State(snapshot) => states.push((snapshot.generation, snapshot.state.name())),
            ClientEvent::Replaced { old, .. } => states.push((old, "Replaced")),
            ClientEvent::ReplacementFailed { generation, .. } => {
                states.push((generation, "ReplacementFailed"));
            }
            _ => {}
        }
    }
    servers.abort();
    judge_states(&states, generation);
    judge_messages(&arrived.lock().unwrap(), &outcomes);
    states.iter().filter(|(_, name)| *name == "Replaced").count()
}

const ENDS: [&str; 3] = ["Disconnected", "Replaced", "ReplacementFailed"];

/// Each attempt goes the one way round, and has exactly one end. One that took the place of another is heard of when
/// it did, or not at all but for its failure.
pub(crate) fn judge_states(states: &[(u64, &str)], attempts: u64) {
    for generation in 1..=attempts {
        let own: Vec<_> = states.iter().filter(|(of, _)| *of == generation).map(|(_, name)| *name).collect();
        let rank = |name: &str| {
            ["Connecting", "Authenticating", "Connected", "Disconnecting"]
                .iter()
                .chain(&ENDS)
                .position(|known| *known == name)
                .unwrap()
        };
        assert!(own == ["ReplacementFailed"] || own[0] == "Connecting" || own[0] == "Connected", "{own:?}");
        assert!(ENDS.contains(own.last().unwrap()), "no Disconnected: {own:?}");
        assert_eq!(own.iter().filter(|state| ENDS.contains(state)).count(), 1, "{own:?}");
        assert!(own.windows(2).all(|pair| rank(pair[0]) <= rank(pair[1])), "{own:?}");
        for name in ["Connecting", "Authenticating", "Connected", "Disconnected"] {
            assert!(own.iter().filter(|state| **state == name).count() <= 1, "{own:?}");
        }
    }
}

/// No message arrives twice unless it may, none that was refused arrives, and each connection keeps the order.
pub(crate) fn judge_messages(arrived: &[Vec<String>], outcomes: &HashMap<String, (u8, SendOutcome)>) {
    for connection in arrived {
        let numbers: Vec<u32> = connection.iter().filter_map(|text| text.parse().ok()).collect();
        assert!(numbers.is_sorted(), "out of order: {numbers:?}");
    }
    for (text, (class, outcome)) in outcomes {
        let times = arrived.iter().flatten().filter(|other| *other == text).count();
        match outcome {
            SendOutcome::NotSent(_) => assert_eq!(times, 0, "{text} was not sent and arrived"),
            _ if *class < 2 => assert!(times <= 1, "{text} arrived {times} times"),
            _ => {}
        }
    }
}

fn step(random: &mut Choices) -> Step {
    let step = match random.u8(0..8) {
        0 => Step::hang(),
        1 => Step::fail(EngineErrorKind::Connect),
        2 => Step::fail(EngineErrorKind::Resolve),
        _ => Step::accept(),
    };
    if random.bool() { step.after(Duration::from_millis(random.u64(0..16_000))) } else { step }
}

/// Servers of every temper, one for each connection.
async fn serve(engine: ScriptedEngine, mut random: Choices, calm: bool, arrived: Arrived) {
    loop {
        let mut server = Server::accept(&engine).await;
        let mut random = random.fork();
        let arrived = Arc::clone(&arrived);
        let own = {
            let mut arrived = arrived.lock().unwrap();
            arrived.push(Vec::new());
            arrived.len() - 1
        };
        tokio::spawn(async move {
            server.connection().set_answer_close(random.bool());
            if random.u8(0..4) > 0 {
                sleep(Duration::from_millis(random.u64(0..if calm { 500 } else { 11_000 }))).await;
                server.say("hello a").await;
            }
            for _ in 0..random.u8(0..40) {
                let patience = Duration::from_millis(random.u64(1..5_000));
                match timeout(patience, server.next()).await {
                    Ok(Some(Message::Text(text))) if text.starts_with('{') => {
                        if random.u8(0..4) > 0 {
                            server.say("hello a").await;
                        }
                    }
                    Ok(Some(Message::Text(text))) => arrived.lock().unwrap()[own].push(text.to_string()),
                    Ok(Some(_)) => {}
                    Ok(None) => return,
                    Err(_) => match random.u8(0..12) {
                        0 => server.say("error 40 401").await,
                        1 => return server.close(CloseCode::RESTART, "").await,
                        2 => return,
                        3 => server.say("garbage").await,
                        4..=8 => server.say("hello a").await,
                        _ => server.say("something").await,
                    },
                }
            }
            // From here on it reads no more, and stays.
            sleep(Duration::from_secs(600)).await;
        });
    }
}
