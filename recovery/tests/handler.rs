//! The handler over a scripted client, on paused time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use everwire_client::{ConnectionState, DisconnectionSource, HealthCheckInfo, ServerReason, Snapshot};
use everwire_netmon::{Hint, Lifecycle, NetworkStatus};
use everwire_recovery::{
    Cause, ConnectionRecoveryHandler, Decision, Exponential, MaxAttempts, Notice, RecoverableClient,
    RecoveryOptions, RecoveryStatus, StopReason,
};
use futures_util::{FutureExt, Stream, StreamExt, stream};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout},
};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Asked {
    Reconnect,
    Disconnect,
    Abandon(u64),
    Probe(Duration),
    Suggested(bool),
    Viable(bool),
}

/// A client that does nothing by itself and writes down what it is asked.
struct Scripted {
    snapshots: watch::Receiver<Snapshot>,
    asked: mpsc::UnboundedSender<Asked>,
}

impl Scripted {
    fn note(&self, asked: Asked) {
        self.asked.send(asked).ok();
    }
}

impl RecoverableClient for Scripted {
    fn snapshots(&self) -> impl Stream<Item = Snapshot> + Send + Unpin + 'static {
        let mut receiver = self.snapshots.clone();
        receiver.mark_changed();
        Box::pin(stream::unfold(receiver, async |mut receiver| {
            receiver.changed().await.ok()?;
            let snapshot = receiver.borrow_and_update().clone();
            Some((snapshot, receiver))
        }))
    }

    fn reconnect(&self) {
        self.note(Asked::Reconnect);
    }

    fn disconnect_system(&self) {
        self.note(Asked::Disconnect);
    }

    fn abandon(&self, generation: u64) {
        self.note(Asked::Abandon(generation));
    }

    fn probe(&self, deadline: Duration) {
        self.note(Asked::Probe(deadline));
    }

    fn reconnect_suggested(&self, suggested: bool) {
        self.note(Asked::Suggested(suggested));
    }

    fn viability_changed(&self, viable: bool) {
        self.note(Asked::Viable(viable));
    }
}

struct Script {
    snapshots: watch::Sender<Snapshot>,
    asked: mpsc::UnboundedReceiver<Asked>,
    generation: u64,
}

impl Script {
    fn new() -> (Scripted, Self) {
        let (snapshots, seen) = watch::channel(Snapshot::initialized());
        let (sender, asked) = mpsc::unbounded_channel();
        (Scripted { snapshots: seen, asked: sender }, Self { snapshots, asked, generation: 0 })
    }

    async fn show(&self, state: ConnectionState, wanted: bool) {
        let snapshot =
            Snapshot::new(state, self.generation, wanted).with_local_addr(([10, 0, 0, 2], 4242).into());
        self.snapshots.send_replace(snapshot);
        settle().await;
    }

    async fn connects(&mut self) {
        self.generation += 1;
        self.show(ConnectionState::Connecting, true).await;
        self.show(ConnectionState::Connected(HealthCheckInfo::default()), true).await;
    }

    async fn loses(&self) {
        let lost = DisconnectionSource::from(ServerReason::closed(None));
        self.show(ConnectionState::Disconnected(lost), true).await;
    }

    fn asked(&mut self) -> Vec<Asked> {
        std::iter::from_fn(|| self.asked.try_recv().ok()).collect()
    }
}

/// Lets the handler's task run until it waits again; no time passes.
async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

fn manual() -> (mpsc::UnboundedSender<NetworkStatus>, impl Stream<Item = NetworkStatus> + Send + Unpin) {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    (sender, stream::poll_fn(move |cx| receiver.poll_recv(cx)))
}

#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "reads the paused clock to compare it")]
async fn rule_4_a_lost_connection_is_made_again_by_the_clock() {
    let (client, mut script) = Script::new();
    let handler = ConnectionRecoveryHandler::builder(client).seed(7).spawn().unwrap();
    script.connects().await;
    script.loses().await;
    let mut decisions = handler.decisions();
    let Some(Decision::ConnectAfter { delay, cause: Cause::ConnectionLost, attempt: 1 }) =
        decisions.next().await
    else {
        panic!("the first subscriber missed the start")
    };
    let RecoveryStatus::Waiting { until: Some(until), .. } = handler.status() else { panic!() };
    assert_eq!(script.asked(), []);

    let before = Instant::now();
    assert!(matches!(decisions.next().await, Some(Decision::Connect { attempt: 1, .. })));
    assert_eq!(before.elapsed().as_millis(), delay.as_millis());
    assert_eq!(Instant::now().into_std().duration_since(until).as_millis(), 0);
    assert_eq!(script.asked(), [Asked::Reconnect]);
    assert_eq!(handler.status(), RecoveryStatus::Connecting { attempt: 1 });
}

#[tokio::test(start_paused = true)]
async fn rule_2_a_users_disconnect_cancels_the_timer() {
    let (client, mut script) = Script::new();
    let handler = ConnectionRecoveryHandler::new(client);
    script.connects().await;
    script.loses().await;
    let user = DisconnectionSource::UserInitiated;
    script.show(ConnectionState::Disconnected(user), false).await;
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(script.asked(), []);
    assert!(matches!(handler.status(), RecoveryStatus::Stopped { reason: StopReason::UserDisconnected, .. }));
}

#[tokio::test(start_paused = true)]
async fn rule_5_hints_become_requests() {
    let (client, mut script) = Script::new();
    let (network, monitor) = manual();
    let lifecycle = stream::iter([Lifecycle::Foreground]);
    let handler = ConnectionRecoveryHandler::builder(client)
        .monitor(monitor)
        .lifecycle(lifecycle)
        .options(RecoveryOptions::default().probe_deadline(Duration::from_secs(2)))
        .spawn()
        .unwrap();
    let mut notices = handler.notices();
    script.connects().await;
    network.send(NetworkStatus::offline().with_hint(Hint::NetworkChanged)).unwrap();
    settle().await;
    assert_eq!(script.asked(), [Asked::Probe(Duration::from_secs(2)), Asked::Viable(false)]);
    assert_eq!(notices.next().await, Some(Notice::ViabilityChanged(false)));

    let elsewhere = "10.0.9.9".parse().unwrap();
    let moved = NetworkStatus::online().with_local_addr(elsewhere).with_hint(Hint::NetworkChanged);
    network.send(moved.clone()).unwrap();
    settle().await;
    assert_eq!(script.asked(), [Asked::Suggested(true), Asked::Viable(true)]);

    network.send(moved.with_addresses(vec![elsewhere])).unwrap();
    settle().await;
    assert_eq!(script.asked(), [Asked::Abandon(1), Asked::Viable(false)]);
    let closed = ConnectionState::Disconnected(DisconnectionSource::SystemInitiated);
    script.show(closed, true).await;
    assert_eq!(script.asked(), [Asked::Reconnect], "at once");
}

#[tokio::test(start_paused = true)]
async fn rule_5_background_disconnects_politely() {
    let (client, mut script) = Script::new();
    let behind = stream::iter([Lifecycle::Background]);
    let _handler = ConnectionRecoveryHandler::builder(client).lifecycle(behind).spawn().unwrap();
    script.connects().await;
    sleep(Duration::from_secs(11)).await;
    assert_eq!(script.asked(), [Asked::Disconnect]);
}

#[tokio::test(start_paused = true)]
async fn retry_now_does_not_wait_for_the_timer() {
    let (client, mut script) = Script::new();
    let options = RecoveryOptions::default().first_delay(Duration::from_secs(600));
    let handler = ConnectionRecoveryHandler::builder(client).options(options).spawn().unwrap();
    script.connects().await;
    script.loses().await;
    handler.clone().retry_now();
    settle().await;
    assert_eq!(script.asked(), [Asked::Reconnect]);
    handler.retry_now();
    handler.retry_now();
    settle().await;
    assert_eq!(script.asked(), [], "one attempt at a time");
}

/// No task outlives its handle.
#[tokio::test(start_paused = true)]
async fn the_task_ends_with_the_last_handle() {
    let (client, mut script) = Script::new();
    let handler = ConnectionRecoveryHandler::new(client);
    let decisions = handler.decisions();
    let other = handler.clone();
    drop(handler);
    script.connects().await;
    script.loses().await;
    drop(other);
    settle().await;
    assert!(script.snapshots.is_closed(), "the task still holds the client");
    let rest: Vec<_> = timeout(Duration::from_secs(1), decisions.collect()).await.expect("the stream ends");
    assert_eq!(rest.len(), 1, "what was decided before is still read: {rest:?}");
    sleep(Duration::from_secs(60)).await;
    assert_eq!(script.asked(), []);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_gone_ends_recovery_aloud() {
    let (client, script) = Script::new();
    let handler = ConnectionRecoveryHandler::new(client);
    let decisions = handler.decisions();
    drop(script);
    let all: Vec<_> = decisions.collect().await;
    assert!(matches!(all[..], [Decision::Stop { reason: StopReason::ClientGone, .. }]), "{all:?}");
    assert!(matches!(handler.status(), RecoveryStatus::Stopped { reason: StopReason::ClientGone, .. }));
}

#[tokio::test(start_paused = true)]
async fn a_monitor_that_ends_is_no_loss_of_the_network() {
    let (client, mut script) = Script::new();
    let _handler =
        ConnectionRecoveryHandler::builder(client).monitor(stream::empty()).seed(1).spawn().unwrap();
    script.connects().await;
    script.loses().await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(script.asked(), [Asked::Reconnect]);
}

#[tokio::test(start_paused = true)]
async fn policies_are_added_to_those_of_the_start() {
    let (client, mut script) = Script::new();
    let handler = ConnectionRecoveryHandler::builder(client).policy(MaxAttempts::new(0)).spawn().unwrap();
    script.connects().await;
    script.loses().await;
    assert!(matches!(
        handler.status(),
        RecoveryStatus::Stopped { reason: StopReason::AttemptsExhausted, .. }
    ));
}

#[tokio::test]
async fn what_cannot_work_is_refused_when_built_by_name() {
    let builder = || ConnectionRecoveryHandler::builder(Script::new().0);
    let zero = Duration::ZERO;
    let error = builder().strategy(Exponential::full().floor(zero)).spawn().unwrap_err();
    assert_eq!(error.field(), "floor");
    assert!(error.to_string().contains("`floor`"), "{error}");
    let error = builder().options(RecoveryOptions::default().stable_after(zero)).spawn().unwrap_err();
    assert_eq!(error.field(), "stable_after");
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_delays() {
    async fn delays(seed: u64) -> Vec<Duration> {
        let (client, mut script) = Script::new();
        let handler = ConnectionRecoveryHandler::builder(client).seed(seed).spawn().unwrap();
        let mut decisions = handler.decisions();
        let mut delays = Vec::new();
        for _ in 0..6 {
            script.generation += 1;
            script.loses().await;
            delays.push(decisions.next().await.unwrap().delay().unwrap());
            decisions.next().await.unwrap();
        }
        assert!(decisions.next().now_or_never().is_none());
        delays
    }
    assert_eq!(delays(3).await, delays(3).await);
    assert_ne!(delays(3).await, delays(4).await);
}

/// A stream that always has the same item, and how often it was asked. It falls silent in the end, so that a driver
/// that reads on and on fails a test instead of hanging it.
fn always<T: Clone + Send + Unpin + 'static>(
    item: T,
) -> (Arc<AtomicUsize>, impl Stream<Item = T> + Send + Unpin) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&asked);
    let stream = stream::poll_fn(move |_| match counts.fetch_add(1, Ordering::Relaxed) {
        PATIENCE.. => Poll::Pending,
        _ => Poll::Ready(Some(item.clone())),
    });
    (asked, stream)
}

const PATIENCE: usize = 1_000_000;

#[tokio::test(start_paused = true)]
async fn a_monitor_that_always_has_an_item_leaves_the_thread_to_others() {
    let (client, _script) = Script::new();
    let (asked, monitor) = always(NetworkStatus::online());
    let _handler = ConnectionRecoveryHandler::builder(client).monitor(monitor).spawn().unwrap();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    let asked = asked.load(Ordering::Relaxed);
    assert!((1..10_000).contains(&asked), "asked {asked} times in ten turns");
}

#[tokio::test(start_paused = true)]
async fn hints_that_always_have_an_item_keep_neither_each_other_nor_the_clock_from_their_turn() {
    let (client, mut script) = Script::new();
    let (online, monitor) = always(NetworkStatus::online());
    let (places, lifecycle) = always(Lifecycle::Foreground);
    let _handler = ConnectionRecoveryHandler::builder(client)
        .monitor(monitor)
        .lifecycle(lifecycle)
        .seed(7)
        .spawn()
        .unwrap();
    script.connects().await;
    script.loses().await;
    tokio::time::advance(Duration::from_secs(3600)).await;
    settle().await;
    assert_eq!(script.asked(), [Asked::Reconnect]);
    let (online, places) = (online.load(Ordering::Relaxed), places.load(Ordering::Relaxed));
    assert!(online.abs_diff(places) <= 2 && online < PATIENCE, "asked {online} and {places} times");
}
