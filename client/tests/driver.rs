//! The driver against a scripted server, on virtual time: one test per rule, named by its number.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test reads its virtual clock and may panic"
)]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use everwire_client::{
    AuthenticationErrorKind, Client, ClientEvent, CloseCode, ConnectionState, Credentials,
    DisconnectionSource, EngineErrorKind, Message, NotSentReason, Outgoing, PingRequest, SendOutcome,
    SubscriberPolicy, Subscription, credentials_fn, request_fn,
    testing::{Line, Lines, Server},
};
use everwire_engine::{
    ConnectRequest,
    testing::{ScriptedEngine, Step},
};
use everwire_ping::PingConfig;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::{Instant, advance, sleep, timeout};

type Builder = everwire_client::ClientBuilder<Lines>;

fn builder() -> Builder {
    Client::builder("ws://server.test/live", Lines)
}

async fn connected(builder: Builder, engine: &ScriptedEngine) -> (Client<Line>, Server) {
    let client = builder.build(engine.clone()).unwrap();
    let (outcome, server) = tokio::join!(client.connect(), Server::accept_and_greet(engine, "a"));
    assert_eq!(outcome.unwrap().connection_id.as_deref(), Some("a"));
    (client, server)
}

/// Until nothing moves any more at this moment: time is virtual, so a millisecond passes only then.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

fn source(client: &Client<Line>) -> &'static str {
    client.state().state.source().map_or("none", DisconnectionSource::name)
}

/// §2, the order on a good connect, as one subscriber sees it.
#[tokio::test(start_paused = true)]
async fn rule_2_states_and_events_reach_a_subscriber_in_one_order_with_the_generation() {
    let engine = ScriptedEngine::default();
    let log = Arc::new(Mutex::new(Vec::new()));
    let (a, b, c) = (Arc::clone(&log), Arc::clone(&log), Arc::clone(&log));
    let client = builder()
        .on_connection_established(move |handle| {
            a.lock().unwrap().push("on_connection_established");
            handle.send("auth");
            async { Ok(()) }
        })
        .on_connected(move |scope| {
            assert_eq!(scope.info().connection_id.as_deref(), Some("a"));
            b.lock().unwrap().push("on_connected");
            async {}
        })
        .on_event(move |_| c.lock().unwrap().push("event"))
        .build(engine.clone())
        .unwrap();
    let mut events = client.subscribe();
    let (outcome, _server) = tokio::join!(client.connect(), async {
        let mut server = Server::accept(&engine).await;
        assert_eq!(server.text().await, "auth");
        server.say("before").await;
        server.say("hello a").await;
        server.say("after").await;
        server
    });
    outcome.unwrap();
    settle().await;
    let mut seen = Vec::new();
    while let Some(Some(event)) = events.next().now_or_never() {
        seen.push(match event {
            ClientEvent::State(snapshot) => format!("{} {}", snapshot.generation, snapshot.state.name()),
            ClientEvent::Event { generation, event } => format!("{generation} {event:?}"),
            other => format!("{other:?}"),
        });
    }
    let expected = [
        "1 Connecting",
        "1 Authenticating",
        "1 Text(\"before\")",
        "1 Connected",
        "1 Hello(\"a\")",
        "1 Text(\"after\")",
    ];
    assert_eq!(seen, expected);
    let log = log.lock().unwrap().clone();
    assert_eq!(log, ["on_connection_established", "event", "on_connected", "event", "event"]);
}

/// §1: 25 s and 3 s; §2: no pong → Disconnecting(NoPongReceived) with 4001, and the socket is dropped.
#[tokio::test(start_paused = true)]
async fn rule_1_a_silent_peer_is_found_after_the_interval_and_the_timeout() {
    let engine = ScriptedEngine::default();
    let (client, mut server) = connected(builder(), &engine).await;
    let start = Instant::now();
    // A pong in time keeps it.
    assert_eq!(server.text().await, r#"{"type":"health.check","client_id":"a"}"#);
    assert_eq!(start.elapsed(), Duration::from_secs(25));
    advance(Duration::from_secs(2)).await;
    server.say("hello a").await;
    // The next one does not come.
    server.text().await;
    let asked = Instant::now();
    server.connection().set_answer_close(false);
    assert_eq!(server.next().await, Some(Message::close(CloseCode::NO_PONG, "no pong received")));
    assert_eq!(asked.elapsed(), Duration::from_secs(3));
    assert_eq!(source(&client), "NoPongReceived");
    sleep(Duration::from_millis(1001)).await;
    assert!(matches!(
        client.state().state,
        ConnectionState::Disconnected(DisconnectionSource::NoPongReceived)
    ));
    assert_eq!(engine.live_connections(), 0);
    assert_eq!(client.health().missed_pongs, 1);
    assert_eq!(client.health().rtt.unwrap().last, Duration::from_secs(2));
}

/// Invariant 6: a user's disconnect interrupts a dial at once, and the connect future settles with it.
#[tokio::test(start_paused = true)]
async fn invariant_6_a_disconnect_interrupts_a_dial_and_an_authentication_at_once() {
    let engine = ScriptedEngine::new([Step::hang()]);
    let client = builder().build(engine.clone()).unwrap();
    let start = Instant::now();
    let (connect, disconnection) = tokio::join!(client.connect(), async {
        settle().await;
        assert_eq!(engine.dialling(), 1);
        client.disconnect().await
    });
    assert_eq!(connect.unwrap_err().source.name(), "UserInitiated");
    assert_eq!(disconnection.source.name(), "UserInitiated");
    assert_eq!(engine.dialling(), 0);
    assert!(start.elapsed() < Duration::from_millis(5));

    // The socket is open, and the provider of the authentication never returns.
    let client =
        builder().on_connection_established(|_| std::future::pending()).build(engine.clone()).unwrap();
    let (connect, (disconnection, code)) = tokio::join!(client.connect(), async {
        let mut server = Server::accept(&engine).await;
        tokio::join!(client.disconnect(), server.close_code())
    });
    assert_eq!(connect.unwrap_err().source.name(), "UserInitiated");
    assert_eq!(disconnection.received.map(|frame| frame.code), Some(CloseCode::NORMAL));
    assert_eq!(code, Some(1000));
}

/// §6, ending: what is queued leaves, then the close frame, then the peer's answer is read and returned.
#[tokio::test(start_paused = true)]
async fn rule_6_a_disconnect_flushes_what_is_queued_and_returns_who_closed_with_what() {
    let engine = ScriptedEngine::default();
    let (client, mut server) = connected(builder(), &engine).await;
    let mut receipts = Vec::new();
    for n in 0..500 {
        receipts.push(client.queue(format!("m{n}")).await);
    }
    let (disconnection, ()) = tokio::join!(client.disconnect(), async {
        for n in 0..500 {
            assert_eq!(server.text().await, format!("m{n}"));
        }
        assert_eq!(server.close_code().await, Some(1000));
    });
    assert_eq!(disconnection.received.map(|frame| frame.code), Some(CloseCode::NORMAL));
    for receipt in receipts {
        assert_eq!(receipt.await, SendOutcome::Flushed);
    }
    assert!(matches!(client.send("late").await, SendOutcome::NotSent(NotSentReason::NotConnected)));
}

/// §1: a peer that never answers the close frame costs 5 s, not more.
#[tokio::test(start_paused = true)]
async fn rule_1_a_close_that_is_never_answered_ends_by_the_deadline() {
    let engine = ScriptedEngine::default();
    let (client, mut server) = connected(builder(), &engine).await;
    server.connection().set_answer_close(false);
    let start = Instant::now();
    let disconnection = client.disconnect().await;
    assert_eq!(start.elapsed().as_secs(), 5);
    assert_eq!(disconnection.received, None);
    assert_eq!(engine.live_connections(), 0);
}

/// Invariant 9: no task outlives its handle, and the end is graceful all the same.
#[tokio::test(start_paused = true)]
async fn invariant_9_dropping_the_last_handle_closes_in_the_background() {
    let engine = ScriptedEngine::default();
    let (client, mut server) = connected(builder(), &engine).await;
    let background = client.clone().into_background();
    let mut events = client.subscribe();
    drop(client);
    assert_eq!(server.close_code().await, Some(1000));
    while events.next().await.is_some() {}
    assert_eq!(engine.live_connections(), 0);
    // A background handle does not keep it, and cannot wake it.
    assert!(background.connect().await.is_err());
    assert_eq!(engine.attempts(), 1);
}

/// §6 and invariant 7: while the application does not read, we do not either, and the pong deadline stands still.
#[tokio::test(start_paused = true)]
async fn rule_6_back_pressure_pauses_reading_and_liveness_stays_truthful() {
    let (client, _server, said, mut events) = held_back().await;
    // Ten minutes without reading: no verdict, since the pong may be among what waits.
    sleep(Duration::from_secs(600)).await;
    assert_eq!(client.state().state.name(), "Connected");
    // The application reads again: everything is there, in order, and the dead peer is found.
    let mut texts = Vec::new();
    loop {
        match timeout(Duration::from_secs(40), events.next()).await.unwrap() {
            Some(ClientEvent::Event { event: Line::Text(text), .. }) => texts.push(text),
            Some(ClientEvent::State(snapshot)) if snapshot.state.source().is_some() => break,
            Some(_) => {}
            None => panic!("ended"),
        }
    }
    assert_eq!(texts, (0..texts.len()).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(texts.len() >= said, "{} of {said}", texts.len());
    assert_eq!(source(&client), "NoPongReceived");
}

/// §6: the time in which nothing was read is not the peer's: afterwards it has its whole timeout to answer.
#[tokio::test(start_paused = true)]
async fn rule_6_after_a_pause_in_reading_the_peer_has_its_time_again() {
    let engine = ScriptedEngine::default().capacity(16);
    let client = builder().build(engine.clone()).unwrap();
    let mut events = client.subscribe_with(8, SubscriberPolicy::BackPressure);
    let (_, mut server) = tokio::join!(client.connect(), Server::accept_and_greet(&engine, "a"));
    while timeout(Duration::from_millis(1), server.say("more")).await.is_ok() {}
    // A ping goes out meanwhile; its pong cannot be sent, since nothing is read.
    sleep(Duration::from_secs(600)).await;
    let reading = tokio::spawn(async move { while events.next().await.is_some() {} });
    sleep(Duration::from_secs(2)).await;
    assert_eq!(client.state().state.name(), "Connected");
    server.say("hello a").await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(client.state().state.name(), "Connected", "the pong was awaited");
    reading.abort();
}

/// §6: a lossy subscriber is told how many it missed, and holds nobody up.
#[tokio::test(start_paused = true)]
async fn rule_6_a_lossy_subscriber_gets_lagged() {
    let engine = ScriptedEngine::default();
    let (client, mut server) = connected(builder(), &engine).await;
    let mut events = client.subscribe_with(4, SubscriberPolicy::DropOldest);
    for n in 0..100 {
        server.say(format!("{n}")).await;
    }
    settle().await;
    let (mut lagged, mut texts) = (0, Vec::new());
    while let Some(Some(event)) = events.next().now_or_never() {
        match event {
            ClientEvent::Lagged(n) => lagged += n,
            ClientEvent::Event { event: Line::Text(text), .. } => texts.push(text),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(lagged + texts.len() as u64, 100);
    assert_eq!(texts.last().map(String::as_str), Some("99"));
    assert!(lagged > 0 && !texts.is_empty());
}

/// §2: a message that does not decode is reported; the connection stays. Panics are contained.
#[tokio::test(start_paused = true)]
async fn rule_2_rejects_and_panics_of_handlers_leave_the_connection_alone() {
    let engine = ScriptedEngine::default();
    let handler = |event: &Line| assert_ne!(*event, Line::Text("boom".into()), "as the test wants");
    let (client, mut server) = connected(builder().on_event(handler), &engine).await;
    let mut events = client.subscribe();
    for line in ["garbage", "nothing", "boom", "fine"] {
        server.say(line).await;
    }
    settle().await;
    let health = client.health();
    assert_eq!((health.rejects, health.handler_panics), (1, 1));
    assert_eq!(client.state().state.name(), "Connected");
    let texts: Vec<_> = std::iter::from_fn(|| events.next().now_or_never().flatten())
        .filter_map(|event| match event {
            ClientEvent::Event { event: Line::Text(text), .. } => Some(text),
            _ => None,
        })
        .collect();
    assert_eq!(texts, ["boom", "fine"]);
}

/// §2: where one subscriber is all there is, events are decoded into its batch. It is told the same in the same order as
/// it would be beside another one, or beside an inline handler.
#[tokio::test(start_paused = true)]
async fn rule_2_a_subscriber_is_told_the_same_whoever_listens_beside_it() {
    let mut told = Vec::new();
    for (others, handler) in [(0, false), (1, false), (0, true)] {
        let engine = ScriptedEngine::default();
        let builder = if handler { builder().on_event(|_| {}) } else { builder() };
        let client = builder.build(engine.clone()).unwrap();
        let mut events = client.subscribe().with_rejects();
        let others: Vec<_> = (0..others).map(|_| client.subscribe()).collect();
        let (_, mut server) = tokio::join!(
            client.connect(),
            Server::accept(&engine).then(async |mut server| {
                for line in ["early", "garbage", "nothing", "hello a", "one"] {
                    server.say(line).await;
                }
                server
            })
        );
        for line in
            ["garbage", "two", "nothing", "leaving 9", "three", "hello a", "error 40 401 expired", "four"]
        {
            server.say(line).await;
        }
        settle().await;
        assert_eq!(client.health().rejects, 2);
        let seen = std::iter::from_fn(|| events.next().now_or_never().flatten());
        told.push(
            seen.map(|event| match event {
                ClientEvent::State(snapshot) => snapshot.state.name().to_owned(),
                event => format!("{event:?}"),
            })
            .collect::<Vec<_>>(),
        );
        drop(others);
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0], told[2]);
    let is = |what: &str| told[0].iter().position(|told| told.contains(what)).unwrap();
    let order = [
        "Authenticating",
        "\"early\"",
        "Rejected",
        "Connected",
        "Hello",
        "\"one\"",
        "\"two\"",
        "Leaving",
        "ReconnectSuggested",
        "\"three\"",
        "Error(",
        "Disconnecting",
    ]
    .map(is);
    assert!(order.is_sorted(), "{:#?}", told[0]);
}

/// The future that a runtime was started with has its turn only after dozens of tasks: a consumer there is not left
/// behind by them all the same.
#[tokio::test(start_paused = true)]
async fn a_consumer_that_is_no_task_keeps_up() {
    const COUNT: usize = 3000;
    let engine = ScriptedEngine::default().capacity(COUNT);
    let (client, mut server) = connected(builder(), &engine).await;
    let mut events = client.subscribe_with(COUNT, SubscriberPolicy::BackPressure);
    for n in 0..COUNT {
        server.say(format!("{n}")).await;
    }
    let mut most = 0;
    for n in 0..COUNT {
        let event = events.recv().await.and_then(ClientEvent::into_event).unwrap();
        assert_eq!(event, Line::Text(n.to_string()));
        most = most.max(client.health().delivery_queue);
    }
    assert!((1..=256).contains(&most), "{most} events waited");
}

/// §2 and §7: the error is delivered, what follows it is read, its close code too; then we are closed.
#[tokio::test(start_paused = true)]
async fn rule_7_an_error_frame_before_the_close_frame_is_the_reason() {
    let engine = ScriptedEngine::default();
    let (client, mut server) = connected(builder(), &engine).await;
    server.say("error 40 401 token expired").await;
    server.close(CloseCode::NORMAL, "").await;
    settle().await;
    let state = client.state().state;
    let source = state.source().unwrap();
    assert_eq!(source.api_error().map(|error| (error.code, error.status)), Some((40, Some(401))));
    assert_eq!(source.server_reason().unwrap().close_code().get(), 1000);

    // Without a close frame of the server we close ourselves.
    let (client, mut server) = connected(builder(), &engine).await;
    server.say("error 9").await;
    assert_eq!(server.close_code().await, Some(1000));
    settle().await;
    assert_eq!(client.state().state.source().unwrap().api_error().unwrap().code, 9);
}

/// §8.14: every way in which reading ends leads to Disconnected; an end without a close frame reads as 1006.
#[tokio::test(start_paused = true)]
async fn rule_8_14_an_end_without_a_close_frame_is_1006_at_once() {
    let engine = ScriptedEngine::default();
    let (client, server) = connected(builder(), &engine).await;
    let start = Instant::now();
    drop(server);
    settle().await;
    let state = client.state().state;
    assert_eq!(state.source().unwrap().server_reason().unwrap().close_code(), CloseCode::ABNORMAL);
    assert!(start.elapsed() < Duration::from_millis(5));
}

/// §8.1: the provider is asked per attempt and told the refusal; the same refused credentials stop.
#[tokio::test(start_paused = true)]
async fn rule_8_1_the_provider_is_told_of_a_refusal_and_refused_credentials_again_are_an_error() {
    let engine = ScriptedEngine::default();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let builder = builder().credentials(credentials_fn(move |attempt| {
        let code = attempt.refused.and_then(|refused| refused.api_error).map(|error| error.code);
        seen.lock().unwrap().push((attempt.generation, code));
        async { Ok(Credentials::new("always the same")) }
    }));
    let (client, mut server) = connected(builder, &engine).await;
    server.say("error 40 401 token expired").await;
    server.close(CloseCode::NORMAL, "").await;
    settle().await;
    let error = client.connect().await.unwrap_err();
    let DisconnectionSource::AuthenticationFailed(error) = error.source else { panic!("{error}") };
    assert_eq!(error.kind(), AuthenticationErrorKind::RefusedTwice);
    assert_eq!(*asked.lock().unwrap(), [(1, None), (2, Some(40))]);
    assert_eq!(engine.attempts(), 1, "nothing was dialled with refused credentials");
}

/// A provider that panics or returns garbage is contained.
#[tokio::test(start_paused = true)]
async fn rule_8_1_a_provider_that_panics_fails_hangs_or_misleads_ends_the_attempt() {
    let kind = |error: everwire_client::ConnectError| match error.source {
        DisconnectionSource::AuthenticationFailed(error) => error.kind(),
        other => panic!("{other}"),
    };
    let engine = ScriptedEngine::default();
    let panics = credentials_fn(|_| async { panic!("as the test wants") });
    let client = builder().credentials(panics).build(engine.clone()).unwrap();
    assert_eq!(kind(client.connect().await.unwrap_err()), AuthenticationErrorKind::Panicked);
    let fails = credentials_fn(|_| async { Err("no token server".into()) });
    let client = builder().credentials(fails).build(engine.clone()).unwrap();
    assert_eq!(kind(client.connect().await.unwrap_err()), AuthenticationErrorKind::Failed);
    let hangs = credentials_fn(|_| std::future::pending());
    let client = builder().credentials(hangs).build(engine.clone()).unwrap();
    let start = Instant::now();
    assert_eq!(kind(client.connect().await.unwrap_err()), AuthenticationErrorKind::Timeout);
    assert_eq!(start.elapsed().as_secs(), 10);
    // A hook of the connection that panics, too; before and after its first await.
    for wait in [false, true] {
        let client = builder()
            .on_connection_established(move |_| async move {
                if wait {
                    sleep(Duration::from_secs(1)).await;
                }
                panic!("as the test wants")
            })
            .build(engine.clone())
            .unwrap();
        assert_eq!(kind(client.connect().await.unwrap_err()), AuthenticationErrorKind::Panicked);
    }
    assert_eq!(engine.live_connections(), 0);
}

/// §8.2: URL and headers are made per attempt; a provider's error ends it.
#[tokio::test(start_paused = true)]
async fn rule_8_2_the_request_is_made_anew_for_each_attempt() {
    let engine = ScriptedEngine::new([Step::fail(EngineErrorKind::Connect)]);
    let requests = request_fn(|attempt| async move {
        if attempt.generation == 3 {
            return Err("no ticket".into());
        }
        Ok(ConnectRequest::new(&format!("wss://h/ticket/{}", attempt.generation))?)
    });
    let client =
        everwire_client::ClientBuilder::with_requests(requests, Lines).build(engine.clone()).unwrap();
    assert!(client.connect().await.is_err());
    let (second, server) = tokio::join!(client.connect(), Server::accept_and_greet(&engine, "a"));
    second.unwrap();
    drop(server);
    settle().await;
    let third = client.connect().await.unwrap_err();
    assert!(
        matches!(&third.source, DisconnectionSource::ServerInitiated(r)
        if r.engine_error.as_ref().unwrap().kind() == EngineErrorKind::NoRequest),
        "{third}"
    );
    let paths: Vec<_> = engine.requests().iter().map(|r| r.path_and_query().to_owned()).collect();
    assert_eq!(paths, ["/ticket/1", "/ticket/2"]);
}

/// A challenge: `on_connection_established` sends and also reads replies.
#[tokio::test(start_paused = true)]
async fn rule_2_the_handshake_handle_can_answer_a_challenge() {
    let engine = ScriptedEngine::default();
    let client = builder()
        .on_connection_established(|handle| async move {
            handle.send("knock");
            let challenge = handle.receive().await.expect("the connection is open");
            handle.send(format!("answer to {}", challenge.as_text().unwrap_or_default()));
            Ok(())
        })
        .build(engine.clone())
        .unwrap();
    let (outcome, _server) = tokio::join!(client.connect(), async {
        let mut server = Server::accept(&engine).await;
        assert_eq!(server.text().await, "knock");
        server.say("42").await;
        assert_eq!(server.text().await, "answer to 42");
        server.say("hello a").await;
        server
    });
    outcome.unwrap();
}

/// §6, order after a reconnect: authentication, resubscription, what is sent again, what was held, what is new.
#[tokio::test(start_paused = true)]
async fn rule_6_order_after_a_reconnect() {
    let engine = ScriptedEngine::default().capacity(4);
    let builder = builder()
        .on_connection_established(|handle| async move {
            handle.send("auth");
            Ok(())
        })
        .resubscribe(|scope| async move {
            sleep(Duration::from_secs(1)).await;
            scope.send(format!("subscribe since {:?}", scope.previous().map(|p| p.connection_id.clone())));
        });
    let client = builder.build(engine.clone()).unwrap();
    let minute = Duration::from_secs(60);
    let (_, mut server) = tokio::join!(client.connect(), Server::accept_and_greet(&engine, "a"));
    assert_eq!(server.text().await, "auth");
    assert_eq!(server.text().await, "subscribe since None");
    drop(server);
    settle().await;
    let held = client.queue(Outgoing::from("held").hold(minute)).await;
    let (_, (mut server, new)) = tokio::join!(client.connect(), async {
        let server = Server::accept_and_greet(&engine, "b").await;
        client.connected().await.unwrap();
        (server, client.queue("new").await)
    });
    let mut order = Vec::new();
    for _ in 0..4 {
        order.push(server.text().await);
    }
    assert_eq!(order, ["auth", "subscribe since Some(Some(\"a\"))", "held", "new"]);
    assert_eq!((held.await, new.await), (SendOutcome::Flushed, SendOutcome::Flushed));
}

/// Invariant 8: a hook that sends without end is told when nothing more is taken.
#[tokio::test(start_paused = true)]
async fn invariant_8_a_hook_that_floods_is_told_when_its_lane_is_full() {
    let engine = ScriptedEngine::default().capacity(1);
    let taken = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&taken);
    let builder = builder().on_connected(move |scope| {
        let count = Arc::clone(&count);
        async move {
            while scope.send("flood") {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let (client, _server) = connected(builder, &engine).await;
    settle().await;
    assert_eq!(taken.load(Ordering::Relaxed), 1024);
    assert_eq!(client.state().state.name(), "Connected");
}

/// §6: a message that may wait for a connection also waits when it comes while a dead one is being closed.
#[tokio::test(start_paused = true)]
async fn rule_6_what_is_held_during_the_close_of_a_dead_connection_goes_over_the_next_one() {
    let engine = ScriptedEngine::default();
    let (client, _silent) = connected(builder(), &engine).await;
    while !matches!(client.state().state, ConnectionState::Disconnecting(_)) {
        sleep(Duration::from_millis(100)).await;
    }
    let held = client.queue(Outgoing::from("held").hold(Duration::from_secs(60))).await;
    let fast = client.queue(Outgoing::from("fast")).await;
    assert_eq!(fast.await, SendOutcome::NotSent(NotSentReason::NotConnected));
    let (outcome, mut server) = tokio::join!(client.connect(), Server::accept_and_greet(&engine, "b"));
    outcome.unwrap();
    assert_eq!(server.text().await, "held");
    assert_eq!(held.await, SendOutcome::Flushed);
}

/// §6: a disconnect of the user stops the intake also when another close is under way.
#[tokio::test(start_paused = true)]
async fn rule_6_a_disconnect_that_overrides_a_close_stops_the_intake() {
    let engine = ScriptedEngine::default();
    let (client, _silent) = connected(builder(), &engine).await;
    while !matches!(client.state().state, ConnectionState::Disconnecting(_)) {
        sleep(Duration::from_millis(100)).await;
    }
    let (_, outcome) = tokio::join!(client.disconnect(), async {
        settle().await;
        assert_eq!(source(&client), "UserInitiated");
        client.send(Outgoing::from("late").hold(Duration::from_secs(60))).await
    });
    assert_eq!(outcome, SendOutcome::NotSent(NotSentReason::Disconnected));
}

/// §6: what nobody may send is refused when it is given, by handles and hooks; the connection stays, and nobody hears of
/// it.
#[tokio::test(start_paused = true)]
async fn rule_6_what_nobody_may_send_is_refused_and_the_connection_stays() {
    let invalid = || Message::Ping(vec![0; 126].into());
    let close = |code| Message::close(code, "mine");
    let taken = Arc::new(AtomicU32::new(0));
    let (early, late) = (Arc::clone(&taken), Arc::clone(&taken));
    let count = |taken: &AtomicU32, accepted: bool| taken.fetch_add(u32::from(accepted), Ordering::Relaxed);
    let builder = builder()
        .on_connection_established(move |handle| {
            for bad in [invalid(), close(CloseCode::ABNORMAL), close(CloseCode::NORMAL)] {
                count(&early, handle.send(bad));
            }
            count(&early, handle.send("auth"));
            async { Ok(()) }
        })
        .on_connected(move |scope| {
            count(&late, scope.send(invalid()));
            count(&late, scope.send(close(CloseCode::NORMAL)));
            async {}
        });
    let engine = ScriptedEngine::default();
    let (client, mut server) = connected(builder, &engine).await;
    let before = client.state();
    for (bad, reason) in [
        (invalid(), NotSentReason::Invalid),
        (close(CloseCode::ABNORMAL), NotSentReason::CloseFrame),
        (close(CloseCode::NORMAL), NotSentReason::CloseFrame),
    ] {
        assert_eq!(client.send(bad.clone()).await, SendOutcome::NotSent(reason));
        let again = Outgoing::from(bad.clone()).idempotent(Duration::from_secs(3600));
        let refused = client.try_send(again).unwrap_err();
        assert_eq!((refused.message, refused.reason), (bad, reason));
        settle().await;
    }
    assert_eq!(client.send("next").await, SendOutcome::Flushed);
    for expected in ["auth", "next"] {
        assert_eq!(server.text().await, expected);
    }
    let after = client.state();
    assert_eq!((after.state.name(), after.generation), (before.state.name(), before.generation));
    assert_eq!((after.state.name(), taken.load(Ordering::Relaxed)), ("Connected", 1));
}

/// §8.6: work started in `on_connected` is cancelled with its connection.
#[tokio::test(start_paused = true)]
async fn rule_8_6_on_connected_work_ends_with_its_connection() {
    struct Running(Arc<AtomicU32>);
    impl Drop for Running {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let running = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&running);
    let builder = builder().on_connected(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        let running = Running(Arc::clone(&count));
        async move {
            let _running = running;
            std::future::pending::<()>().await;
        }
    });
    let engine = ScriptedEngine::default();
    let (client, server) = connected(builder, &engine).await;
    settle().await;
    assert_eq!(running.load(Ordering::Relaxed), 1);
    drop(server);
    settle().await;
    assert_eq!(running.load(Ordering::Relaxed), 0);
    drop(client);
}

/// §1: a write that makes no progress for 10 s is a broken connection.
#[tokio::test(start_paused = true)]
async fn rule_1_a_peer_that_takes_nothing_is_found_by_the_write_deadline() {
    let engine = ScriptedEngine::default().capacity(1);
    let (client, _server) = connected(builder().ping(PingRequest::Off), &engine).await;
    let start = Instant::now();
    let receipts = [client.queue("1").await, client.queue("2").await, client.queue("3").await];
    let outcomes = futures_util::future::join_all(receipts).await;
    assert_eq!(start.elapsed().as_secs(), 10);
    assert!(outcomes.iter().any(|outcome| *outcome != SendOutcome::Flushed), "{outcomes:?}");
    let state = client.state().state;
    let error = state.source().unwrap().server_reason().unwrap().engine_error.clone().unwrap();
    assert_eq!(error.kind(), EngineErrorKind::Timeout);
}

/// Invariant 7: a full socket must not delay a health verdict.
#[tokio::test(start_paused = true)]
async fn invariant_7_a_full_socket_does_not_delay_the_health_verdict() {
    let engine = ScriptedEngine::default().capacity(1);
    let slow_writes = builder().write_timeout(Duration::from_secs(3600));
    let (client, _server) = connected(slow_writes, &engine).await;
    for n in 0..10 {
        drop(client.queue(format!("{n}")).await);
    }
    sleep(Duration::from_millis(28_100)).await;
    assert_eq!(source(&client), "NoPongReceived");
}

/// A client whose application does not read, and a server that has said all that it could.
async fn held_back() -> (Client<Line>, Server, usize, Subscription<Line>) {
    let engine = ScriptedEngine::default().capacity(16);
    let client = builder().build(engine.clone()).unwrap();
    let events = client.subscribe_with(8, SubscriberPolicy::BackPressure);
    let (_, mut server) = tokio::join!(client.connect(), Server::accept_and_greet(&engine, "a"));
    let mut said = 0_usize;
    while timeout(Duration::from_millis(1), server.say(format!("{said}"))).await.is_ok() {
        said += 1;
        assert!(said < 200, "nothing holds the server back");
    }
    (client, server, said, events)
}

/// A client whose application does not read, and whose peer has gone unread: what was said, and the subscription.
async fn unread() -> (Client<Line>, usize, Subscription<Line>) {
    let (client, _, said, mut events) = held_back().await;
    assert!(events.next().await.is_some_and(|event| matches!(event, ClientEvent::State(_))));
    (client, said, events)
}

/// All texts, which must be the first that were said, in order, and then the kind of error that ended it.
async fn texts_and_end(events: &mut Subscription<Line>) -> (usize, EngineErrorKind) {
    let mut texts = 0;
    loop {
        match timeout(Duration::from_secs(1), events.next()).await.unwrap().unwrap() {
            ClientEvent::Event { event: Line::Text(text), .. } => {
                assert_eq!(text, texts.to_string());
                texts += 1;
            }
            ClientEvent::State(snapshot) => {
                let Some(source) = snapshot.state.source() else { continue };
                return (texts, source.server_reason().unwrap().engine_error.clone().unwrap().kind());
            }
            _ => {}
        }
    }
}

/// Invariant 7: an application that waits for the outcome of its answer before it reads on, has it, though the write
/// failed and the rest of what has arrived cannot be read.
#[tokio::test(start_paused = true)]
async fn invariant_7_a_failed_write_is_told_though_the_application_does_not_read() {
    let (client, said, mut events) = unread().await;
    let start = Instant::now();
    let outcome = timeout(Duration::from_secs(3600), client.send("answer")).await.expect("an outcome");
    assert!(matches!(outcome, SendOutcome::NotSent(_) | SendOutcome::MaybeSent), "{outcome:?}");
    assert_eq!(start.elapsed().as_secs(), 10);
    // What was read before that is delivered before the end, and the end tells the write's own error.
    let (texts, kind) = texts_and_end(&mut events).await;
    assert!((8..said).contains(&texts), "{texts} of {said}");
    assert_eq!(kind, EngineErrorKind::Io);
}

/// §2: a failed write does not keep an application that reads from what the peer has said before.
#[tokio::test(start_paused = true)]
async fn rule_2_what_has_arrived_is_read_before_a_failed_write_ends_the_connection() {
    let (client, said, mut events) = unread().await;
    let receipt = client.queue("answer").await;
    sleep(Duration::from_secs(9)).await;
    assert!(client.state().state.is_connected(), "{}", client.state().state);
    let (texts, kind) = texts_and_end(&mut events).await;
    assert!(texts >= said, "{texts} of {said}");
    assert_eq!(kind, EngineErrorKind::Io);
    assert_ne!(receipt.await, SendOutcome::Flushed);
}

#[tokio::test(start_paused = true)]
async fn rule_5_a_probe_asks_at_once_and_its_deadline_holds() {
    let engine = ScriptedEngine::default();
    let (client, mut server) = connected(builder(), &engine).await;
    client.probe(Duration::from_secs(2));
    let start = Instant::now();
    server.text().await;
    assert!(start.elapsed() < Duration::from_millis(5));
    server.connection().set_answer_close(false);
    assert!(matches!(server.next().await, Some(Message::Close(_))));
    assert_eq!(start.elapsed().as_secs(), 2);
    assert_eq!(source(&client), "NoPongReceived");
}

/// What arrived while the process was stopped is read before anybody is condemned, all of it.
#[test]
fn rule_5_a_process_that_was_stopped_reads_before_it_judges() {
    // A runtime that looks at its timers after every task: by itself it would do so when all is read anyway.
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).event_interval(1).build().unwrap();
    runtime.block_on(async {
        let engine = ScriptedEngine::default().capacity(5000);
        let (client, mut server) = connected(builder(), &engine).await;
        server.text().await;
        // The pong is there, behind more than is read in one go; the deadline passes before the driver runs.
        for n in 0..4000 {
            server.connection().send(format!("{n}")).now_or_never().expect("there is room").unwrap();
        }
        server.connection().send("hello a").now_or_never().expect("there is room").unwrap();
        advance(Duration::from_secs(60)).await;
        settle().await;
        assert_eq!(client.state().state.name(), "Connected");
        assert_eq!(client.health().missed_pongs, 0);
    });
}

/// Protocol pings: connected on open, an empty ping frame, the protocol pong counts.
#[tokio::test(start_paused = true)]
async fn rule_1_frame_mode_needs_no_health_check() {
    let engine = ScriptedEngine::default();
    let config = PingConfig::builder().interval(Duration::from_secs(5)).build().unwrap();
    let client = builder().protocol_pings().ping_config(config).build(engine.clone()).unwrap();
    let (outcome, mut server) = tokio::join!(client.connect(), Server::accept(&engine));
    outcome.unwrap();
    server.connection().set_answer_pings(true);
    for _ in 0..3 {
        assert!(matches!(server.next().await, Some(Message::Ping(_))));
    }
    assert_eq!(client.state().state.name(), "Connected");
    assert_eq!(client.health().missed_pongs, 0);
}

/// §8.7 and §8.8: log out and in again, in any order and number; never two sockets, no attempt without an end.
#[tokio::test(start_paused = true)]
async fn rule_8_8_ten_thousand_concurrent_connects_and_disconnects() {
    let engine = ScriptedEngine::default();
    let client = builder().build(engine.clone()).unwrap();
    let greeter = tokio::spawn({
        let engine = engine.clone();
        async move {
            loop {
                let mut server = Server::accept_and_greet(&engine, "a").await;
                tokio::spawn(async move { while server.next().await.is_some() {} });
            }
        }
    });
    let calls = (0..10_000).map(|n| {
        let client = client.clone();
        async move {
            if n % 2 == 0 { client.connect().await.is_ok() } else { client.disconnect().await.generation > 0 }
        }
    });
    let settled = futures_util::future::join_all(calls).await;
    assert_eq!(settled.len(), 10_000);
    client.disconnect().await;
    client.connect().await.unwrap();
    client.disconnect().await;
    settle().await;
    assert_eq!(engine.most_live_connections(), 1);
    assert_eq!(engine.live_connections(), 0);
    greeter.abort();
}

/// Builder errors name the field, and come when it is built.
#[tokio::test]
async fn bad_settings_are_refused_when_built_and_named() {
    let refused = |builder: Builder| builder.build(ScriptedEngine::default()).unwrap_err();
    assert_eq!(refused(Client::builder("http://x", Lines)).field(), "url");
    assert_eq!(refused(builder().open_timeout(Duration::ZERO)).field(), "open_timeout");
    assert_eq!(refused(builder().write_timeout(Duration::ZERO)).field(), "write_timeout");
    let error = refused(Client::builder("wss://user:pw@h/?token=s3cret#x", Lines));
    assert!(!format!("{error} {error:?}").contains("s3cret"));
}

#[test]
fn without_a_runtime_building_is_an_error_and_no_panic() {
    assert_eq!(builder().build(ScriptedEngine::default()).unwrap_err().field(), "runtime");
}

/// §8.12: what hooks send is sent as much as what the application does, and pings and close frames are, too.
#[tokio::test(start_paused = true)]
async fn rule_8_12_what_hooks_send_is_counted_and_what_failed_successors_send() {
    let engine = ScriptedEngine::default();
    let builder = builder()
        .make_before_break(true)
        .on_connection_established(|handle| async move {
            handle.send("auth");
            match handle.attempt().replaces {
                None => Ok(()),
                Some(_) => std::future::pending().await,
            }
        })
        .resubscribe(|scope| async move {
            scope.send("subscribe");
        })
        .ping_request_builder(|_| "ping");
    let (client, mut server) = connected(builder, &engine).await;
    assert_eq!(client.send("123").await, SendOutcome::Flushed);
    let sent = |client: &Client<Line>| {
        let health = client.health();
        (health.messages_sent, health.bytes_sent)
    };
    assert_eq!(sent(&client), (3, 4 + 9 + 3));
    client.probe(Duration::from_secs(1));
    for expected in ["auth", "subscribe", "123", "ping"] {
        assert_eq!(server.text().await, expected);
    }
    server.say("hello a").await;
    settle().await;
    assert_eq!(sent(&client), (4, 20));
    // A successor that fails has sent its authentication all the same.
    client.replace();
    let mut successor = Server::accept(&engine).await;
    assert_eq!(successor.text().await, "auth");
    drop(successor);
    settle().await;
    assert_eq!(client.health().failed_replacements, 1);
    assert_eq!(sent(&client), (5, 24));
    let (_, code) = tokio::join!(client.disconnect(), server.close_code());
    assert_eq!((code, sent(&client).0), (Some(1000), 6));
}

/// §6: what is held waits for its time to live, through a disconnect of the user's too, and goes out when they connect
/// again; at the latest the end of the client settles it.
#[tokio::test(start_paused = true)]
async fn rule_6_a_held_message_outlives_a_disconnect_until_its_time_to_live_ends() {
    let engine = ScriptedEngine::default();
    let (client, server) = connected(builder(), &engine).await;
    drop(server);
    settle().await;
    let held = |text: &str, seconds| {
        let message = Outgoing::from(text.to_owned()).hold(Duration::from_secs(seconds));
        client.try_send(message).unwrap()
    };
    let (mut short, mut long, mut last) = (held("short", 5), held("long", 60), held("last", 600));
    client.disconnect().await;
    let mut after = held("after", 60);
    settle().await;
    for receipt in [&mut short, &mut long, &mut last, &mut after] {
        assert!(receipt.now_or_never().is_none(), "it waits");
    }
    let start = Instant::now();
    assert_eq!(short.await, SendOutcome::NotSent(NotSentReason::Expired));
    assert_eq!(start.elapsed().as_secs(), 4);

    let (outcome, mut server) = tokio::join!(client.connect(), Server::accept_and_greet(&engine, "b"));
    outcome.unwrap();
    for expected in ["long", "last", "after"] {
        assert_eq!(server.text().await, expected);
    }
    assert_eq!(
        (long.await, last.await, after.await),
        (SendOutcome::Flushed, SendOutcome::Flushed, SendOutcome::Flushed)
    );

    drop(server);
    settle().await;
    client.disconnect().await;
    let left = held("left", 600);
    drop(client);
    assert_eq!(left.await, SendOutcome::NotSent(NotSentReason::ClientGone));
}
