//! Random commands against random servers, thousands of seeds on virtual time: the invariants hold whatever
//! happens. A failure names its seed; `EVERWIRE_SEED=n cargo test --test invariants` runs that one alone.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::HashMap,
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

const SEEDS: u64 = 2_000;
const LONG: Duration = Duration::from_secs(120);

#[test]
fn invariants_4_to_9_hold_for_thousands_of_seeds() {
    let seeds = match std::env::var("EVERWIRE_SEED") {
        Ok(seed) => {
            let seed: u64 = seed.parse().unwrap();
            seed..seed + 1
        }
        Err(_) => 0..SEEDS,
    };
    let (mut replaced, all) = (0, seeds.end - seeds.start == SEEDS);
    for seed in seeds {
        let run = std::panic::catch_unwind(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            runtime.block_on(story(seed))
        });
        let Ok(count) = run else { panic!("the invariants do not hold: EVERWIRE_SEED={seed} replays it") };
        replaced += count;
    }
    assert!(!all || replaced > 100, "{replaced} replacements prove nothing");
}

/// What arrived at any server, by connection.
type Arrived = Arc<Mutex<Vec<Vec<String>>>>;

/// Says how many connections were replaced.
async fn story(seed: u64) -> usize {
    let mut random = fastrand::Rng::with_seed(seed);
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
            11 => client.abandon(),
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
                states.push((generation, "ReplacementFailed"))
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
fn judge_states(states: &[(u64, &str)], attempts: u64) {
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
fn judge_messages(arrived: &[Vec<String>], outcomes: &HashMap<String, (u8, SendOutcome)>) {
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

fn step(random: &mut fastrand::Rng) -> Step {
    let step = match random.u8(0..8) {
        0 => Step::hang(),
        1 => Step::fail(EngineErrorKind::Connect),
        2 => Step::fail(EngineErrorKind::Resolve),
        _ => Step::accept(),
    };
    if random.bool() { step.after(Duration::from_millis(random.u64(0..16_000))) } else { step }
}

/// Servers of every temper, one for each connection.
async fn serve(engine: ScriptedEngine, mut random: fastrand::Rng, calm: bool, arrived: Arrived) {
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

/// The judges can condemn.
#[test]
#[should_panic(expected = "arrived")]
fn a_refused_message_that_arrives_is_condemned() {
    let refused = SendOutcome::NotSent(everwire_client::NotSentReason::Expired);
    judge_messages(&[vec!["7".into()]], &HashMap::from([("7".into(), (0, refused))]));
}

#[test]
#[should_panic(expected = "Disconnected")]
fn an_attempt_without_an_end_is_condemned() {
    judge_states(&[(1, "Connecting"), (1, "Authenticating")], 1);
}
