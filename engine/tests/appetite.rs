//! What a hostile server or proxy can make an attempt allocate before it is given up. One test, for the counters are
//! those of the whole process.
#![cfg(feature = "tungstenite")]
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test measures how long it takes, prints what it shows, and may unwrap"
)]

use std::{
    alloc::System,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    thread,
    time::{Duration, Instant},
};

use everwire_engine::{
    ConnectRequest, Engine, EngineError, EngineErrorKind, Limit, Proxy, Stage, TungsteniteEngine,
    TungsteniteEngineBuilder,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// An attempt may allocate so much in all, from its beginning to its error: more than it ever holds.
const APPETITE: usize = 1 << 20;

/// A server on a thread of its own, which allocates nothing while the test counts. It sends `begin`, and then `again`
/// for as long as somebody takes it.
fn endless(begin: &'static [u8], again: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut tcp = listener.accept().unwrap().0;
        let _ = tcp.read(&mut [0; 4096]);
        let mut sent = tcp.write_all(begin);
        while sent.is_ok() {
            sent = tcp.write_all(again);
        }
    });
    address
}

async fn attempt(what: &str, builder: TungsteniteEngineBuilder, url: &str) -> EngineError {
    let (engine, request) = (builder.build().unwrap(), ConnectRequest::new(url).unwrap());
    let (began, region) = (Instant::now(), Region::new(ALLOCATOR));
    let error = engine.connect(request).await.unwrap_err();
    let allocated = region.change().bytes_allocated;
    println!("{what:<44} {allocated:>7} bytes, {:>4} ms: {error}", began.elapsed().as_millis());
    assert!(allocated < APPETITE, "{what} made us allocate {allocated} bytes");
    assert!(began.elapsed() < Duration::from_secs(20), "{what} kept us {:?}", began.elapsed());
    error
}

#[tokio::test]
async fn what_never_ends_is_given_up_within_a_bound_of_memory_and_time() {
    const HEAD: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n";
    const LINE: &[u8] =
        b"x-more: and more of it, and more of it, and more of it, and more of it, and more\r\n";
    const CHUNK: &[u8] =
        b"8\r\nabcdefgh\r\n8\r\nabcdefgh\r\n8\r\nabcdefgh\r\n8\r\nabcdefgh\r\n8\r\nabcdefgh\r\n";
    let direct = TungsteniteEngine::builder;
    let url = |address: SocketAddr| format!("ws://{address}/");
    let is_head =
        |error: &EngineError| matches!(error.kind(), EngineErrorKind::TooLarge { what: Limit::Head, .. });

    for (what, begin, again) in [
        ("headers without end", HEAD, LINE),
        (
            "one header without end",
            b"HTTP/1.1 101 Yes\r\nx: ",
            b"................................................",
        ),
        ("a reason without end", b"HTTP/1.1 200 ", b"OK OK OK OK OK OK OK OK OK OK OK OK OK OK OK OK "),
        ("interim answers without end", b"", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"),
    ] {
        let error = attempt(what, direct(), &url(endless(begin, again))).await;
        assert!(is_head(&error) && error.stage() == Stage::Upgrade, "{what}: {error}");
    }
    for (what, begin, again) in [
        ("a body without end", &b"HTTP/1.1 503 Busy\r\n\r\n"[..], &b"bodybodybodybodybodybodybodybody"[..]),
        ("chunks without end", b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n", CHUNK),
        (
            "a chunk of 2^60 bytes",
            b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n1000000000000000\r\n",
            LINE,
        ),
        ("a length of 2^63", b"HTTP/1.1 503 Busy\r\nContent-Length: 9223372036854775808\r\n\r\n", LINE),
    ] {
        let error = attempt(what, direct(), &url(endless(begin, again))).await;
        assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Refused(503), Stage::Upgrade), "{what}");
        assert_eq!(error.refusal().unwrap().body.len(), 64 << 10, "{what}");
    }
    let http = |address: SocketAddr| direct().proxy(Proxy::http(&format!("http://{address}")).unwrap());
    let socks = |address: SocketAddr| direct().proxy(Proxy::socks5(&format!("socks5://{address}")).unwrap());
    let error = attempt("a proxy with headers without end", http(endless(HEAD, LINE)), "ws://h/").await;
    assert!(is_head(&error) && error.stage() == Stage::Proxy, "{error}");
    let error = attempt(
        "a proxy that goes on behind its answer",
        http(endless(b"HTTP/1.1 200 OK\r\n\r\n", LINE)),
        "ws://h/",
    );
    assert_eq!(error.await.kind(), EngineErrorKind::Proxy);
    // What follows the reply of a SOCKS proxy is what the server says, which then is no HTTP.
    let reply = b"\x05\x00\x05\x00\x00\x03\xff";
    let error =
        attempt("a SOCKS proxy that goes on behind its answer", socks(endless(reply, LINE)), "ws://h/").await;
    assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Upgrade, Stage::Upgrade));
    let error = attempt("a SOCKS proxy that talks garbage", socks(endless(b"", LINE)), "ws://h/").await;
    assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Proxy, Stage::Proxy));
    #[cfg(feature = "rustls")]
    tls_without_end().await;
}

#[cfg(feature = "rustls")]
async fn tls_without_end() {
    // A handshake record that announces a message of 16 MiB, and then more of it.
    const BEGIN: &[u8] = b"\x16\x03\x03\x40\x00\x02\xff\xff\xff";
    let authority = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let pem = params.self_signed(&authority).unwrap().pem();
    let trusting =
        || TungsteniteEngine::builder().add_root_certificate_pem(&pem).only_added_root_certificates();
    for (what, begin, again) in [
        ("a handshake message of 16 MiB", BEGIN, &b"\x16\x03\x03\x16\x03\x03"[..]),
        ("alerts without end", b"", b"\x15\x03\x03\x00\x02\x01\x5a"),
        ("records without content", b"", b"\x16\x03\x03\x00\x00"),
        ("changes of cipher without end", b"", b"\x14\x03\x03\x00\x01\x01"),
    ] {
        let url = format!("wss://{}/", endless(begin, again));
        let error = attempt(what, trusting(), &url).await;
        assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Tls, Stage::Tls), "{what}: {error}");
    }
}
