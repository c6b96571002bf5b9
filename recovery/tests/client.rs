//! Recovery of Everwire's own client, from the first attempt on: a scripted server, a scripted network, virtual time.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    error::Error,
    sync::{Arc, Mutex},
    time::Duration,
};

use everwire_client::{
    Attempt, Client, ClientBuilder, ClientEvent, CloseCode, ConnectRequest, PingRequest, RequestProvider,
    Subscription,
    testing::{Line, Lines, Server},
};
use everwire_engine::{
    EngineErrorKind, Handshake,
    testing::{ScriptedEngine, Step},
};
use everwire_netmon::{Hint, NetworkStatus};
use everwire_recovery::{
    Cause, ConnectionRecoveryHandler, Decision, EndpointPool, RecoveryStatus, Rng, StopReason,
};
use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

fn client(engine: &ScriptedEngine) -> Client<Line> {
    Client::builder("ws://server.test", Lines).ping(PingRequest::Frame).build(engine.clone()).unwrap()
}

fn network() -> (mpsc::UnboundedSender<NetworkStatus>, impl Stream<Item = NetworkStatus> + Send + Unpin) {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    (sender, stream::poll_fn(move |cx| receiver.poll_recv(cx)))
}

/// What the application was told of its path.
fn told(events: &mut Subscription<Line>) -> Vec<ClientEvent<Line>> {
    std::iter::from_fn(|| events.next().now_or_never().flatten())
        .filter(|event| matches!(event, ClientEvent::ReconnectSuggested | ClientEvent::ViabilityChanged(_)))
        .collect()
}

/// §3: the first attempt ever fails. With `retry_initial` (the default) it is tried again by the clock.
#[tokio::test(start_paused = true)]
async fn rule_3_a_first_attempt_that_fails_is_retried() {
    let engine = ScriptedEngine::new([Step::fail(EngineErrorKind::Connect)]);
    let client = client(&engine);
    let recovery = ConnectionRecoveryHandler::builder(client.clone()).seed(1).spawn().unwrap();
    assert!(client.connect().await.is_err(), "who asked is told how the attempt that they asked for ended");
    let _server = Server::accept_and_greet(&engine, "a").await;
    sleep(Duration::from_millis(1)).await;
    assert_eq!((engine.attempts(), client.state().state.name()), (2, "Connected"));
    assert_eq!(recovery.status(), RecoveryStatus::Idle);
}

/// §3: with `retry_initial` off it is not, and the stop is told; a connection that was there once is made again.
#[tokio::test(start_paused = true)]
async fn rule_3_without_retry_initial_a_first_attempt_that_fails_stops_aloud() {
    let engine = ScriptedEngine::new([Step::fail(EngineErrorKind::Connect)]);
    let client = client(&engine);
    let recovery =
        ConnectionRecoveryHandler::builder(client.clone()).retry_initial(false).seed(1).spawn().unwrap();
    let mut decisions = recovery.decisions();
    assert!(client.connect().await.is_err());
    sleep(Duration::from_secs(86_400)).await;
    assert_eq!(engine.attempts(), 1);
    let reason = StopReason::InitialAttemptFailed;
    let stop = decisions.next().now_or_never().flatten();
    assert!(matches!(stop, Some(Decision::Stop { reason: told, .. }) if told == reason), "{stop:?}");
    assert!(matches!(recovery.status(), RecoveryStatus::Stopped { reason: told, .. } if told == reason));

    let (outcome, server) = tokio::join!(client.connect(), Server::accept_and_greet(&engine, "a"));
    outcome.unwrap();
    drop(server);
    let _server = Server::accept_and_greet(&engine, "b").await;
    assert_eq!(engine.attempts(), 3);
}

/// §3: a connection that came and went between two looks of recovery was there once all the same: it is made again,
/// though `retry_initial` is off. So is that of a client that was connected before recovery began.
#[tokio::test(start_paused = true)]
async fn rule_3_without_retry_initial_a_connection_that_nobody_looked_at_counts() {
    for before in [false, true] {
        let engine = ScriptedEngine::default();
        let client = client(&engine);
        let recovery = || {
            let builder = ConnectionRecoveryHandler::builder(client.clone()).retry_initial(false);
            builder.seed(1).spawn().unwrap()
        };
        let mut recoveries = if before { vec![] } else { vec![recovery()] };
        let briefly = async {
            let mut server = Server::accept(&engine).await;
            sleep(Duration::from_millis(1)).await;
            // Both arrive at the same moment, so that a snapshot in between is seen by nobody.
            server.say("hello a").await;
            server.close(CloseCode::GOING_AWAY, "").await;
        };
        let (outcome, ()) = tokio::join!(client.connect(), briefly);
        outcome.unwrap();
        if before {
            recoveries.push(recovery());
        }
        let again = tokio::time::timeout(Duration::from_secs(60), Server::accept_and_greet(&engine, "b"));
        let _server = again.await.unwrap_or_else(|_| panic!("{:?}", recoveries[0].status()));
        assert_eq!(engine.attempts(), 2);
    }
}

/// §4: a server that accepts, greets and closes at once gets at most 4 connections in 10 s from a whole client.
#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "reads the paused clock to compare it")]
async fn rule_4_accept_then_close_gets_at_most_four_connections_in_ten_seconds() {
    for seed in 0..20 {
        let engine = ScriptedEngine::default();
        let client = client(&engine);
        let _recovery = ConnectionRecoveryHandler::builder(client.clone()).seed(seed).spawn().unwrap();
        let start = Instant::now();
        let asked = client.clone();
        tokio::spawn(async move { asked.connect().await });
        let mut accepted = Vec::new();
        while start.elapsed() < Duration::from_secs(60) {
            let mut server = Server::accept_and_greet(&engine, "a").await;
            accepted.push(Instant::now());
            server.close(CloseCode::GOING_AWAY, "").await;
        }
        assert!(accepted.len() > 4, "seed {seed}: it gave up: {accepted:?}");
        for five in accepted.windows(5) {
            assert!(five[4] - five[0] >= Duration::from_secs(10), "seed {seed}: five within 10 s");
        }
    }
}

/// §5: `reconnect suggested` and `viability changed` reach the application as events of its client.
#[tokio::test(start_paused = true)]
async fn rule_5_suggestion_and_viability_reach_the_application() {
    const OURS: &str = "10.0.0.2";
    const BETTER: &str = "10.0.9.9";
    let path = |preferred: &str| {
        NetworkStatus::online()
            .with_local_addr(preferred.parse().unwrap())
            .with_addresses([OURS, BETTER].map(|ip| ip.parse().unwrap()).to_vec())
            .with_hint(Hint::NetworkChanged)
    };
    let mut handshake = Handshake::default();
    handshake.local_addr = Some(format!("{OURS}:4242").parse().unwrap());
    let engine = ScriptedEngine::new([Step::accept_with(handshake)]);
    let client = client(&engine);
    let (says, monitor) = network();
    let _recovery = ConnectionRecoveryHandler::builder(client.clone()).monitor(monitor).spawn().unwrap();
    let (outcome, _server) = tokio::join!(client.connect(), Server::accept_and_greet(&engine, "a"));
    outcome.unwrap();
    let mut events = client.subscribe();
    let moment = || sleep(Duration::from_millis(1));
    moment().await;

    says.send(path(BETTER)).unwrap();
    moment().await;
    assert!(matches!(told(&mut events)[..], [ClientEvent::ReconnectSuggested]));
    says.send(NetworkStatus::offline().with_hint(Hint::NetworkChanged)).unwrap();
    moment().await;
    assert!(matches!(told(&mut events)[..], [ClientEvent::ViabilityChanged(false)]));
    says.send(path(OURS)).unwrap();
    moment().await;
    assert!(matches!(told(&mut events)[..], [ClientEvent::ViabilityChanged(true)]));
    says.send(path(OURS)).unwrap();
    moment().await;
    assert!(told(&mut events).is_empty(), "what has not changed is not told");
    assert_eq!((engine.attempts(), client.state().state.name()), (1, "Connected"));
}

/// A pool, and the endpoint of the attempt before.
type Rotation = (EndpointPool<&'static str>, Option<&'static str>);

/// A provider around a pool, as an application writes it.
#[derive(Clone)]
struct Pooled(Arc<Mutex<Rotation>>);

impl RequestProvider for Pooled {
    #[expect(clippy::disallowed_methods, reason = "reads the paused clock for the pool")]
    async fn request(&self, _: &Attempt) -> Result<ConnectRequest, Box<dyn Error + Send + Sync>> {
        let mut guard = self.0.lock().unwrap();
        let (pool, last) = &mut *guard;
        let now = Instant::now().into_std();
        if let Some(last) = last.take() {
            pool.failed(now, &last);
        }
        let endpoint = *last.insert(pool.pick(now));
        Ok(ConnectRequest::new(&format!("ws://{endpoint}.test"))?)
    }
}

/// §8.2: a pool is asked before each attempt of an outage: what failed rests, a redirection is followed until it
/// fails, a one-time endpoint is used once.
#[tokio::test(start_paused = true)]
async fn rule_8_2_a_pool_is_asked_before_each_attempt() {
    let failing = || Step::fail(EngineErrorKind::Connect);
    let engine = ScriptedEngine::new([failing(), failing(), failing(), failing(), failing()]);
    let pool = EndpointPool::new([("heavy", 1_000_000), ("light", 1)], Rng::seeded(1)).unwrap();
    let pooled = Pooled(Arc::new(Mutex::new((pool, None))));
    let client = ClientBuilder::with_requests(pooled.clone(), Lines)
        .ping(PingRequest::Frame)
        .build(engine.clone())
        .unwrap();
    let recovery = ConnectionRecoveryHandler::builder(client.clone()).seed(1).spawn().unwrap();
    let mut decisions = recovery.decisions();
    let fails = async |decisions: &mut (dyn Stream<Item = Decision> + Send + Unpin)| loop {
        if let Some(Decision::ConnectAfter { cause: Cause::DialFailed, .. }) = decisions.next().await {
            return;
        }
    };
    assert!(client.connect().await.is_err());
    fails(&mut decisions).await;
    fails(&mut decisions).await; // the light one, since the heavy one rests
    pooled.0.lock().unwrap().0.push_one_time("ticket");
    fails(&mut decisions).await;
    pooled.0.lock().unwrap().0.redirect("elsewhere", None);
    fails(&mut decisions).await;
    // The redirection failed; of the two that rest, the first one's rest ends first.
    fails(&mut decisions).await;
    let hosts: Vec<_> =
        engine.requests().iter().map(|request| request.endpoint().host().to_owned()).collect();
    assert_eq!(hosts, ["heavy.test", "light.test", "ticket.test", "elsewhere.test", "heavy.test"]);
}

/// §8.5: the network, the socket and what was missed are three facts, each with a word of its own: a socket that lives
/// on says nothing of the network, and one that is back says how long there was none.
#[tokio::test(start_paused = true)]
async fn rule_8_5_network_socket_and_what_was_missed_are_told_apart() {
    let engine = ScriptedEngine::default();
    let (status, monitor) = network();
    let client = client(&engine);
    let _recovery =
        ConnectionRecoveryHandler::builder(client.clone()).monitor(monitor).seed(1).spawn().unwrap();
    let (_, mut server) = tokio::join!(client.connect(), Server::accept_and_greet(&engine, "a"));
    let mut events = client.subscribe();
    status.send(NetworkStatus::offline()).unwrap();
    server.say("still here").await;
    sleep(Duration::from_secs(1)).await;
    drop(server);
    sleep(Duration::from_secs(1)).await;
    status.send(NetworkStatus::online()).unwrap();
    let _server = Server::accept_and_greet(&engine, "b").await;
    sleep(Duration::from_secs(1)).await;
    let told: Vec<_> = std::iter::from_fn(|| events.next().now_or_never().flatten())
        .filter_map(|event| match event {
            ClientEvent::ViabilityChanged(viable) => Some(format!("network {viable}")),
            ClientEvent::State(snapshot) => Some(format!("socket {}", snapshot.state.name())),
            ClientEvent::Reconnected { gap, .. } => Some(format!("missed {}", gap.as_secs())),
            _ => None,
        })
        .collect();
    // Without a connection there is nothing to judge the path by; whether there is a network is the monitor's to say.
    let mut expected = vec!["network false".to_owned()];
    for socket in ["Disconnected", "Connecting", "Authenticating", "Connected"] {
        expected.push(format!("socket {socket}"));
    }
    expected.extend(["missed 1".to_owned(), "network true".to_owned()]);
    assert_eq!(told, expected);
}
