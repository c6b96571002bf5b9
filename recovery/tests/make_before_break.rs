//! Make before break with Everwire's own client: a scripted server, a scripted network, virtual time.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use everwire_client::{
    Client, ClientEvent, CloseCode, PingRequest, SendOutcome, Subscription,
    testing::{Line, Lines, Server},
};
use everwire_engine::{
    Handshake,
    testing::{ScriptedEngine, Step},
};
use everwire_netmon::{Hint, NetworkStatus};
use everwire_recovery::{Cause, ConnectionRecoveryHandler, Decision};
use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};
use tokio::{sync::mpsc, time::sleep};

const OLD: &str = "10.0.0.2";
const BETTER: &str = "10.0.9.9";

fn at(local: &str) -> Step {
    let mut handshake = Handshake::default();
    handshake.local_addr = Some(format!("{local}:4242").parse().unwrap());
    Step::accept_with(handshake)
}

async fn connected(replaces: bool, engine: &ScriptedEngine) -> (Client<Line>, Server, Subscription<Line>) {
    let client =
        Client::builder("ws://server.test", Lines).make_before_break(replaces).ping(PingRequest::Frame);
    let client = client.build(engine.clone()).unwrap();
    let (outcome, server) = tokio::join!(client.connect(), Server::accept_and_greet(engine, "a"));
    outcome.unwrap();
    let events = client.subscribe();
    (client, server, events)
}

fn network() -> (mpsc::UnboundedSender<NetworkStatus>, impl Stream<Item = NetworkStatus> + Send + Unpin) {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    (sender, stream::poll_fn(move |cx| receiver.poll_recv(cx)))
}

fn path(preferred: &str, all: &[&str]) -> NetworkStatus {
    NetworkStatus::online()
        .with_local_addr(preferred.parse().unwrap())
        .with_addresses(all.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<_>>())
        .with_hint(Hint::NetworkChanged)
}

/// Whether anything was said to be disconnected, and how many connections were replaced.
fn told(events: &mut Subscription<Line>) -> (bool, usize) {
    let all: Vec<_> = std::iter::from_fn(|| events.next().now_or_never().flatten()).collect();
    let gap = all.iter().any(|e| matches!(e, ClientEvent::State(s) if s.state.source().is_some()));
    (gap, all.iter().filter(|e| matches!(e, ClientEvent::Replaced { .. })).count())
}

/// §2a: a server that announces its restart is left before it goes; nobody sees a gap.
#[tokio::test(start_paused = true)]
async fn rule_2a_a_server_that_leaves_is_left_in_time() {
    let engine = ScriptedEngine::default();
    let (client, mut old, mut events) = connected(true, &engine).await;
    let recovery = ConnectionRecoveryHandler::builder(client.clone()).seed(7).spawn().unwrap();
    let mut decisions = recovery.decisions();
    old.say("leaving 10").await;
    let Some(Decision::ReplaceAfter { delay, cause: Cause::ServerLeaving, attempt: 1 }) =
        decisions.next().await
    else {
        panic!("no replacement is planned")
    };
    assert!(delay <= Duration::from_secs(5));
    let mut new = Server::accept_and_greet(&engine, "b").await;
    assert_eq!(old.close_code().await, Some(4002));
    assert_eq!(client.send("hello").await, SendOutcome::Flushed);
    assert_eq!(new.text().await, "hello");
    assert_eq!(told(&mut events), (false, 1));
    assert_eq!(client.state().generation, 2);
}

/// §2a: when 1012 comes while the successor is made, that one is the attempt: no second dial, no back-off.
#[tokio::test(start_paused = true)]
async fn rule_2a_a_close_with_notice_finds_the_successor_under_way() {
    let engine = ScriptedEngine::default();
    let (client, mut old, _events) = connected(true, &engine).await;
    let _recovery = ConnectionRecoveryHandler::builder(client.clone()).seed(7).spawn().unwrap();
    old.say("leaving 4").await;
    let mut new = Server::accept(&engine).await;
    old.close(CloseCode::RESTART, "").await;
    sleep(Duration::from_secs(1)).await;
    new.say("hello b").await;
    sleep(Duration::from_secs(20)).await;
    assert_eq!((client.state().state.name(), engine.attempts()), ("Connected", 2));
}

/// §2a: with it off, an announcement is an event and no more, and the close is judged by the table.
#[tokio::test(start_paused = true)]
async fn rule_2a_off_an_announcement_is_an_event_alone() {
    let engine = ScriptedEngine::default();
    let (client, mut old, mut events) = connected(false, &engine).await;
    let recovery = ConnectionRecoveryHandler::builder(client.clone()).seed(7).spawn().unwrap();
    let mut decisions = recovery.decisions();
    old.say("leaving 4").await;
    sleep(Duration::from_secs(20)).await;
    assert!(decisions.next().now_or_never().is_none());
    assert!(
        std::iter::from_fn(|| events.next().now_or_never().flatten())
            .any(|event| matches!(event, ClientEvent::ReconnectSuggested))
    );
    old.close(CloseCode::RESTART, "").await;
    let decision = decisions.next().await;
    assert!(matches!(decision, Some(Decision::ConnectAfter { cause: Cause::ServerRestarting, .. })));
}

/// §2a and §5: a better path is taken without a gap; once it is, the suggestion is gone.
#[tokio::test(start_paused = true)]
async fn rule_2a_a_better_path_is_taken_without_a_gap() {
    let engine = ScriptedEngine::new([at(OLD), at(BETTER)]);
    let (client, mut old, mut events) = connected(true, &engine).await;
    let (says, monitor) = network();
    let _recovery =
        ConnectionRecoveryHandler::builder(client.clone()).monitor(monitor).seed(7).spawn().unwrap();
    sleep(Duration::from_millis(1)).await;
    says.send(path(BETTER, &[BETTER, OLD])).unwrap();
    let _new = Server::accept_and_greet(&engine, "b").await;
    assert_eq!(old.close_code().await, Some(4002));
    sleep(Duration::from_millis(1)).await;
    assert_eq!(told(&mut events), (false, 1));
    assert_eq!(client.state().local_addr.map(|addr| addr.ip().to_string()).as_deref(), Some(BETTER));
    for _ in 0..10 {
        says.send(path(BETTER, &[BETTER, OLD])).unwrap();
        sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(engine.attempts(), 2);
}
