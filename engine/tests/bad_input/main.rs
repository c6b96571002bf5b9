//! Everything that can be wrong with what a user, a name server, a proxy or a server says: each an error of its own
//! that tells where and what. `--no-capture` prints the table. The table of the README is held against it, too.
#![cfg(all(feature = "rustls", unix))]
#![expect(clippy::unwrap_used, reason = "a test may unwrap")]

#[path = "../common/mod.rs"]
mod common;
mod peers;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use common::{Authority, TemporaryDirectory, serve};
use everwire_engine::{
    CloseCode, CloseFrame, ConnectRequest, Connection, Endpoint, Engine, EngineError, Message, Proxy,
    TungsteniteEngine, TungsteniteEngineBuilder, connector_fn, resolver_fn,
};
use futures_util::{SinkExt, StreamExt};
use peers::{alerting, answering, endless, silent, upgrading};

/// Long enough for a busy machine to answer, where something does answer.
const LATE: Duration = Duration::from_millis(300);

/// What was wrong, and what came of it.
struct Case {
    what: &'static str,
    error: EngineError,
}

#[derive(Default)]
struct Cases(Vec<Case>);

impl Cases {
    fn add<T>(&mut self, what: &'static str, outcome: Result<T, EngineError>) {
        let Err(error) = outcome else { panic!("{what} is accepted") };
        self.0.push(Case { what, error });
    }

    async fn attempt(&mut self, what: &'static str, builder: TungsteniteEngineBuilder, url: &str) {
        let engine = builder.build().unwrap();
        let attempt = engine.connect(ConnectRequest::new(url).unwrap());
        // Whatever is wrong, it ends; the machine may be slow.
        let outcome = tokio::time::timeout(Duration::from_secs(20), attempt).await;
        self.add(what, outcome.unwrap_or_else(|_| panic!("{what} keeps us")));
    }
}

fn builder() -> TungsteniteEngineBuilder {
    TungsteniteEngine::builder()
        .add_root_certificate_pem(Authority::new().pem())
        .only_added_root_certificates()
}

fn request(cases: &mut Cases) {
    let url = ConnectRequest::new;
    let request = || url("ws://h/").unwrap();
    for (what, outcome) in [
        ("malformed URL", url("wss://[::1/")),
        ("a blank in the URL", url("wss://a b/")),
        ("control characters in the URL", url("wss://h/\r\nX: y")),
        ("no scheme", url("example.org")),
        ("unsupported scheme", url("https://h/")),
        ("empty host", url("wss://:80/")),
        ("no host", url("wss://")),
        ("userinfo and no host", url("wss://user:s3cret@/")),
        ("port 0", url("wss://h:0/")),
        ("port beyond the last", url("wss://h:65536/")),
        ("port that is no number", url("wss://h:https/")),
        ("a fragment", url("wss://h/#a")),
        ("a URL without end", url(&format!("wss://h/{}", "s3cret".repeat(20_000)))),
        ("a host without end", url(&format!("wss://{}/", "a".repeat(300)))),
        ("control characters in a header", request().header("x-a", "s3cret\r\nX: y")),
        ("control characters in the name of a header", request().header("x-a\r\n", "s3cret")),
        ("an empty name of a header", request().header("", "s3cret")),
        ("a forbidden header", request().header("Sec-WebSocket-Key", "s3cret")),
        ("a header without end", request().header("x-a", &"s3cret".repeat(20_000))),
        ("a subprotocol that is none", request().subprotocol("a,b")),
        ("a subprotocol twice", request().subprotocol("a").unwrap().subprotocol("a")),
    ] {
        cases.add(what, outcome);
    }
    // A map of headers has its own limit, and panics at it.
    let many = (0..40_000).try_fold(request(), |request, _| request.header("a", "b"));
    cases.add("headers without end", many);
}

fn configuration(cases: &mut Cases) {
    for (what, builder) in [
        ("a deadline of zero", builder().upgrade_timeout(Duration::ZERO)),
        ("too many redirects", builder().follow_redirects(6)),
        ("a name that no interface can have", builder().bind_interface("a/b")),
        ("an authority that is no PEM", builder().add_root_certificate_pem("s3cret")),
        ("a pin that is none", builder().pin_spki_sha256("sha256/AAAA")),
    ] {
        cases.add(what, builder.build());
    }
    cases.add("a proxy of an unknown kind", Proxy::http("ftp://user:s3cret@h"));
    cases.add("a proxy by TLS", Proxy::http("https://user:s3cret@h"));
}

async fn way(cases: &mut Cases) {
    let url = "ws://name.invalid:7/";
    let nothing = resolver_fn(|_, _| async { Ok(Vec::new()) });
    cases.attempt("a name without an address", builder().resolver(nothing), url).await;
    let hanging = resolver_fn(|_, _| std::future::pending());
    cases.attempt("a resolver that hangs", builder().resolver(hanging).resolve_timeout(LATE), url).await;

    let (listener, closed) = common::listen().await;
    drop(listener);
    cases.attempt("a closed port", builder(), &format!("ws://{closed}/")).await;
    let other = "::1".parse().unwrap();
    cases
        .attempt(
            "an own address of the other family",
            builder().bind_address(other),
            &format!("ws://{closed}/"),
        )
        .await;
    let directory = TemporaryDirectory::new("bad-input");
    let path = directory.path().join("nobody.sock");
    cases.attempt("a Unix socket that is absent", builder().unix_socket(path), url).await;
    let hanging =
        connector_fn(|_: Endpoint| std::future::pending::<std::io::Result<tokio::io::DuplexStream>>());
    cases.attempt("a connector that hangs", builder().connector(hanging).connect_timeout(LATE), url).await;
}

async fn proxies(cases: &mut Cases) {
    let url = "wss://name.invalid/";
    for (what, answer) in [
        ("a proxy that refuses", &b"HTTP/1.1 502 Bad Gateway\r\n\r\n"[..]),
        ("a proxy that wants credentials", b"HTTP/1.1 407 No\r\n\r\n"),
        ("a proxy that is none", b"SSH-2.0-x\r\n"),
        ("a proxy that wants TLS", b"\x15\x03\x03\x00\x02\x02\x46"),
        ("a proxy that hangs up", b""),
        ("a proxy that speaks for the server", b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 101 Yes\r\n"),
        ("a proxy whose answer is malformed", b"HTTP/1.1 200\r\nno colon\r\n\r\n"),
    ] {
        let proxy = Proxy::http(&format!("http://{}", answering(answer).await)).unwrap();
        cases.attempt(what, builder().proxy(proxy), url).await;
    }
    let proxy =
        Proxy::http(&format!("http://{}", endless(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n").await)).unwrap();
    cases.attempt("a proxy whose answer never ends", builder().proxy(proxy), url).await;
    for (what, answer) in [
        ("a SOCKS proxy that wants credentials", &b"\x05\xff"[..]),
        ("a SOCKS proxy of version 4", b"\x00\x5b"),
        ("a SOCKS proxy that speaks HTTP", b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        ("a SOCKS proxy that is none", b"\x09\x09"),
        ("a SOCKS proxy that lies about the method", b"\x05\x02"),
        ("a SOCKS proxy that refuses", b"\x05\x00\x05\x02\x00\x01\0\0\0\0\0\0"),
        ("a SOCKS proxy with an address of no kind", b"\x05\x00\x05\x00\x00\x09"),
    ] {
        let proxy = Proxy::socks5(&format!("socks5://{}", answering(answer).await)).unwrap();
        cases.attempt(what, builder().proxy(proxy), url).await;
    }
    let (_listener, silent) = silent().await;
    let proxy = Proxy::http(&format!("http://{silent}")).unwrap();
    cases.attempt("a proxy that is silent", builder().proxy(proxy).proxy_timeout(LATE), url).await;
}

async fn tls(cases: &mut Cases) {
    let url = |address: SocketAddr| format!("wss://localhost:{}/", address.port());
    let http = answering(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    cases.attempt("TLS to a plain port", builder(), &url(http)).await;
    cases.attempt("TLS to a port that hangs up", builder(), &url(answering(b"").await)).await;
    let alert = answering(b"\x15\x03\x03\x00\x02\x02\x46").await;
    cases.attempt("a server without our version of TLS", builder(), &url(alert)).await;
    let (_listener, silent) = silent().await;
    cases.attempt("TLS to a silent port", builder().tls_timeout(LATE), &url(silent)).await;
    let local = resolver_fn(move |_, _| async move { Ok(vec![silent]) });
    cases.attempt("a host that no certificate has", builder().resolver(local), "wss://a..b/").await;

    let (authority, stranger) = (Authority::new(), Authority::named("somebody else"));
    let trusting = || {
        TungsteniteEngine::builder().add_root_certificate_pem(authority.pem()).only_added_root_certificates()
    };
    for (what, acceptor) in [
        (
            "an expired certificate",
            authority.acceptor(&["localhost"], |params| params.not_after = rcgen::date_time_ymd(2001, 1, 1)),
        ),
        (
            "a certificate of the future",
            authority.acceptor(&["localhost"], |params| params.not_before = rcgen::date_time_ymd(2101, 1, 1)),
        ),
        ("a certificate of another host", authority.acceptor(&["example.org"], |_| {})),
        ("a certificate of a stranger", stranger.acceptor(&["localhost"], |_| {})),
    ] {
        let server = serve(move |tcp| {
            let acceptor = acceptor.clone();
            async move { drop(acceptor.accept(tcp).await) }
        });
        cases.attempt(what, trusting(), &url(server.await)).await;
    }
    let (good, pin) =
        (authority.acceptor(&["localhost"], |_| {}), "sha256/".to_owned() + &"A".repeat(43) + "=");
    let server = serve(move |tcp| {
        let acceptor = good.clone();
        async move { drop(acceptor.accept(tcp).await) }
    });
    cases.attempt("a key that is not pinned", trusting().pin_spki_sha256(&pin), &url(server.await)).await;

    // The handshake is through, and frames flow.
    let address = alerting(authority.acceptor(&["localhost"], |_| {})).await;
    let engine = trusting().build().unwrap();
    let mut connection = engine.connect(ConnectRequest::new(&url(address)).unwrap()).await.unwrap();
    connection.send("this breaks on its way".into()).await.unwrap();
    let error = connection.next().await.unwrap().unwrap_err();
    assert!(error.to_string().contains("fatal alert: BadRecordMac"), "{error}");
    cases.add("an alert of TLS in mid-stream", Err::<(), _>(error));
}

async fn upgrades(cases: &mut Cases) {
    let url = |address: SocketAddr| format!("ws://{address}/");
    let accepted = "HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    let wrong_key = format!("{accepted}Sec-WebSocket-Accept: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    let no_key = format!("{accepted}\r\n");
    for (what, answer) in [
        ("garbage instead of HTTP", &b"\0\x01\x02\x03garbage\r\n\r\n"[..]),
        ("plain to a port for TLS", b"\x15\x03\x03\x00\x02\x02\x46"),
        ("a server that hangs up", b""),
        ("an answer whose head is malformed", b"HTTP/1.1 101 Yes\r\nno colon\r\n\r\n"),
        (
            "an answer of too many headers",
            &[b"HTTP/1.1 101 Yes\r\n", &b"a: b\r\n".repeat(200)[..], b"\r\n"].concat(),
        ),
        ("an answer without Upgrade", b"HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\n\r\n"),
        ("an answer without Connection", b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\n\r\n"),
        ("an answer without Sec-WebSocket-Accept", no_key.as_bytes()),
        ("an answer to another key", wrong_key.as_bytes()),
        ("a refusal", b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
        ("a redirect", b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: /there\r\n\r\n"),
    ] {
        cases.attempt(what, builder(), &url(answering(answer).await)).await;
    }
    for (what, location) in [
        ("a redirect to itself", "/"),
        ("a redirect to another origin", "//evil.invalid/"),
        ("a redirect to FTP", "ftp://h/"),
    ] {
        let answer = format!("HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: {location}\r\n\r\n");
        let address = answering(answer.as_bytes()).await;
        cases.attempt(what, builder().follow_redirects(5), &url(address)).await;
    }
    let address = endless(b"HTTP/1.1 101 Yes\r\n", b"x: y\r\n").await;
    cases.attempt("an answer that never ends", builder(), &url(address)).await;
    let (_listener, silent) = silent().await;
    cases.attempt("a silent server", builder().upgrade_timeout(LATE), &url(silent)).await;
    cases.attempt("stages that take too long together", builder().attempt_timeout(LATE), &url(silent)).await;
}

async fn open(cases: &mut Cases) {
    let huge = [&[0x82, 127][..], &(1_u64 << 40).to_be_bytes()].concat();
    for (what, bytes) in [
        ("a masked frame of the server's", &b"\x81\x80\0\0\0\0"[..]),
        ("a text that is none", b"\x81\x01\xff"),
        ("a message without end", &huge),
        ("an end without a close frame", b""),
    ] {
        let mut connection = connected(upgrading(bytes).await).await;
        cases.add(what, connection.next().await.unwrap());
    }
    let mut connection = connected(upgrading(b"\x88\x00").await).await;
    let no_code = CloseFrame { code: CloseCode::NO_STATUS, reason: "".into() };
    for (what, message) in [
        ("a close code that is never sent", Message::Close(Some(no_code))),
        ("a ping that is too long", Message::Ping(vec![0; 126].into())),
    ] {
        cases.add(what, connection.send(message).await);
    }
    while connection.next().await.is_some() {}
    cases.add("a message after the end", connection.send("late".into()).await);
}

async fn connected(address: SocketAddr) -> impl Connection {
    let request = ConnectRequest::new(&format!("ws://{address}/")).unwrap();
    builder().build().unwrap().connect(request).await.unwrap()
}

async fn all() -> Vec<Case> {
    let mut cases = Cases::default();
    request(&mut cases);
    configuration(&mut cases);
    way(&mut cases).await;
    proxies(&mut cases).await;
    tls(&mut cases).await;
    upgrades(&mut cases).await;
    open(&mut cases).await;
    cases.0
}

/// The name of the variant.
fn kind(error: &EngineError) -> String {
    format!("{:?}", error.kind()).split(['(', ' ']).next().unwrap().to_owned()
}

#[tokio::test]
async fn each_bad_input_is_an_error_of_its_own_that_says_where_and_what() {
    let cases = all().await;
    let mut words = BTreeMap::new();
    for Case { what, error } in &cases {
        println!("{what:<42} {error}");
        let told = error.to_string();
        assert!(!format!("{told} {error:?}").contains("s3cret"), "{what} tells a secret: {error:?}");
        assert!(told.len() < 400, "{what} tells a novel of {} bytes", told.len());
        // Ports and sizes differ anyhow.
        let told: String = told.split(" (stage").next().unwrap().replace(|c: char| c.is_ascii_digit(), "");
        let told = format!("{} {told}", error.stage());
        words.entry(told).or_insert_with(Vec::new).push(*what);
    }
    words.retain(|_, cases| cases.len() > 1);
    let same: Vec<_> = words.values().map(Vec::as_slice).collect();
    assert_eq!(same, SAME, "these are not told apart");
}

/// What is one and the same mistake, so that it is told in the same words; in the order of these words.
const SAME: &[&[&str]] = &[
    &["a proxy that wants credentials", "a SOCKS proxy that wants credentials"],
    &["a blank in the URL", "control characters in the URL"],
    &["empty host", "no host", "userinfo and no host"],
];

#[tokio::test]
async fn the_readme_has_the_kinds_of_error_that_each_stage_ends_with() {
    let mut produced: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for Case { error, .. } in all().await {
        produced.entry(error.stage().to_string()).or_default().insert(kind(&error));
    }
    let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let table = include_str!("../../README.md").lines().skip_while(|line| !line.starts_with("| stage"));
    for line in table.skip(2).take_while(|line| line.starts_with('|')) {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let has_deadline = !cells[2].is_empty();
        let kinds = cells[4].split(',').map(|kind| kind.trim().trim_matches('`').to_owned());
        let kinds = kinds.chain(has_deadline.then(|| "Timeout".to_owned())).filter(|kind| !kind.is_empty());
        told.insert(cells[1].to_owned(), kinds.collect());
    }
    assert_eq!(told, produced);
}
