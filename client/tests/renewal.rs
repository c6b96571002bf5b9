//! Credentials that are renewed while their connection lives, on virtual time.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test reads its virtual clock and may panic"
)]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use everwire_client::{
    Attempt, Client, ClientBuilder, ClientEvent, CredentialRenewal, Credentials, EngineErrorKind,
    HandshakeHandle, Message, SendOutcome, credentials_fn,
    testing::{Line, Lines, Server},
};
use everwire_engine::testing::{ScriptedEngine, Step};
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::{Instant, sleep};

const LIFE: Duration = Duration::from_secs(1000);
/// How long before the end it is renewed at the latest, and how much earlier at most.
const MARGIN: Duration = Duration::from_secs(30);
const SPREAD: Duration = Duration::from_secs(100);

/// What the provider was asked, in short: generation, whether to renew, and for which credentials.
type Asked = Arc<Mutex<Vec<(u64, bool, Option<String>)>>>;

/// Tokens `t1`, `t2` and so on, each good for so long.
fn tokens(life: Duration, asked: &Asked) -> impl everwire_client::CredentialProvider + use<> {
    let asked = Arc::clone(asked);
    credentials_fn(move |attempt: Attempt| {
        let mut asked = asked.lock().unwrap();
        let before = attempt.credentials.map(|credentials| credentials.secret().to_owned());
        asked.push((attempt.generation, attempt.renewing, before));
        let token = Credentials::new(format!("t{}", asked.len())).expiring_in(life);
        async move { Ok(token) }
    })
}

fn builder() -> ClientBuilder<Lines> {
    Client::builder("ws://server.test/live", Lines)
}

async fn connected(builder: ClientBuilder<Lines>, engine: &ScriptedEngine) -> (Client<Line>, Server) {
    let client = builder.build(engine.clone()).unwrap();
    let (outcome, server) = tokio::join!(client.connect(), Server::accept_and_greet(engine, "a"));
    outcome.unwrap();
    (client, server)
}

/// A server that answers health checks, and says when anything else came.
async fn next_text(server: &mut Server) -> String {
    loop {
        let text = server.text().await;
        if !text.contains("health.check") {
            return text;
        }
        server.say("hello a").await;
    }
}

/// As above until so much time has passed.
async fn quiet(server: &mut Server, time: Duration) {
    assert!(tokio::time::timeout(time, next_text(server)).await.is_err(), "something came");
}

async fn refresh(handle: HandshakeHandle) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    assert!(handle.attempt().renewing);
    handle.send(format!("refresh {}", handle.credentials().unwrap().secret()));
    Ok(())
}

/// §8.1: before they expire, over the same connection, again and again, and before what is queued.
#[tokio::test(start_paused = true)]
async fn rule_8_1_credentials_are_renewed_in_band_before_they_expire() {
    let engine = ScriptedEngine::default();
    let asked = Asked::default();
    let builder = builder().credentials(tokens(LIFE, &asked)).on_credentials_renewed(refresh);
    let (client, mut server) = connected(builder, &engine).await;
    for n in 2..6 {
        let since = Instant::now();
        assert_eq!(next_text(&mut server).await, format!("refresh t{n}"));
        let after = since.elapsed();
        assert!(after + MARGIN <= LIFE && after + MARGIN + SPREAD >= LIFE, "{after:?}");
    }
    assert_eq!(engine.attempts(), 1);
    assert_eq!(client.health().renewals, 4);
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked[0], (1, false, None));
    assert_eq!(asked[1], (1, true, Some("t1".into())));
    assert_eq!(asked[4], (1, true, Some("t4".into())), "it is told which ones expire");
}

/// A protocol that answers a renewal: the hook reads the answer, and the message is an event all the same.
#[tokio::test(start_paused = true)]
async fn rule_8_1_the_hook_reads_the_servers_answer_and_a_refusal_is_tried_again() {
    let engine = ScriptedEngine::default();
    let builder =
        builder().credentials(tokens(LIFE, &Asked::default())).on_credentials_renewed(|handle| async move {
            handle.send("refresh");
            let answer = handle.receive().await.expect("the connection lives");
            if answer.as_text() == Some("ok") { Ok(()) } else { Err("not ok".into()) }
        });
    let (client, mut server) = connected(builder, &engine).await;
    let events = Arc::new(AtomicU32::new(0));
    let mut subscription = client.subscribe();
    let count = Arc::clone(&events);
    let reader = tokio::spawn(async move {
        while let Some(event) = futures_util::StreamExt::next(&mut subscription).await {
            count.fetch_add(u32::from(matches!(event.into_event(), Some(Line::Text(_)))), Relaxed);
        }
    });
    assert_eq!(next_text(&mut server).await, "refresh");
    server.say("no").await;
    let refused = Instant::now();
    assert_eq!(next_text(&mut server).await, "refresh");
    assert!(refused.elapsed() <= Duration::from_secs(1), "{:?}", refused.elapsed());
    server.say("ok").await;
    quiet(&mut server, LIFE / 2).await;
    let health = client.health();
    assert_eq!((health.renewals, health.failed_renewals), (1, 1));
    assert_eq!(events.load(Relaxed), 2);
    reader.abort();
}

/// §8.1: whatever the provider and the hook do, a healthy connection stays; and it ends with their expiry.
#[tokio::test(start_paused = true)]
async fn rule_8_1_a_renewal_that_fails_never_ends_the_connection_and_is_tried_until_expiry() {
    let engine = ScriptedEngine::default();
    let calls = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&calls);
    let provider = credentials_fn(move |attempt: Attempt| {
        let call = count.fetch_add(1, Relaxed);
        async move {
            match (attempt.renewing, call % 4) {
                (true, 0) => Err("no token server".into()),
                (true, 1) => panic!("as the test wants"),
                (true, 2) => std::future::pending().await,
                // Also when it is to renew: the ones that expire.
                _ => Ok(Credentials::new("t").expiring_in(LIFE)),
            }
        }
    });
    let builder = builder().credentials(provider).on_credentials_renewed(refresh);
    let (client, mut server) = connected(builder, &engine).await;
    quiet(&mut server, LIFE).await;
    let at_expiry = calls.load(Relaxed);
    assert!((4..40).contains(&at_expiry), "{at_expiry}");
    quiet(&mut server, 3 * LIFE).await;
    assert_eq!(calls.load(Relaxed), at_expiry, "what has expired is the server's to refuse");
    assert_eq!(client.state().state.name(), "Connected");
    assert_eq!(engine.attempts(), 1);
    assert_eq!(client.health().failed_renewals, u64::from(at_expiry) - 1);
}

/// A hook that panics, at once or later, or never returns.
#[tokio::test(start_paused = true)]
async fn rule_8_1_a_hook_that_panics_or_hangs_is_contained_and_called_again() {
    let engine = ScriptedEngine::default();
    let calls = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&calls);
    let builder =
        builder().credentials(tokens(LIFE, &Asked::default())).on_credentials_renewed(move |handle| {
            let call = count.fetch_add(1, Relaxed);
            assert_ne!(call, 0, "as the test wants");
            async move {
                assert_ne!(call, 1, "as the test wants");
                if call == 2 {
                    std::future::pending::<()>().await;
                }
                refresh(handle).await
            }
        });
    let (client, mut server) = connected(builder, &engine).await;
    assert!(next_text(&mut server).await.starts_with("refresh t"));
    assert_eq!(calls.load(Relaxed), 4);
    assert_eq!(client.state().state.name(), "Connected");
    assert_eq!(client.health().failed_renewals, 3);
}

/// Without a hook: kept for the next attempt, which does not ask once more.
#[tokio::test(start_paused = true)]
async fn rule_8_1_without_a_hook_the_new_ones_are_for_the_next_attempt() {
    let engine = ScriptedEngine::default();
    let asked = Asked::default();
    let builder =
        builder().credentials(tokens(LIFE, &asked)).on_connection_established(|handle| async move {
            handle.send(format!("auth {}", handle.credentials().unwrap().secret()));
            Ok(())
        });
    let (client, mut server) = connected(builder, &engine).await;
    assert_eq!(next_text(&mut server).await, "auth t1");
    quiet(&mut server, LIFE).await;
    assert_eq!(asked.lock().unwrap().len(), 2);
    drop(server);
    sleep(Duration::from_millis(1)).await;
    let (_, mut server) = tokio::join!(client.connect(), Server::accept_and_greet(&engine, "b"));
    assert_eq!(next_text(&mut server).await, "auth t2");
    assert_eq!(asked.lock().unwrap().len(), 2);
    // They are spent now.
    drop(server);
    sleep(Duration::from_millis(1)).await;
    let (_, mut server) = tokio::join!(client.connect(), Server::accept_and_greet(&engine, "c"));
    assert_eq!(next_text(&mut server).await, "auth t3");
}

/// For protocols that cannot renew: the connection is closed for recovery to make another.
#[tokio::test(start_paused = true)]
async fn rule_8_1_with_reconnect_the_connection_is_closed_for_recovery_before_they_expire() {
    let engine = ScriptedEngine::default();
    let asked = Asked::default();
    let builder =
        builder().credentials(tokens(LIFE, &asked)).credential_renewal(CredentialRenewal::Reconnect);
    let (client, mut server) = connected(builder, &engine).await;
    let start = Instant::now();
    let closed = async {
        loop {
            match server.next().await {
                Some(Message::Close(frame)) => break frame.unwrap().code.get(),
                Some(_) => server.say("hello a").await,
                None => panic!("no close frame"),
            }
        }
    };
    assert_eq!(closed.await, 4000);
    assert!(start.elapsed() + MARGIN <= LIFE);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(client.state().state.source().unwrap().name(), "SystemInitiated");
    assert!(client.state().wanted);
}

/// Where a connection may be replaced, the newer one is there before the old one goes; one that cannot be made leaves
/// the old one alone, and is tried again.
#[tokio::test(start_paused = true)]
async fn rule_8_1_with_reconnect_a_connection_that_may_be_replaced_is_replaced_before_they_expire() {
    let failing = Step::fail(EngineErrorKind::Connect);
    let engine = ScriptedEngine::new([Step::accept(), failing]);
    let asked = Asked::default();
    let builder = builder()
        .credentials(tokens(LIFE, &asked))
        .credential_renewal(CredentialRenewal::Reconnect)
        .make_before_break(true);
    let (client, mut old) = connected(builder, &engine).await;
    let start = Instant::now();
    let mut events = client.subscribe();
    let answers = async {
        // Health checks are answered until the connection is closed for the newer one.
        while let Some(message) = old.next().await {
            if let Message::Close(frame) = message {
                return frame.unwrap().code.get();
            }
            old.say("hello a").await;
        }
        panic!("no close frame")
    };
    let (closed, _new) = tokio::join!(answers, Server::accept_and_greet(&engine, "b"));
    assert_eq!(closed, 4002);
    sleep(Duration::from_secs(1)).await;
    assert!(start.elapsed() < LIFE);
    assert_eq!((client.state().generation, client.state().state.name()), (3, "Connected"));
    let told: Vec<_> = std::iter::from_fn(|| events.next().now_or_never().flatten())
        .filter_map(|event| match event {
            ClientEvent::ReplacementFailed { generation, .. } => Some(format!("failed {generation}")),
            ClientEvent::Replaced { old, new } => Some(format!("{new} for {old}")),
            ClientEvent::State(snapshot) if !snapshot.state.is_connected() => {
                Some(snapshot.state.name().into())
            }
            _ => None,
        })
        .collect();
    assert_eq!(told, ["failed 2", "3 for 1"]);
    let health = client.health();
    assert_eq!((health.renewals, health.failed_renewals), (1, 1));
}

/// Off: the server refuses them, and then the provider is asked. What says no expiry is never renewed.
#[tokio::test(start_paused = true)]
async fn rule_8_1_off_and_without_an_expiry_nothing_is_renewed() {
    let engine = ScriptedEngine::default();
    let asked = Asked::default();
    let off = builder().credentials(tokens(LIFE, &asked)).credential_renewal(CredentialRenewal::Off);
    let endless = builder().credentials(Credentials::new("t")).on_credentials_renewed(refresh);
    for builder in [off, endless] {
        let (client, mut server) = connected(builder, &engine).await;
        quiet(&mut server, 2 * LIFE).await;
        assert_eq!(client.health().renewals + client.health().failed_renewals, 0);
    }
    assert_eq!(asked.lock().unwrap().len(), 1);
}

/// Invariant 6: a renewal under way holds nobody up, and ends with its connection.
#[tokio::test(start_paused = true)]
async fn invariant_6_a_disconnect_interrupts_a_renewal_at_once() {
    let engine = ScriptedEngine::default();
    let builder =
        builder().credentials(tokens(LIFE, &Asked::default())).on_credentials_renewed(|handle| async move {
            handle.send("refresh");
            while handle.receive().await.is_some() {}
            Ok(())
        });
    let (client, mut server) = connected(builder, &engine).await;
    assert_eq!(next_text(&mut server).await, "refresh");
    assert_eq!(client.send("meanwhile").await, SendOutcome::Flushed);
    let start = Instant::now();
    let (disconnection, code) = tokio::join!(client.disconnect(), async {
        assert_eq!(next_text(&mut server).await, "meanwhile");
        server.close_code().await
    });
    assert_eq!((disconnection.source.name(), code), ("UserInitiated", Some(1000)));
    assert!(start.elapsed() < Duration::from_millis(5));
}
