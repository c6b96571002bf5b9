//! Peers that answer one byte at a time, for ever: each attempt ends at the deadline of its stage, exactly.
#![cfg(feature = "tungstenite")]
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests measure deadlines, and may unwrap"
)]

mod common;

use std::time::Duration;

use common::{Authority, serve};
use everwire_engine::{
    ConnectRequest, Connector, Endpoint, Engine, EngineError, EngineErrorKind, Proxy, Stage,
    TungsteniteEngine, TungsteniteEngineBuilder, connector_fn,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    time::{Instant, sleep},
};

fn builder() -> TungsteniteEngineBuilder {
    TungsteniteEngine::builder()
        .add_root_certificate_pem(Authority::new().pem())
        .only_added_root_certificates()
}

/// A peer in memory that says `head`, and then these bytes over and over, one in each second.
fn dripping(head: &'static [u8], drops: &'static [u8]) -> impl Connector {
    connector_fn(move |_: Endpoint| {
        let (ours, mut theirs) = duplex(4096);
        tokio::spawn(async move {
            let _ = theirs.read(&mut [0; 4096]).await;
            let mut sent = theirs.write_all(head).await;
            for drop in drops.iter().cycle() {
                if sent.is_err() {
                    return;
                }
                sleep(Duration::from_secs(1)).await;
                sent = theirs.write_all(&[*drop]).await;
            }
        });
        async { Ok(ours) }
    })
}

/// How an attempt ends, and after how many seconds of a clock that only waits.
async fn ends(builder: TungsteniteEngineBuilder, url: &str) -> (EngineError, f64) {
    let engine = builder.build().unwrap();
    let began = Instant::now();
    let error = engine.connect(ConnectRequest::new(url).unwrap()).await.unwrap_err();
    (error, (began.elapsed().as_secs_f64() * 10.0).round() / 10.0)
}

#[tokio::test(start_paused = true)]
async fn rule_1_a_server_that_drips_is_left_at_the_deadline_of_its_stage() {
    for (what, url, head, drops, stage) in [
        ("status line", "ws://h/", &b"HTTP/1.1 1"[..], &b"0"[..], Stage::Upgrade),
        ("headers", "ws://h/", b"HTTP/1.1 101 Yes\r\n", b"x: y\r\n", Stage::Upgrade),
        ("interim answers", "ws://h/", b"", b"HTTP/1.1 100 Go\r\n\r\n", Stage::Upgrade),
        ("a record of TLS", "wss://h/", b"\x16\x03\x03\x40\x00", b"\x02", Stage::Tls),
    ] {
        let (error, seconds) = ends(builder().connector(dripping(head, drops)), url).await;
        assert_eq!((error.kind(), error.stage(), seconds), (EngineErrorKind::Timeout, stage, 5.0), "{what}");
    }
}

/// The status is known, and so is how long to wait: a body that drips takes a second, and nothing away.
#[tokio::test(start_paused = true)]
async fn rule_1_the_body_of_a_refusal_may_take_a_second() {
    let head = b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\n\r\n";
    let (error, seconds) = ends(builder().connector(dripping(head, b"z")), "ws://h/").await;
    assert_eq!((error.kind(), seconds), (EngineErrorKind::Refused(503), 1.0));
    assert_eq!(error.refusal().unwrap().headers["retry-after"], "7");
}

#[tokio::test(start_paused = true)]
async fn rule_1_redirects_that_take_their_time_share_one_deadline() {
    let connector = connector_fn(|_: Endpoint| {
        let (ours, mut theirs) = duplex(4096);
        tokio::spawn(async move {
            let mut asked = vec![0; 4096];
            let len = theirs.read(&mut asked).await.unwrap_or(0);
            let path = String::from_utf8_lossy(&asked[..len]).split(' ').nth(1).unwrap().to_owned();
            sleep(Duration::from_secs(4)).await;
            let answer = format!("HTTP/1.1 302 On\r\nContent-Length: 0\r\nLocation: {path}x\r\n\r\n");
            let _ = theirs.write_all(answer.as_bytes()).await;
        });
        async { Ok(ours) }
    });
    let (error, seconds) = ends(builder().follow_redirects(5).connector(connector), "ws://h/").await;
    assert_eq!((error.kind(), error.stage(), seconds), (EngineErrorKind::Timeout, Stage::Attempt, 15.0));
}

/// Proxies are reached by TCP, so by the real clock.
#[tokio::test]
async fn rule_1_a_proxy_that_drips_is_left_at_the_deadline_of_its_stage() {
    for (head, drops, is_http) in [
        (&b"HTTP/1.1 200 OK\r\n"[..], &b"x: y\r\n"[..], true),
        (b"", b"HTTP/1.1 100 Go\r\n\r\n", true),
        (b"\x05\x00\x05\x00\x00\x03\xff", b"a", false),
    ] {
        let address = serve(move |mut tcp| async move {
            let _ = tcp.read(&mut [0; 4096]).await;
            let mut sent = tcp.write_all(head).await;
            for drop in drops.iter().cycle() {
                if sent.is_err() {
                    return;
                }
                sleep(Duration::from_millis(20)).await;
                sent = tcp.write_all(&[*drop]).await;
            }
        })
        .await;
        let proxy = if is_http {
            Proxy::http(&format!("http://{address}"))
        } else {
            Proxy::socks5(&format!("socks5://{address}"))
        };
        let patience = Duration::from_millis(500);
        let (error, seconds) = ends(builder().proxy(proxy.unwrap()).proxy_timeout(patience), "ws://h/").await;
        assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Timeout, Stage::Proxy));
        assert!((0.5..10.0).contains(&seconds), "{seconds} s");
    }
}
