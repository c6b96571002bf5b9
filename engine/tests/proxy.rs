//! The tungstenite engine through proxies on loopback.
#![cfg(feature = "tungstenite")]
#![expect(clippy::unwrap_used, reason = "a test may unwrap")]

mod common;

use std::{net::SocketAddr, time::Duration};

use common::{Authority, echo, listen, serve};
use everwire_engine::{
    ConnectRequest, Connection, Engine, EngineError, EngineErrorKind, Limit, Message, Proxy, Stage,
    TungsteniteEngine,
};
use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::TcpStream,
};

/// The base64 of `user:s3cret`.
const BASIC: &str = "dXNlcjpzM2NyZXQ=";

/// A proxy that tunnels everything to `server`, whatever name it is asked for, to those who authenticate.
async fn http_proxy(server: SocketAddr) -> SocketAddr {
    serve(move |mut tcp| async move {
        let mut asked = String::new();
        while !asked.ends_with("\r\n\r\n") {
            asked.push(char::from(tcp.read_u8().await.unwrap()));
        }
        if !asked.contains(&format!("\r\nProxy-Authorization: Basic {BASIC}\r\n")) {
            let answer = b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n";
            tcp.write_all(answer).await.unwrap();
            return;
        }
        assert!(asked.starts_with("CONNECT localhost.only.the.proxy.knows.invalid:"), "{asked}");
        tcp.write_all(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n").await.unwrap();
        let mut server = TcpStream::connect(server).await.unwrap();
        let _ = copy_bidirectional(&mut tcp, &mut server).await;
    })
    .await
}

/// The same, by SOCKS5.
async fn socks_proxy(server: SocketAddr) -> SocketAddr {
    serve(move |mut tcp| async move {
        let mut greeting = [0; 2];
        tcp.read_exact(&mut greeting).await.unwrap();
        let mut methods = vec![0; usize::from(greeting[1])];
        tcp.read_exact(&mut methods).await.unwrap();
        if !methods.contains(&2) {
            tcp.write_all(&[5, 0xff]).await.unwrap();
            return;
        }
        tcp.write_all(&[5, 2]).await.unwrap();
        let mut login = [0; 13];
        tcp.read_exact(&mut login).await.unwrap();
        if login != *b"\x01\x04user\x06s3cret" {
            tcp.write_all(&[1, 1]).await.unwrap();
            return;
        }
        tcp.write_all(&[1, 0]).await.unwrap();
        let mut asked = [0; 5];
        tcp.read_exact(&mut asked).await.unwrap();
        assert_eq!(asked[..4], [5, 1, 0, 3]);
        let mut name = vec![0; usize::from(asked[4]) + 2];
        tcp.read_exact(&mut name).await.unwrap();
        assert!(name.starts_with(b"localhost.only.the.proxy.knows.invalid"));
        tcp.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 80]).await.unwrap();
        let mut server = TcpStream::connect(server).await.unwrap();
        let _ = copy_bidirectional(&mut tcp, &mut server).await;
    })
    .await
}

async fn through(proxy: Result<Proxy, EngineError>) -> EngineError {
    let builder = TungsteniteEngine::builder().proxy_timeout(Duration::from_millis(500));
    let engine = builder.proxy(proxy.unwrap()).build().unwrap();
    let error = engine.connect(ConnectRequest::new("ws://server.invalid/").unwrap()).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
    error
}

#[tokio::test]
async fn both_kinds_of_proxy_carry_plain_and_tls_connections_by_a_name_that_only_they_know() {
    const NAME: &str = "localhost.only.the.proxy.knows.invalid";
    let authority = Authority::new();
    let acceptor = authority.acceptor(&[NAME], |_| {});
    let plain = serve(echo).await;
    let secure = serve(move |tcp| {
        let acceptor = acceptor.clone();
        async move { echo(acceptor.accept(tcp).await.unwrap()).await }
    })
    .await;
    for (scheme, server) in [("ws", plain), ("wss", secure)] {
        let (http, socks) = (http_proxy(server).await, socks_proxy(server).await);
        for (address, proxy) in [
            (http, Proxy::http(&format!("http://user:s3cret@{http}"))),
            (socks, Proxy::socks5(&format!("socks5://user:s3cret@{socks}"))),
        ] {
            let engine = TungsteniteEngine::builder()
                .add_root_certificate_pem(authority.pem())
                .only_added_root_certificates()
                .proxy(proxy.unwrap())
                .build()
                .unwrap();
            let request = ConnectRequest::new(&format!("{scheme}://{NAME}/")).unwrap();
            let mut connection = engine.connect(request).await.unwrap();
            assert_eq!(connection.handshake().peer_addr, Some(address));
            connection.send(Message::from("through")).await.unwrap();
            assert_eq!(connection.next().await.unwrap().unwrap(), Message::from("through"));
        }
    }
}

#[tokio::test]
async fn a_proxy_that_wants_other_credentials_is_an_error_of_its_own() {
    let (_server, address) = listen().await;
    let (http, socks) = (http_proxy(address).await, socks_proxy(address).await);
    for (proxy, words) in [
        (Proxy::http(&format!("http://{http}")), "give them"),
        (Proxy::http(&format!("http://user:s3cret-not@{http}")), "refused the user"),
        (Proxy::socks5(&format!("socks5://{socks}")), "give them"),
        (Proxy::socks5(&format!("socks5://user:s3creT@{socks}")), "refused the user"),
    ] {
        let error = through(proxy).await;
        assert_eq!((error.kind(), error.stage()), (EngineErrorKind::ProxyAuthentication, Stage::Proxy));
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_proxy_that_misbehaves_is_told_from_a_server_that_does() {
    for (answer, words) in [
        (&b"HTTP/1.1 502 Bad Gateway\r\n\r\n"[..], "502"),
        (b"SSH-2.0-x\r\n", "not HTTP/1.1"),
        (b"", "ended"),
        (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n", "before the tunnel"),
    ] {
        let address = serve(move |mut tcp| async move {
            let _ = tcp.read(&mut [0; 4096]).await;
            let _ = tcp.write_all(answer).await;
        })
        .await;
        let error = through(Proxy::http(&format!("http://{address}"))).await;
        assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Proxy, Stage::Proxy), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn an_endless_head_a_silent_and_an_absent_proxy_end_in_time() {
    let endless = serve(async |mut tcp| {
        let _ = tcp.write_all(b"HTTP/1.1 200 OK\r\n").await;
        while tcp.write_all(b"x-padding: yyyyyyyyyyyyyyyyyyyyyyyy\r\n").await.is_ok() {}
    })
    .await;
    let error = through(Proxy::http(&format!("http://{endless}"))).await;
    assert!(matches!(error.kind(), EngineErrorKind::TooLarge { what: Limit::Head, .. }), "{error}");
    let (listener, silent) = listen().await;
    for proxy in [Proxy::http(&format!("http://{silent}")), Proxy::socks5(&format!("socks5://{silent}"))] {
        let error = through(proxy).await;
        assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Timeout, Stage::Proxy));
    }
    drop(listener);
    let error = through(Proxy::http(&format!("http://{silent}"))).await;
    assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Connect, Stage::Connect));
    assert!(error.to_string().contains(&format!("the proxy http://{silent}")), "{error}");
}

/// The part of the test below that runs in a process of its own, with proxies in its environment.
#[tokio::test]
async fn with_a_proxy_of_the_environment() {
    let Ok(expected) = std::env::var("EVERWIRE_TEST_EXPECTED") else { return };
    let only_proxies = everwire_engine::resolver_fn(|host: String, port| async move {
        let known = host == "127.0.0.1";
        Ok(if known { vec![SocketAddr::from(([127, 0, 0, 1], port))] } else { Vec::new() })
    });
    let engine =
        TungsteniteEngine::builder().proxy_from_environment().resolver(only_proxies).build().unwrap();
    let request = ConnectRequest::new("ws://localhost.only.the.proxy.knows.invalid/").unwrap();
    let outcome = match engine.connect(request).await {
        Ok(_) => "connected".to_owned(),
        Err(error) => format!("{:?}: {error}", error.kind()),
    };
    assert!(outcome.starts_with(&expected) && !outcome.contains("s3cret"), "{outcome}");
}

#[tokio::test]
async fn the_environment_of_the_process_names_the_proxy() {
    let server = serve(echo).await;
    let http = format!("http://user:s3cret@{}", http_proxy(server).await);
    let socks = format!("socks5h://user:s3cret@{}", socks_proxy(server).await);
    let (nobody, unusable) = ("http://127.0.0.1:1", "https://user:s3cret@127.0.0.1:1");
    for (variables, expected) in [
        (&[("HTTP_PROXY", &*http)][..], "connected"),
        (&[("http_proxy", &http), ("HTTP_PROXY", nobody)], "connected"),
        (&[("ALL_PROXY", &socks)], "connected"),
        (&[("all_proxy", &socks), ("HTTPS_PROXY", nobody)], "connected"),
        (&[("HTTP_PROXY", &http), ("NO_PROXY", "other, .knows.invalid")], "Resolve"),
        (&[("HTTP_PROXY", &http), ("no_proxy", "*")], "Resolve"),
        (&[("HTTP_PROXY", unusable)], "InvalidConfiguration"),
        (&[("HTTP_PROXY", &http), ("REQUEST_METHOD", "GET")], "Resolve"),
        (&[], "Resolve"),
    ] {
        // An environment cannot be changed safely in a process that has threads.
        let mut command = tokio::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "with_a_proxy_of_the_environment", "--nocapture"]);
        for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        command.envs(variables.iter().copied()).env("EVERWIRE_TEST_EXPECTED", expected);
        let output = command.output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let cried = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("1 passed"), "{variables:?}: {said}{cried}");
    }
}
