//! What the client and its engine tell to `tracing`: one span per attempt with its fields, and never a secret.

#![expect(
    clippy::result_large_err,
    clippy::unwrap_used,
    reason = "a test may panic, and the library wants it large"
)]

use std::{
    collections::HashMap,
    fmt::{Debug, Write as _},
    sync::{Arc, Mutex},
    time::Duration,
};

use everwire_client::{
    Client, ClientBuilder, CloseCode, ConnectRequest, Credentials, EngineErrorKind, RawDecoder,
    credentials_fn,
    testing::{Lines, Server},
};
use everwire_engine::{
    TungsteniteEngine,
    testing::{ScriptedEngine, Step},
};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{net::TcpListener, time::sleep};
use tokio_tungstenite::tungstenite;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, layer::Context, prelude::*, registry::LookupSpan};

/// Keeps all that is told, at every level and from everybody.
#[derive(Clone, Default)]
struct Capture(Arc<Mutex<Captured>>);

#[derive(Default)]
struct Captured {
    /// Every word of every span, record and event.
    text: String,
    /// Each span's name, the names of those around it, and every value that its fields had.
    spans: HashMap<u64, Told>,
    /// The order in which spans were opened.
    order: Vec<u64>,
}

#[derive(Clone, Default)]
struct Told {
    name: &'static str,
    parents: Vec<&'static str>,
    fields: Vec<(&'static str, String)>,
    closed: bool,
}

impl Told {
    fn values(&self, field: &str) -> Vec<&str> {
        self.fields.iter().filter(|(name, _)| *name == field).map(|(_, value)| value.as_str()).collect()
    }
}

struct Fields<'a>(&'a mut Vec<(&'static str, String)>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push((field.name(), format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), value.to_owned()));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Capture {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut told = Told { name: attributes.metadata().name(), ..Told::default() };
        attributes.record(&mut Fields(&mut told.fields));
        let scope = context.span(id).unwrap();
        told.parents = scope.scope().skip(1).map(|span| span.name()).collect();
        let mut captured = self.0.lock().unwrap();
        writeln!(captured.text, "{} {:?}", told.name, told.fields).unwrap();
        captured.order.push(id.into_u64());
        // The registry uses ids again; what is closed is kept under another key.
        if let Some(old) = captured.spans.remove(&id.into_u64()) {
            let key = u64::MAX - captured.spans.len() as u64;
            let at = captured.order.iter().position(|known| *known == id.into_u64()).unwrap();
            captured.order[at] = key;
            captured.spans.insert(key, old);
        }
        captured.spans.insert(id.into_u64(), told);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut fields = Vec::new();
        values.record(&mut Fields(&mut fields));
        let mut captured = self.0.lock().unwrap();
        writeln!(captured.text, "{fields:?}").unwrap();
        captured.spans.get_mut(&id.into_u64()).unwrap().fields.extend(fields);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Vec::new();
        event.record(&mut Fields(&mut fields));
        let scope = context.event_scope(event).map(|scope| scope.map(|span| span.name()).collect::<Vec<_>>());
        let mut captured = self.0.lock().unwrap();
        writeln!(captured.text, "{} {fields:?} in {scope:?}", event.metadata().target()).unwrap();
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        self.0.lock().unwrap().spans.get_mut(&id.into_u64()).unwrap().closed = true;
    }
}

impl Capture {
    fn begin(&self) -> tracing::subscriber::DefaultGuard {
        tracing::subscriber::set_default(tracing_subscriber::registry().with(self.clone()))
    }

    /// All spans of this name, in the order in which they were opened.
    fn spans(&self, name: &str) -> Vec<Told> {
        let captured = self.0.lock().unwrap();
        captured.order.iter().map(|id| captured.spans[id].clone()).filter(|told| told.name == name).collect()
    }
}

async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

/// §8.12: each attempt has its span with generation, cause, stage and end.
#[tokio::test(start_paused = true)]
async fn rule_8_12_each_attempt_has_a_span_with_generation_cause_stage_and_end() {
    let capture = Capture::default();
    let _guard = capture.begin();
    let engine = ScriptedEngine::new([Step::fail(EngineErrorKind::Connect), Step::accept(), Step::hang()]);
    let client = Client::builder("ws://server.test/live", Lines)
        .credentials(Credentials::new("t"))
        .build(engine.clone())
        .unwrap();
    assert!(client.connect().await.is_err());
    client.reconnect_because("network_up");
    let mut server = Server::accept_and_greet(&engine, "a").await;
    client.connected().await.unwrap();
    server.close(CloseCode::RESTART, "").await;
    settle().await;
    client.reconnect();
    settle().await;
    client.disconnect().await;
    settle().await;

    let attempts = capture.spans("attempt");
    let told: Vec<_> = attempts
        .iter()
        .map(|told| {
            ["generation", "cause", "after", "stage", "end"].map(|field| told.values(field).join(" "))
        })
        .collect();
    let dialled = "credentials request engine";
    let through = "credentials request engine authentication connected";
    assert_eq!(
        told,
        [
            ["1", "connect", "", dialled, "ServerInitiated"],
            ["2", "network_up", "ServerInitiated", through, "ServerInitiated"],
            ["3", "reconnect", "ServerInitiated", dialled, "UserInitiated"],
        ]
    );
    assert!(attempts.iter().all(|told| told.closed), "a span outlives its attempt");
    // The lifecycle is told inside.
    let text = capture.0.lock().unwrap().text.clone();
    let connected = text.lines().find(|line| line.contains(r#"("to", "Connected")"#)).unwrap();
    assert!(connected.ends_with(r#"in Some(["attempt"])"#), "{connected}");
}

const SECRET: &str = "s3cr3t";

/// Invariant 11, at TRACE: the token in the URL, in a header, in frames both ways, in answers, in credentials, from a
/// real dial to the end; and a refused upgrade, whose answer carries it too.
#[tokio::test]
async fn invariant_11_nothing_secret_is_traced_and_the_engines_spans_are_inside() {
    let capture = Capture::default();
    let _guard = capture.begin();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() {
                socket.send(format!("{SECRET} back").into()).await.unwrap();
            }
        }
        // The second is refused, with words that quote the token.
        let (stream, _) = listener.accept().await.unwrap();
        let refuse = |_: &tungstenite::handshake::server::Request, _| {
            let mut response = http::Response::new(Some(format!("no such token: {SECRET}")));
            *response.status_mut() = http::StatusCode::UNAUTHORIZED;
            response.headers_mut().insert("set-cookie", format!("session={SECRET}").parse().unwrap());
            Err(response)
        };
        assert!(tokio_tungstenite::accept_hdr_async(stream, refuse).await.is_err());
    });

    let url = format!("ws://user:{SECRET}@{address}/live/x?token={SECRET}#{SECRET}");
    let url = url.split('#').next().unwrap();
    let request =
        ConnectRequest::new(url).unwrap().header("authorization", &format!("Bearer {SECRET}")).unwrap();
    let provider = credentials_fn(|_| async { Ok(Credentials::new(SECRET)) });
    let client = ClientBuilder::with_requests(request, RawDecoder)
        .protocol_pings()
        .credentials(provider)
        .on_connection_established(|handle| async move {
            handle.send(format!("auth {}", handle.credentials().unwrap().secret()));
            Ok(())
        })
        .build(TungsteniteEngine::new())
        .unwrap();
    let mut events = client.subscribe();
    client.connect().await.unwrap();
    loop {
        let event = tokio::time::timeout(Duration::from_secs(10), events.next()).await.unwrap().unwrap();
        if let Some(event) = event.into_event() {
            assert_eq!(event.0.as_text(), Some(format!("{SECRET} back").as_str()));
            break;
        }
    }
    client.disconnect().await;
    let refused = client.connect().await.unwrap_err();
    assert_eq!(refused.source.server_reason().unwrap().http_status(), Some(401));
    server.await.unwrap();
    settle().await;

    let stages = capture.spans("stage");
    assert!(stages.len() >= 3, "the engine tells its stages: {}", stages.len());
    for told in capture.spans("connect").iter().chain(&stages) {
        assert_eq!(told.parents.last(), Some(&"attempt"), "{} in {:?}", told.name, told.parents);
    }
    let text = capture.0.lock().unwrap().text.clone();
    assert!(text.contains(&address.to_string()), "the endpoint is named:\n{text}");
    for line in text.lines() {
        assert!(!line.contains(SECRET), "a secret was traced: {line}");
    }
    let printed = format!("{refused} {refused:?} {client:?} {:?}", client.health());
    assert!(!printed.contains(SECRET), "{printed}");
}
