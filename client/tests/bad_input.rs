//! Bad input: settings, decoders, messages and peers that are not as they should be. Each is named, contained, and
//! bounded.

#![expect(clippy::disallowed_methods, reason = "a test reads its virtual clock")]

use std::time::Duration;

use bytes::Bytes;
use everwire_client::{
    ApiError, AuthenticationError, AuthenticationErrorKind, Client, ClientBuilder, ClientEvent, CloseCode,
    CloseFrame, ConnectedOn, DecodeErrorKind, DisconnectionSource, EngineErrorKind, Message, PingConfig,
    PingRequest, RawDecoder, SendLimits, SendOutcome, decoder_fn,
    testing::{Line, Lines, Server},
};
use everwire_engine::{
    EngineError, Refusal, TungsteniteEngine,
    testing::{ScriptedEngine, Step},
};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{
    net::TcpListener,
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::tungstenite;

fn builder() -> ClientBuilder<Lines> {
    Client::builder("ws://server.test/live", Lines)
}

/// Every setting that cannot work is refused when the client is built, by its name.
#[tokio::test]
async fn every_setting_that_cannot_work_is_refused_and_named() {
    type Change = fn(ClientBuilder<Lines>) -> ClientBuilder<Lines>;
    let changes: [(&str, &str, Change); 6] = [
        ("open_timeout", "no attempt", |builder| builder.open_timeout(Duration::ZERO)),
        ("authentication_timeout", "authenticated", |builder| builder.authentication_timeout(Duration::ZERO)),
        ("close_timeout", "answer a close frame", |builder| builder.close_timeout(Duration::ZERO)),
        ("write_timeout", "wait", |builder| builder.write_timeout(Duration::ZERO)),
        ("credential_timeout", "provider", |builder| builder.credential_timeout(Duration::ZERO)),
        ("send_limits", "queued", |builder| builder.send_limits(SendLimits::default().with_messages(0))),
    ];
    for (field, why, change) in changes {
        let error = change(builder()).build(ScriptedEngine::default()).unwrap_err();
        assert_eq!(error.field(), field);
        assert!(error.to_string().contains(field) && error.reason().contains(why), "{error}");
    }
}

/// What contradicts itself is refused too, with a word on what to do instead.
#[tokio::test]
async fn settings_that_contradict_each_other_are_refused_with_the_remedy() {
    let raw = || Client::builder("ws://server.test/live", RawDecoder);
    let any = PingConfig::builder().any_inbound_counts(true).build().unwrap();
    let refused = [
        (raw().build(ScriptedEngine::default()).unwrap_err(), "connected_on", "protocol_pings()"),
        (
            raw().connected_on(ConnectedOn::Open).build(ScriptedEngine::default()).unwrap_err(),
            "ping",
            "PingRequest::Frame",
        ),
        (
            builder()
                .ping_request_builder(|_| "?")
                .protocol_pings()
                .build(ScriptedEngine::default())
                .unwrap_err(),
            "ping_request_builder",
            "leave one of them out",
        ),
        (
            builder()
                .ping(PingRequest::Off)
                .ping_request_builder(|_| "?")
                .build(ScriptedEngine::default())
                .unwrap_err(),
            "ping_request_builder",
            "leave one of them out",
        ),
        (
            builder()
                .on_credentials_renewed(|_| async { Ok(()) })
                .build(ScriptedEngine::default())
                .unwrap_err(),
            "on_credentials_renewed",
            "credentials(…)",
        ),
    ];
    for (error, field, remedy) in refused {
        assert_eq!(error.field(), field);
        assert!(error.reason().contains(remedy), "{error}");
        assert_eq!(error.to_string(), format!("the client cannot be built: {field}: {}", error.reason()));
    }
    let open = || raw().connected_on(ConnectedOn::Open);
    for good in [
        raw().protocol_pings(),
        open().ping(PingRequest::Off),
        open().ping_config(any),
        open().ping_request_builder(|_| Message::Ping("?".into())),
    ] {
        good.build(ScriptedEngine::default()).unwrap();
    }
}

/// Who reads the error alone learns what is wrong with the URL.
#[tokio::test]
async fn a_bad_url_is_named_in_the_error_itself() {
    let error = Client::builder("http://x", Lines).build(ScriptedEngine::default()).unwrap_err();
    assert_eq!(error.field(), "url");
    assert!(error.to_string().contains("http") && error.to_string().contains("wss"), "{error}");
}

/// A hook may use `?` on whatever it calls, and an error of ours stays what it is.
#[tokio::test(start_paused = true)]
async fn rule_2_a_hook_returns_any_error() {
    type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;
    type Hook = fn(&str) -> Outcome;
    let (parses, refuses): (Hook, Hook) = (
        |token| {
            token.parse::<u32>()?;
            Ok(())
        },
        |_| Err(AuthenticationError::refused(ApiError::new(40, "expired")))?,
    );
    for (hook, kind) in
        [(parses, AuthenticationErrorKind::Failed), (refuses, AuthenticationErrorKind::Refused)]
    {
        let engine = ScriptedEngine::default();
        let builder = builder().on_connection_established(move |_| async move { hook("no number") });
        let client = builder.build(engine.clone()).unwrap();
        let (outcome, _server) = tokio::join!(client.connect(), Server::accept(&engine));
        let error = outcome.unwrap_err();
        let DisconnectionSource::AuthenticationFailed(error) = &error.source else { panic!("{error:?}") };
        assert_eq!(error.kind(), kind);
        let is_parse_error = std::error::Error::source(error)
            .is_some_and(<dyn std::error::Error>::is::<std::num::ParseIntError>);
        assert_eq!(is_parse_error, kind == AuthenticationErrorKind::Failed, "{error:?}");
    }
}

/// §8.14: a close frame that may not be sent is not sent, nor is the close: the default frame is.
#[tokio::test(start_paused = true)]
async fn rule_8_14_a_close_frame_of_the_applications_that_may_not_be_sent_gives_way_to_the_default() {
    let long = "x".repeat(CloseFrame::MAX_REASON + 1);
    for frame in [
        CloseFrame { code: CloseCode::ABNORMAL, reason: "".into() },
        CloseFrame { code: CloseCode::received(2000), reason: "".into() },
        CloseFrame { code: CloseCode::NORMAL, reason: long.into() },
    ] {
        let engine = ScriptedEngine::default();
        let client = builder().close_codes(move |_| frame.clone()).build(engine.clone()).unwrap();
        let (outcome, mut server) = tokio::join!(client.connect(), Server::accept_and_greet(&engine, "a"));
        outcome.unwrap();
        let start = Instant::now();
        let (disconnection, code) = tokio::join!(client.disconnect(), server.close_code());
        assert_eq!(code, Some(1000));
        assert_eq!(disconnection.source.name(), "UserInitiated");
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    }
}

/// §2: a decoder that panics rejects that one message; who asked for rejects sees them, in order with the rest.
#[tokio::test(start_paused = true)]
async fn rule_2_a_decoder_that_panics_rejects_one_message_and_the_connection_stays() {
    let engine = ScriptedEngine::default();
    let decoder = decoder_fn(|message: &Message| {
        assert_ne!(message.as_text(), Some("boom"), "as the test wants");
        if message.as_text() == Some("garbage") {
            return Err(DecodeErrorKind::Syntax.into());
        }
        Ok(Some(everwire_client::RawEvent(message.clone())))
    });
    let client =
        Client::builder("ws://server.test/live", decoder).protocol_pings().build(engine.clone()).unwrap();
    let mut plain = client.subscribe();
    let mut rejects = client.subscribe().with_rejects();
    let (_, mut server) = tokio::join!(client.connect(), Server::accept(&engine));
    for text in ["one", "boom", "garbage", "two"] {
        server.say(text).await;
    }
    sleep(Duration::from_millis(1)).await;
    let mut seen = Vec::new();
    while let Ok(Some(event)) = timeout(Duration::from_millis(1), rejects.next()).await {
        match event {
            ClientEvent::Event { event, .. } => seen.push(event.0.as_text().unwrap().to_owned()),
            ClientEvent::Rejected { reject, .. } => seen.push(format!("{:?}", reject.error.kind())),
            _ => {}
        }
    }
    assert_eq!(seen, ["one", "Panicked", "Syntax", "two"]);
    while let Ok(Some(event)) = timeout(Duration::from_millis(1), plain.next()).await {
        assert!(!matches!(event, ClientEvent::Rejected { .. }), "nobody asked for rejects here");
    }
    assert_eq!(client.health().rejects, 2);
    assert_eq!(client.state().state.name(), "Connected");
}

/// §1: a message over the limit ends the connection with an error that says so, and the peer is told 1009.
#[tokio::test]
async fn rule_1_a_message_over_the_limit_is_an_error_that_says_so_and_the_peer_is_told_1009() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        socket.next().await.unwrap().unwrap();
        socket.send(tungstenite::Message::binary(vec![7; 5000])).await.unwrap();
        loop {
            match socket.next().await {
                Some(Ok(tungstenite::Message::Close(frame))) => {
                    break frame.map(|frame| u16::from(frame.code));
                }
                Some(Ok(_)) => {}
                _ => break None,
            }
        }
    });
    let engine = TungsteniteEngine::builder().max_message_size(4096).build().unwrap();
    let client = Client::builder(&url, RawDecoder).protocol_pings().build(engine).unwrap();
    let mut snapshots = client.snapshots();
    client.connect().await.unwrap();
    assert_eq!(client.send("go on").await, SendOutcome::Flushed);
    let ended = async {
        loop {
            let snapshot = snapshots.next().await.unwrap();
            if let Some(source) = snapshot.state.source() {
                break source.clone();
            }
        }
    };
    let source = timeout(Duration::from_secs(10), ended).await.unwrap();
    let error = source.server_reason().unwrap().engine_error.clone().unwrap();
    assert!(matches!(error.kind(), EngineErrorKind::TooLarge { max: 4096, .. }), "{error}");
    assert_eq!(server.await.unwrap(), Some(1009));
}

/// Invariant 9: a peer that answers nothing cannot keep the task of a client whose handles are gone.
#[tokio::test(start_paused = true)]
async fn invariant_9_after_the_last_handle_no_task_is_left_though_the_peer_is_silent() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let engine = ScriptedEngine::default();
    let client = builder().build(engine.clone()).unwrap();
    let (_, mut server) = tokio::join!(client.connect(), Server::accept_and_greet(&engine, "a"));
    server.connection().set_answer_close(false);
    assert_eq!(tasks(), before + 1, "one task is all that runs");
    let start = Instant::now();
    drop(client);
    while tasks() > before {
        sleep(Duration::from_millis(10)).await;
        assert!(start.elapsed() < Duration::from_millis(7_100), "flush and close deadlines are 2 s and 5 s");
    }
    assert_eq!(engine.live_connections(), 0);
}

/// §2: calls that come together wait for one attempt, and have its outcome; when connected, they return at once.
#[tokio::test(start_paused = true)]
async fn rule_2_connects_join_the_attempt_under_way_and_return_at_once_when_connected() {
    let engine = ScriptedEngine::default();
    let client = builder().build(engine.clone()).unwrap();
    let server = async {
        let mut server = Server::accept(&engine).await;
        sleep(Duration::from_secs(3)).await;
        server.say("hello a").await;
        server
    };
    let late = async {
        sleep(Duration::from_secs(1)).await;
        client.connect().await
    };
    let (first, second, _server) = tokio::join!(client.connect(), late, server);
    assert_eq!(first.unwrap(), second.unwrap());
    let start = Instant::now();
    client.connect().await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(engine.attempts(), 1);
}

/// §8.3: a connection that is not the first tells old id, new id, and how long there was none.
#[tokio::test(start_paused = true)]
async fn rule_8_3_a_reconnection_tells_old_and_new_id_and_the_gap() {
    let engine = ScriptedEngine::default();
    let client = builder().build(engine.clone()).unwrap();
    let mut events = client.subscribe();
    let (_, server) = tokio::join!(client.connect(), Server::accept_and_greet(&engine, "a"));
    drop(server);
    sleep(Duration::from_secs(7)).await;
    let (_, _server) = tokio::join!(client.connect(), Server::accept_and_greet(&engine, "b"));
    let reconnected = async {
        loop {
            if let Some(ClientEvent::Reconnected { old_connection_id, new_connection_id, gap }) =
                events.next().await
            {
                break (old_connection_id, new_connection_id, gap.as_secs());
            }
        }
    };
    let told = timeout(Duration::from_secs(1), reconnected).await.unwrap();
    assert_eq!(told, (Some("a".to_owned()), Some("b".to_owned()), 7));
}

/// §1: the close codes are the application's to choose, by the reason.
#[tokio::test(start_paused = true)]
async fn rule_1_the_close_frame_is_the_applications_choice() {
    let engine = ScriptedEngine::default();
    let choose = |source: &DisconnectionSource| match source {
        DisconnectionSource::UserInitiated => CloseFrame::new(4100, "left for lunch").unwrap(),
        _ => CloseFrame::new(CloseCode::NORMAL.get(), "").unwrap(),
    };
    let client: Client<Line> = builder().close_codes(choose).build(engine.clone()).unwrap();
    let (_, mut server) = tokio::join!(client.connect(), Server::accept_and_greet(&engine, "a"));
    let (_, code) = tokio::join!(client.disconnect(), server.close_code());
    assert_eq!(code, Some(4100));
    assert!(CloseFrame::new(1006, "").is_err(), "a code that is never sent is refused when it is given");
}

/// §8.4: what ended a connection is told fact by fact: the source, the close code with its words, the API's error, and
/// the HTTP status of a refused upgrade.
#[tokio::test(start_paused = true)]
async fn rule_8_4_a_disconnection_tells_source_close_code_api_error_and_status_apart() {
    let headers = [(http::header::RETRY_AFTER, http::HeaderValue::from_static("7"))].into_iter().collect();
    let refusal = Refusal::new(http::StatusCode::SERVICE_UNAVAILABLE, headers, Bytes::new());
    let engine = ScriptedEngine::new([Step::fail(EngineError::refused(refusal))]);
    let client = builder().build(engine.clone()).unwrap();
    let source = client.connect().await.unwrap_err().source;
    assert_eq!(source.name(), "ServerInitiated");
    let reason = source.server_reason().unwrap();
    assert_eq!(
        (reason.http_status(), reason.close.as_ref(), reason.api_error.as_ref()),
        (Some(503), None, None)
    );
    assert_eq!(reason.refusal().unwrap().headers["retry-after"], "7");

    let mut events = client.subscribe();
    let (_, mut server) = tokio::join!(client.connect(), Server::accept_and_greet(&engine, "a"));
    server.say("error 17 403 not allowed").await;
    server.close(CloseCode::received(4403), "go away").await;
    let told = async {
        loop {
            if let Some(ClientEvent::State(snapshot)) = events.next().await
                && let Some(source) =
                    snapshot.state.source().filter(|_| snapshot.state.name() == "Disconnected")
            {
                break source.clone();
            }
        }
    };
    let source = timeout(Duration::from_secs(1), told).await.unwrap();
    let reason = source.server_reason().unwrap();
    assert_eq!(
        (reason.close_code().get(), reason.close.as_ref().unwrap().reason.as_str()),
        (4403, "go away")
    );
    let error = reason.api_error.as_ref().unwrap();
    assert_eq!((error.code, error.status, error.message.as_str()), (17, Some(403), "not allowed"));
    assert_eq!((reason.http_status(), reason.engine_error.as_ref().map(ToString::to_string)), (None, None));
}
