//! Make before break through the driver, against a scripted server, on virtual time: one test per rule of §2a.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test reads its virtual clock and may panic"
)]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use everwire_client::{
    Client, ClientEvent, CloseCode, ConnectionState, Credentials, EngineErrorKind, Message, Outgoing,
    Replacement, RequestError, Requests, SendOutcome, SubscriberPolicy, Subscription, credentials_fn,
    reliable::{ReliableLimits, ReliableReceiver, ReliableSender},
    testing::{Line, Lines, Server},
};
use everwire_engine::testing::{ScriptedEngine, Step};
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::{Instant, sleep, timeout};

type Builder = everwire_client::ClientBuilder<Lines>;

fn builder() -> Builder {
    Client::builder("ws://server.test/live", Lines).make_before_break(true)
}

async fn connected(builder: Builder, engine: &ScriptedEngine) -> (Client<Line>, Server) {
    let client = builder.build(engine.clone()).unwrap();
    let (outcome, server) = tokio::join!(client.connect(), Server::accept_and_greet(engine, "a"));
    outcome.unwrap();
    (client, server)
}

/// Until nothing moves any more at this moment: time is virtual, so a millisecond passes only then.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

/// What a subscriber has seen so far, in short words.
fn seen(events: &mut Subscription<Line>) -> Vec<String> {
    std::iter::from_fn(|| events.next().now_or_never().flatten())
        .map(|event| match event {
            ClientEvent::State(snapshot) => format!("{} {}", snapshot.state.name(), snapshot.generation),
            ClientEvent::Event { generation, event: Line::Text(text) } => format!("{generation} {text}"),
            ClientEvent::Event { generation, event: Line::Hello(id) } => format!("{generation} hello {id}"),
            ClientEvent::Replaced { old, new } => format!("replaced {old} {new}"),
            ClientEvent::ReplacementFailed { generation, source } => {
                format!("failed {generation} {}", source.name())
            }
            ClientEvent::Reconnected { old_connection_id, new_connection_id, gap } => {
                format!("reconnected {old_connection_id:?} {new_connection_id:?} {gap:?}")
            }
            other => format!("{other:?}"),
        })
        .collect()
}

/// §2a, the order of a hand-over as one subscriber and both servers see it.
#[tokio::test(start_paused = true)]
async fn rule_2a_the_old_one_is_drained_before_the_new_one_is_heard() {
    let engine = ScriptedEngine::default();
    let builder = builder()
        .on_connection_established(|handle| async move {
            handle.send(format!("auth {:?}", handle.attempt().replaces));
            Ok(())
        })
        .resubscribe(|scope| async move {
            scope.send("subscribe");
        });
    let (client, mut old) = connected(builder, &engine).await;
    assert_eq!(old.text().await, "auth None");
    assert_eq!(old.text().await, "subscribe");
    let mut events = client.subscribe();

    client.replace();
    let mut new = Server::accept(&engine).await;
    assert_eq!(new.text().await, "auth Some(1)");
    // The old one works as ever.
    old.say("still").await;
    assert_eq!(client.send("over the old one").await, SendOutcome::Flushed);
    assert_eq!(old.text().await, "over the old one");
    settle().await;
    assert_eq!(seen(&mut events), ["1 still"]);
    assert_eq!(client.state().generation, 1);
    assert!(matches!(client.state().replacement, Replacement::UnderWay { generation: 2, .. }));

    // The new one is ready, and has news at once; the old one has some left too.
    new.say("hello b").await;
    new.say("new 1").await;
    settle().await;
    let held = client.queue("held").await;
    old.say("old 1").await;
    settle().await;
    old.say("old 2").await;
    settle().await;
    assert_eq!(seen(&mut events), ["1 old 1", "1 old 2"]);
    assert!(
        timeout(Duration::from_millis(100), new.next()).await.is_err(),
        "nothing leaves before the switch"
    );

    assert_eq!(old.next().await, Some(Message::close(CloseCode::REPLACED, "replaced")));
    assert_eq!(old.next().await, None, "it is answered by the one who reads it");
    settle().await;
    let expected =
        ["replaced 1 2", "Connected 2", "reconnected Some(\"a\") Some(\"b\") 0ns", "2 hello b", "2 new 1"];
    assert_eq!(seen(&mut events), expected);
    assert_eq!(new.text().await, "subscribe");
    assert_eq!(new.text().await, "held");
    assert_eq!(held.await, SendOutcome::Flushed);
    let health = client.health();
    assert_eq!((health.attempts, health.connections, health.replacements), (2, 2, 1));
    assert_eq!((engine.live_connections(), engine.most_live_connections()), (1, 2));
}

/// §2a: what was asked on the old connection and not answered ends with it, and not at its own deadline.
#[tokio::test(start_paused = true)]
async fn rule_2a_requests_on_the_old_one_end_unanswered_when_it_is_replaced() {
    let engine = ScriptedEngine::default();
    let (client, mut old) = connected(builder(), &engine).await;
    let requests = Requests::<String>::new();
    let mut events = client.subscribe();
    let observing = tokio::spawn({
        let requests = requests.clone();
        async move {
            while let Some(event) = events.next().await {
                requests.observe(&event);
                if let Some(Line::Text(text)) = event.into_event()
                    && let Some((id, answer)) = text.split_once(' ')
                    && let Ok(id) = id.parse()
                {
                    requests.answered(id, answer.to_owned());
                }
            }
        }
    });
    let ask = |what: &'static str| {
        let (client, requests) = (client.clone(), requests.clone());
        tokio::spawn(async move {
            let start = Instant::now();
            let send = |id| async move { client.send(format!("{what} {id}")).await };
            (requests.request(Duration::from_secs(60), send).await, start.elapsed())
        })
    };
    let (answered, unanswered) = (ask("answered"), ask("unanswered"));
    assert_eq!((old.text().await.as_str(), old.text().await.as_str()), ("answered 1", "unanswered 2"));

    client.replace();
    let mut new = Server::accept_and_greet(&engine, "b").await;
    settle().await;
    old.say("1 yes").await; // what the old one says while it is drained counts
    assert_eq!(old.close_code().await, Some(4002));
    assert_eq!(answered.await.unwrap().0.as_deref(), Ok("yes"));
    let (outcome, after) = unanswered.await.unwrap();
    assert_eq!(outcome, Err(RequestError::Unanswered));
    assert!(RequestError::Unanswered.may_have_been_received() && after < Duration::from_secs(5), "{after:?}");

    let later = ask("later");
    assert_eq!(new.text().await, "later 3");
    new.say("3 here").await;
    assert_eq!(later.await.unwrap().0.as_deref(), Ok("here"));
    assert_eq!(requests.pending(), 0);
    observing.abort();
}

/// §2a: a peer that does not answer the close frame holds the hand-over up for a close deadline, not longer.
#[tokio::test(start_paused = true)]
async fn rule_2a_a_hand_over_takes_no_longer_than_a_close() {
    let engine = ScriptedEngine::default();
    let (client, mut old) = connected(builder(), &engine).await;
    old.connection().set_answer_close(false);
    client.replace();
    let _new = Server::accept_and_greet(&engine, "b").await;
    let start = Instant::now();
    settle().await;
    let outcome = client.send("waits").await;
    assert_eq!((outcome, start.elapsed().as_secs()), (SendOutcome::Flushed, 5));
    assert_eq!((client.state().generation, engine.live_connections()), (2, 1));
}

/// §2a: what waits for the application is not cut off.
#[tokio::test(start_paused = true)]
async fn rule_2a_what_arrived_on_the_old_one_waits_for_a_slow_application() {
    let engine = ScriptedEngine::default();
    let (client, mut old) = connected(builder(), &engine).await;
    let mut events = client.subscribe_with(4, SubscriberPolicy::BackPressure);
    client.replace();
    let mut new = Server::accept_and_greet(&engine, "b").await;
    settle().await;
    new.say("new").await;
    for n in 0..40 {
        old.say(format!("old {n}")).await;
    }
    sleep(Duration::from_secs(60)).await;
    let mut texts = Vec::new();
    while texts.len() < 41 {
        let event = timeout(Duration::from_secs(60), events.next()).await.expect("an event");
        if let Some(ClientEvent::Event { event: Line::Text(text), .. }) = event {
            texts.push(text);
        }
    }
    let expected: Vec<_> = (0..40).map(|n| format!("old {n}")).chain(["new".to_owned()]).collect();
    assert_eq!(texts, expected);
}

/// §2a: nor is it when the old one can no longer be told to close, or takes nothing more.
#[tokio::test(start_paused = true)]
async fn rule_2a_what_arrived_on_the_old_one_waits_though_writing_to_it_stalls_or_fails() {
    for dies in [false, true] {
        let engine = ScriptedEngine::default().capacity(1);
        let (client, mut old) = connected(builder(), &engine).await;
        let mut events = client.subscribe_with(4, SubscriberPolicy::BackPressure);
        // The one place is taken, so that the close frame has to wait.
        assert_eq!(client.send("unread").await, SendOutcome::Flushed);
        client.replace();
        let _new = Server::accept_and_greet(&engine, "b").await;
        settle().await;
        let mut said = 0_usize;
        while timeout(Duration::from_millis(1), old.say(format!("{said}"))).await.is_ok() {
            said += 1;
        }
        let old = (!dies).then_some(old);
        sleep(Duration::from_secs(60)).await;
        assert_eq!(client.state().generation, 1, "it is not cut off");
        let mut texts = 0;
        loop {
            match timeout(Duration::from_secs(20), events.next()).await.unwrap().unwrap() {
                ClientEvent::Event { generation: 1, event: Line::Text(text) } => {
                    assert_eq!(text, texts.to_string());
                    texts += 1;
                }
                ClientEvent::Replaced { .. } => break,
                _ => {}
            }
        }
        assert!(texts >= said, "{texts} of {said}, dies: {dies}");
        drop(old);
    }
}

/// Invariant 7: a successor to which a write has failed before it took the place of the old one has its end too, though the
/// application does not read.
#[tokio::test(start_paused = true)]
async fn invariant_7_a_failed_write_to_a_successor_is_told_though_the_application_does_not_read() {
    let engine = ScriptedEngine::default();
    let builder = builder().on_connection_established(|handle| async move {
        if handle.attempt().replaces.is_some() {
            sleep(Duration::from_secs(1)).await;
            handle.send("late");
        }
        Ok(())
    });
    let (client, mut old) = connected(builder, &engine).await;
    let mut events = client.subscribe_with(4, SubscriberPolicy::BackPressure);
    old.connection().set_answer_close(false);
    client.replace();
    let mut new = Server::accept_and_greet(&engine, "b").await;
    for n in 0..40 {
        new.say(format!("new {n}")).await;
    }
    drop(new);
    // The hand-over takes 5 s; in its course the write fails.
    sleep(Duration::from_secs(6)).await;
    assert_eq!((client.state().generation, client.state().state.is_connected()), (2, true));
    let start = Instant::now();
    let outcome = timeout(Duration::from_secs(3600), client.send("x")).await.expect("an outcome");
    assert!(matches!(outcome, SendOutcome::NotSent(_) | SendOutcome::MaybeSent), "{outcome:?}");
    assert_eq!(start.elapsed().as_secs(), 9, "10 s from the hand-over");
    let seen = seen(&mut events);
    assert_eq!(seen.last().map(String::as_str), Some("Disconnected 2"), "{seen:?}");
    assert!(seen.contains(&"2 hello b".to_owned()), "{seen:?}");
}

/// §8.6: the work of `on_connected` ends with the connection that was replaced.
#[tokio::test(start_paused = true)]
async fn rule_2a_the_scope_of_the_old_connection_ends_and_a_new_one_begins() {
    struct Ends(u64, Arc<Mutex<Vec<String>>>);
    impl Drop for Ends {
        fn drop(&mut self) {
            self.1.lock().unwrap().push(format!("end {}", self.0));
        }
    }
    let engine = ScriptedEngine::default();
    let log = Arc::new(Mutex::new(Vec::new()));
    let hook = Arc::clone(&log);
    let builder = builder().on_connected(move |scope| {
        hook.lock().unwrap().push(format!("begin {}", scope.generation()));
        let ends = Ends(scope.generation(), Arc::clone(&hook));
        async move {
            let _ends = ends;
            std::future::pending::<()>().await;
        }
    });
    let (client, mut old) = connected(builder, &engine).await;
    client.replace();
    let _new = Server::accept_and_greet(&engine, "b").await;
    assert_eq!(old.close_code().await, Some(4002));
    settle().await;
    assert_eq!(*log.lock().unwrap(), ["begin 1", "end 1", "begin 2"]);
}

/// §2a: the old one stays, nobody hears of a disconnection, the failure is told, the provider too.
#[tokio::test(start_paused = true)]
async fn rule_2a_a_failed_successor_is_told_and_costs_nothing() {
    let engine = ScriptedEngine::new([Step::accept(), Step::fail(EngineErrorKind::Connect)]);
    let refused = Arc::new(Mutex::new(Vec::new()));
    let asked = Arc::clone(&refused);
    let builder = builder().credentials(credentials_fn(move |attempt| {
        asked.lock().unwrap().push((attempt.replaces, attempt.refused.is_some()));
        async move { Ok(Credentials::new(format!("token {}", attempt.generation))) }
    }));
    let (client, mut old) = connected(builder, &engine).await;
    let mut events = client.subscribe();
    client.replace();
    settle().await;
    assert_eq!(seen(&mut events), ["failed 2 ServerInitiated"]);

    client.replace();
    let mut new = Server::accept(&engine).await;
    new.say("error 40 401 expired").await;
    settle().await;
    let failed = seen(&mut events);
    assert!(failed[0].starts_with("Event { generation: 3, event: Error("), "{failed:?}");
    assert_eq!(failed[1..], ["failed 3 ServerInitiated"]);

    client.replace();
    let _hangs = Server::accept(&engine).await;
    sleep(Duration::from_secs(11)).await;
    assert_eq!(seen(&mut events), ["failed 4 ConnectTimeout"]);
    assert_eq!(
        *refused.lock().unwrap(),
        [(None, false), (Some(1), false), (Some(1), false), (Some(1), true)]
    );

    old.say("alive").await;
    settle().await;
    assert_eq!(seen(&mut events), ["1 alive"]);
    assert_eq!((client.state().generation, engine.live_connections()), (1, 1));
    assert_eq!((client.health().failed_replacements, client.health().replacements), (3, 0));
}

/// §2a: the successor of a connection that dies is the attempt under way: there is no second dial.
#[tokio::test(start_paused = true)]
async fn rule_2a_a_connection_that_dies_meanwhile_leaves_its_place_to_the_successor() {
    let engine = ScriptedEngine::default();
    let (client, mut old) = connected(builder(), &engine).await;
    let mut events = client.subscribe();
    client.replace();
    let mut new = Server::accept(&engine).await;
    let held = client.queue(Outgoing::from("held").hold(Duration::from_secs(60))).await;
    assert_eq!(held.await, SendOutcome::Flushed);
    old.close(CloseCode::RESTART, "").await;
    settle().await;
    assert_eq!(seen(&mut events), ["Disconnected 1", "Connecting 2", "Authenticating 2"]);
    let held = client.queue(Outgoing::from("held").hold(Duration::from_secs(60))).await;
    client.reconnect();
    sleep(Duration::from_secs(2)).await;
    new.say("hello b").await;
    settle().await;
    let after = seen(&mut events);
    assert_eq!(after[0], "Connected 2");
    assert!(after[1].starts_with("reconnected Some(\"a\") Some(\"b\") 2."), "{after:?}");
    assert_eq!(new.text().await, "held");
    assert_eq!(held.await, SendOutcome::Flushed);
    assert_eq!((engine.attempts(), client.health().attempts), (2, 2));

    // Also while it dials.
    engine.push(Step::accept().after(Duration::from_secs(3)));
    client.replace();
    settle().await;
    assert_eq!(engine.dialling(), 1);
    drop(new);
    settle().await;
    assert_eq!(client.state().state.name(), "Connecting");
    let _newest = Server::accept_and_greet(&engine, "c").await;
    assert_eq!(client.connect().await.unwrap().connection_id.as_deref(), Some("c"));
    assert_eq!(engine.attempts(), 3);
}

/// Invariant 6: a user's disconnect ends both at once.
#[tokio::test(start_paused = true)]
async fn invariant_6_a_users_disconnect_ends_both() {
    for ready in [false, true] {
        let engine = ScriptedEngine::default();
        let (client, mut old) = connected(builder(), &engine).await;
        client.replace();
        let mut new = Server::accept(&engine).await;
        if ready {
            old.connection().set_answer_close(false);
            new.say("hello b").await;
            settle().await;
        }
        let (_, code, none) = tokio::join!(client.disconnect(), old.close_code(), new.close_code());
        assert_eq!((code, none), (Some(if ready { 4002 } else { 1000 }), None));
        sleep(Duration::from_secs(60)).await;
        assert_eq!((engine.live_connections(), client.state().generation), (0, 1));
        assert!(!client.state().wanted);
    }
}

/// §2a: off by default.
#[tokio::test(start_paused = true)]
async fn rule_2a_is_off_by_default() {
    let engine = ScriptedEngine::default();
    let (client, mut server) = connected(Client::builder("ws://server.test", Lines), &engine).await;
    let mut events = client.subscribe();
    client.replace();
    server.say("leaving 30").await;
    settle().await;
    assert!(!client.state().can_replace);
    assert_eq!(engine.attempts(), 1);
    assert_eq!(client.state().going_away, Some(Duration::from_secs(30)));
    let suggested = |event: &String| event == "ReconnectSuggested";
    assert_eq!(seen(&mut events).iter().filter(|event| suggested(event)).count(), 1);
}

/// A server that serves all its connections, numbers what it says, and writes down what it hears.
#[derive(Default)]
struct Hall {
    newest: u64,
    said: u64,
    heard: Vec<u64>,
    codes: Vec<u16>,
}

async fn serve(engine: ScriptedEngine, hall: Arc<Mutex<Hall>>) {
    loop {
        let mut server = Server::accept(&engine).await;
        let hall = Arc::clone(&hall);
        tokio::spawn(async move {
            let own = {
                let mut hall = hall.lock().unwrap();
                hall.newest += 1;
                hall.newest
            };
            server.say(format!("hello {own}")).await;
            loop {
                match timeout(Duration::from_millis(1 + own % 3), server.next()).await {
                    Ok(Some(Message::Text(text))) => hall.lock().unwrap().heard.push(text.parse().unwrap()),
                    Ok(Some(Message::Close(Some(frame)))) => {
                        hall.lock().unwrap().codes.push(frame.code.get());
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => return,
                    // News goes to the newest connection, from its first moment.
                    Err(_) => {
                        let number = {
                            let mut hall = hall.lock().unwrap();
                            let newest = hall.newest == own;
                            hall.said += u64::from(newest);
                            newest.then(|| hall.said - 1)
                        };
                        if let Some(number) = number {
                            server.say(number.to_string()).await;
                        }
                    }
                }
            }
        });
    }
}

/// §2a: nothing is lost, twice or out of order in either direction, although nobody acknowledges anything.
#[tokio::test(start_paused = true)]
async fn rule_2a_a_hundred_replacements_under_traffic_lose_nothing() {
    let engine = ScriptedEngine::default().capacity(16);
    let hall = Arc::<Mutex<Hall>>::default();
    let servers = tokio::spawn(serve(engine.clone(), Arc::clone(&hall)));
    let client = builder().build(engine.clone()).unwrap();
    let mut events = client.subscribe();
    client.connect().await.unwrap();

    let sender = client.clone();
    let talking = tokio::spawn(async move {
        let mut receipts = Vec::new();
        for n in 0..4_000_u64 {
            receipts.push(sender.queue(n.to_string()).await);
            if n % 3 == 0 {
                sleep(Duration::from_millis(1)).await;
            }
        }
        for receipt in receipts {
            assert_eq!(receipt.await, SendOutcome::Flushed);
        }
    });
    let (mut heard, mut replaced) = (Vec::new(), 0);
    client.replace();
    while replaced < 100 {
        match timeout(Duration::from_secs(60), events.next()).await.expect("an event").unwrap() {
            ClientEvent::Event { event: Line::Text(text), .. } => heard.push(text.parse::<u64>().unwrap()),
            ClientEvent::Replaced { .. } => {
                replaced += 1;
                let client = client.clone();
                tokio::spawn(async move {
                    sleep(Duration::from_millis(9)).await;
                    client.replace();
                });
            }
            ClientEvent::State(snapshot) => {
                assert!(snapshot.generation == 1 || snapshot.state.is_connected());
            }
            _ => {}
        }
    }
    drop(events); // or the server, which does not read while it waits to be heard, would wait for us
    talking.await.unwrap();
    settle().await;
    servers.abort();
    let hall = hall.lock().unwrap();
    assert!(heard.iter().copied().eq(0..heard.len() as u64), "{heard:?}");
    assert!(heard.len() > 100);
    assert!(hall.heard.iter().copied().eq(0..4_000), "{:?}", hall.heard);
    assert!(hall.codes.len() >= 100 && hall.codes.iter().all(|code| *code == 4002));
    assert_eq!(engine.most_live_connections(), 2);
}

/// One side of a session that numbers and acknowledges: `m N TEXT`, `a N`, and `r N` when a connection begins.
struct Session {
    sender: ReliableSender<String>,
    receiver: ReliableReceiver<String>,
    inbox: Vec<String>,
}

impl Session {
    fn new() -> Self {
        let limits = ReliableLimits::default().with_messages(100_000);
        Self {
            sender: ReliableSender::new(limits),
            receiver: ReliableReceiver::new(limits),
            inbox: Vec::new(),
        }
    }

    fn say(&mut self, text: &str) -> String {
        let number = self.sender.push(text.to_owned(), text.len()).unwrap();
        format!("m {number} {text}")
    }

    fn hello(&self) -> String {
        format!("r {}", self.receiver.ack())
    }

    /// What is to be answered.
    fn hear(&mut self, line: &str) -> Vec<String> {
        let mut words = line.splitn(3, ' ');
        let (kind, number) = (words.next().unwrap(), words.next().unwrap().parse().unwrap());
        match kind {
            "m" => {
                self.receiver.receive(number, words.next().unwrap().to_owned());
                while let Some((_, text)) = self.receiver.pop() {
                    self.inbox.push(text);
                }
                return vec![format!("a {}", self.receiver.ack())];
            }
            "a" => drop(self.sender.acked(number)),
            _ => {
                self.sender.resume(number).unwrap();
                return self.sender.unacked().map(|(n, text)| format!("m {n} {text}")).collect();
            }
        }
        Vec::new()
    }
}

/// §2a with `reliable`: a server that now and then cuts either connection in the middle of it all.
#[tokio::test(start_paused = true)]
async fn rule_2a_a_hundred_replacements_with_acknowledgements_deliver_each_once() {
    const EACH: u64 = 2_000;
    let engine = ScriptedEngine::default();
    let theirs = Arc::new(Mutex::new(Session::new()));
    let (there, newest) = (Arc::clone(&theirs), Arc::new(AtomicU64::new(0)));
    let accepting = engine.clone();
    let servers = tokio::spawn(async move {
        let mut random = fastrand::Rng::with_seed(5);
        loop {
            let mut server = Server::accept(&accepting).await;
            let own = newest.fetch_add(1, Ordering::Relaxed) + 1;
            let (session, newest, mut random) = (Arc::clone(&there), Arc::clone(&newest), random.fork());
            tokio::spawn(async move {
                server.say(format!("hello {own}")).await;
                let resume = session.lock().unwrap().hello();
                server.say(resume).await;
                loop {
                    match timeout(Duration::from_millis(1), server.next()).await {
                        Ok(Some(Message::Text(text))) => {
                            let answers = session.lock().unwrap().hear(&text);
                            for answer in answers {
                                server.say(answer).await;
                            }
                        }
                        Ok(Some(_)) => {}
                        Ok(None) => return,
                        Err(_) => {
                            let next = {
                                let mut session = session.lock().unwrap();
                                let said = session.sender.sent();
                                let due = said < EACH && newest.load(Ordering::Relaxed) == own;
                                due.then(|| session.say(&format!("s{said}")))
                            };
                            if let Some(next) = next {
                                server.say(next).await;
                            }
                            if random.u8(0..60) == 0 {
                                return; // without a close frame
                            }
                        }
                    }
                }
            });
        }
    });

    let client = builder().build(engine.clone()).unwrap();
    let mut events = client.subscribe();
    let mut ours = Session::new();
    client.connect().await.unwrap();
    let (mut asked, mut replaced) = (0, 0);
    let mut pace = tokio::time::interval(Duration::from_millis(1));
    let start = Instant::now();
    loop {
        tokio::select! {
            event = events.next() => match event.unwrap() {
                ClientEvent::State(snapshot) if snapshot.state.is_connected() => {
                    drop(client.try_send(ours.hello()));
                }
                ClientEvent::State(snapshot) if matches!(snapshot.state, ConnectionState::Disconnected(_)) => {
                    client.reconnect();
                }
                ClientEvent::Event { event: Line::Text(text), .. } => {
                    for answer in ours.hear(&text) {
                        drop(client.try_send(answer));
                    }
                }
                ClientEvent::Replaced { .. } => replaced += 1,
                _ => {}
            },
            _ = pace.tick() => {
                if ours.sender.sent() < EACH {
                    let said = ours.sender.sent();
                    drop(client.try_send(ours.say(&format!("c{said}"))));
                }
                asked += 1;
                if asked % 12 == 0 {
                    client.replace();
                }
            }
        }
        let done = ours.inbox.len() as u64 >= EACH && theirs.lock().unwrap().inbox.len() as u64 >= EACH;
        if done && replaced >= 100 {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(600), "{replaced} {}", ours.inbox.len());
    }
    servers.abort();
    assert!(ours.inbox.iter().cloned().eq((0..EACH).map(|n| format!("s{n}"))), "{:?}", ours.inbox);
    assert!(theirs.lock().unwrap().inbox.iter().cloned().eq((0..EACH).map(|n| format!("c{n}"))));
    assert!(engine.most_live_connections() <= 2);
}
