//! Everwire's own client under recovery, over a scripted engine, on paused time.

#![allow(clippy::unwrap_used, reason = "a test may panic, and its helpers are part of it")]
#![allow(clippy::disallowed_methods, reason = "reads the paused clock to compare it")]

use std::time::Duration;

use everwire_client::{Client, CloseCode, ConnectionState, DisconnectionSource, RawDecoder, RawEvent};
use everwire_engine::{
    Handshake,
    testing::{DuplexConnection, ScriptedEngine, Step},
};
use everwire_netmon::{Hint, ManualMonitor, NetworkStatus};
use everwire_recovery::{
    Cause, ConnectionRecoveryHandler, Decision, RecoveryBuilder, RecoveryStatus, StopReason,
};
use futures_util::StreamExt;
use tokio::time::{Instant, sleep, timeout};

const HOME: &str = "10.0.0.2:4242";

fn engine() -> ScriptedEngine {
    let mut handshake = Handshake::default();
    handshake.local_addr = Some(HOME.parse().unwrap());
    ScriptedEngine::default().otherwise(Step::accept_with(handshake))
}

async fn connected(engine: &ScriptedEngine) -> (Client<RawEvent>, DuplexConnection) {
    let client =
        Client::builder("ws://server.test/live", RawDecoder).protocol_pings().build(engine.clone()).unwrap();
    let (outcome, server) = tokio::join!(client.connect(), engine.next_connection());
    outcome.unwrap();
    (client, server)
}

fn recovery(client: &Client<RawEvent>) -> RecoveryBuilder<Client<RawEvent>> {
    ConnectionRecoveryHandler::builder(client.clone()).seed(1)
}

async fn until_connected(client: &Client<RawEvent>, generation: u64) {
    let mut snapshots = client.snapshots();
    let back = async {
        while let Some(snapshot) = snapshots.next().await {
            if snapshot.generation == generation && snapshot.state.is_connected() {
                return;
            }
        }
        panic!("the client ended");
    };
    timeout(Duration::from_secs(60), back).await.expect("the client does not come back");
}

/// §3, §4: the main way round.
#[tokio::test(start_paused = true)]
async fn rule_3_a_client_whose_server_closes_is_back_within_two_seconds() {
    let engine = engine();
    let (client, mut server) = connected(&engine).await;
    let handler = recovery(&client).spawn().unwrap();
    let mut decisions = handler.decisions();
    sleep(Duration::from_secs(20)).await;

    let lost = Instant::now();
    server.close(CloseCode::INTERNAL_ERROR, "").await;
    until_connected(&client, 2).await;
    assert!(lost.elapsed() <= Duration::from_millis(2_010), "{:?}", lost.elapsed());
    assert!(matches!(
        decisions.next().await,
        Some(Decision::ConnectAfter { cause: Cause::ServerClosed, attempt: 1, .. })
    ));
    assert_eq!(engine.most_live_connections(), 1);
}

/// §2: a user's disconnect during back-off must cancel the retry.
#[tokio::test(start_paused = true)]
async fn rule_2_a_users_disconnect_during_back_off_cancels_the_retry() {
    let engine = engine();
    let (client, mut server) = connected(&engine).await;
    let handler = recovery(&client).spawn().unwrap();
    server.close(CloseCode::RESTART, "").await;
    sleep(Duration::from_secs(1)).await;
    assert!(matches!(handler.status(), RecoveryStatus::Waiting { .. }), "{:?}", handler.status());
    client.disconnect().await;
    sleep(Duration::from_secs(3_600)).await;
    assert_eq!(engine.attempts(), 1);
    assert!(matches!(handler.status(), RecoveryStatus::Stopped { reason: StopReason::UserDisconnected, .. }));
}

/// §5: path loss noticed within 300 ms where the system tells.
#[tokio::test(start_paused = true)]
async fn rule_5_a_connection_whose_address_is_gone_is_replaced_at_once() {
    let engine = engine();
    let (client, mut server) = connected(&engine).await;
    // A path that is gone carries no answer to a close frame either.
    server.set_answer_close(false);
    let host = ManualMonitor::new(NetworkStatus::online());
    let _handler = recovery(&client).monitor(host.monitor()).spawn().unwrap();
    sleep(Duration::from_secs(20)).await;

    let gone = Instant::now();
    let elsewhere = "10.0.9.9".parse().unwrap();
    let status = NetworkStatus::online().with_local_addr(elsewhere).with_addresses(vec![elsewhere]);
    host.set(status.with_hint(Hint::NetworkChanged));
    until_connected(&client, 2).await;
    assert!(gone.elapsed() <= Duration::from_millis(300), "{:?}", gone.elapsed());
}

/// §5: a probe that nobody answers.
#[tokio::test(start_paused = true)]
async fn rule_5_a_doubt_is_settled_within_three_seconds() {
    let engine = engine();
    let (client, _server) = connected(&engine).await;
    let host = ManualMonitor::new(NetworkStatus::online());
    let _handler = recovery(&client).monitor(host.monitor()).spawn().unwrap();
    sleep(Duration::from_secs(20)).await;

    let asked = Instant::now();
    host.set(NetworkStatus::online().with_hint(Hint::NetworkChanged));
    let mut snapshots = client.snapshots();
    loop {
        let snapshot = snapshots.next().await.unwrap();
        if let ConnectionState::Disconnecting(source) = snapshot.state {
            assert!(matches!(source, DisconnectionSource::NoPongReceived), "{source}");
            break;
        }
    }
    assert!(asked.elapsed() <= Duration::from_millis(3_010), "{:?}", asked.elapsed());
    until_connected(&client, 2).await;
}

/// Recovery keeps no client alive that its application has dropped.
#[tokio::test(start_paused = true)]
async fn the_last_handle_of_the_application_ends_client_and_recovery() {
    let engine = engine();
    let (client, _server) = connected(&engine).await;
    let handler = recovery(&client).spawn().unwrap();
    let decisions = handler.decisions();
    drop(client);
    let all: Vec<_> = timeout(Duration::from_secs(60), decisions.collect()).await.expect("recovery ends");
    assert!(matches!(all[..], [.., Decision::Stop { .. }]), "{all:?}");
    assert_eq!(engine.attempts(), 1);
    assert_eq!(engine.live_connections(), 0);
}
