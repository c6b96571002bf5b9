//! Each stage of an attempt has a span of its own, within the attempt's.
#![cfg(feature = "rustls")]
#![expect(clippy::unwrap_used, reason = "a test may unwrap")]

mod common;

use std::{
    fmt::{self, Write},
    sync::{Arc, Mutex},
};

use common::{Authority, echo, serve};
use everwire_engine::{ConnectRequest, Engine, Proxy, Stage, TungsteniteEngine, resolver_fn};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
    subscriber::DefaultGuard,
};

/// The spans in the order in which they begin, each with its fields and the name of the one that it is in.
#[derive(Default)]
struct Spans {
    begun: Mutex<Vec<String>>,
    entered: Mutex<Vec<u64>>,
}

impl Spans {
    fn listen() -> (Arc<Self>, DefaultGuard) {
        let spans = Arc::new(Self::default());
        let guard = tracing::subscriber::set_default(Arc::clone(&spans));
        (spans, guard)
    }
}

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl Subscriber for Spans {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.target().starts_with("everwire_engine")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let depth = self.entered.lock().unwrap().len();
        let mut fields = Fields(format!("{}{}", "  ".repeat(depth), span.metadata().name()));
        span.record(&mut fields);
        let mut begun = self.begun.lock().unwrap();
        begun.push(fields.0);
        Id::from_u64(begun.len() as u64)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, span: &Id) {
        self.entered.lock().unwrap().push(span.into_u64());
    }

    fn exit(&self, _: &Id) {
        self.entered.lock().unwrap().pop();
    }
}

/// A proxy that tunnels to wherever it is asked for.
async fn proxy() -> Proxy {
    let address = serve(async |mut tcp| {
        let mut asked = String::new();
        while !asked.ends_with("\r\n\r\n") {
            asked.push(char::from(tcp.read_u8().await.unwrap()));
        }
        let target = asked.split(' ').nth(1).unwrap();
        let mut server = tokio::net::TcpStream::connect(target).await.unwrap();
        tcp.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let _ = copy_bidirectional(&mut tcp, &mut server).await;
    });
    Proxy::http(&format!("http://{}", address.await)).unwrap()
}

#[tokio::test]
async fn an_attempt_through_everything_has_a_span_for_each_stage() {
    let authority = Authority::new();
    let acceptor = authority.acceptor(&["localhost"], |_| {});
    let server = serve(move |tcp| {
        let acceptor = acceptor.clone();
        async move { echo(acceptor.accept(tcp).await.unwrap()).await }
    })
    .await;
    let engine = TungsteniteEngine::builder()
        .add_root_certificate_pem(authority.pem())
        .only_added_root_certificates()
        .proxy(proxy().await)
        .build()
        .unwrap();
    let url = format!("wss://user:s3cret@localhost:{}/s3cret?s3cret", server.port());
    let (spans, _guard) = Spans::listen();
    engine.connect(ConnectRequest::new(&url).unwrap()).await.unwrap();
    let stages = [Stage::Resolve, Stage::Connect, Stage::Proxy, Stage::Tls, Stage::Upgrade];
    let attempt = format!("connect endpoint=wss://localhost:{}", server.port());
    let expected: Vec<_> =
        std::iter::once(attempt).chain(stages.iter().map(|stage| format!("  stage stage={stage}"))).collect();
    assert_eq!(*spans.begun.lock().unwrap(), expected);
}

/// The span that an operator sees last is the stage that hangs.
#[tokio::test(start_paused = true)]
async fn a_stage_that_hangs_is_the_last_span() {
    let engine =
        TungsteniteEngine::builder().resolver(resolver_fn(|_, _| std::future::pending())).build().unwrap();
    let (spans, _guard) = Spans::listen();
    engine.connect(ConnectRequest::new("ws://h/").unwrap()).await.unwrap_err();
    assert_eq!(*spans.begun.lock().unwrap(), ["connect endpoint=ws://h:80", "  stage stage=resolve"]);
}
