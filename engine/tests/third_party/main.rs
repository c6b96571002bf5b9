//! The tungstenite engine through servers and proxies that are not ours: nginx, haproxy, tinyproxy, microsocks, and
//! Python's websockets for compression. Each test starts its own, on loopback, and skips aloud where the program is not installed.
#![cfg(all(feature = "tungstenite", unix))]
#![expect(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test may unwrap, and says aloud that it skips"
)]

#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "deflate")]
mod deflate;
mod program;

use std::net::SocketAddr;

use common::{Authority, TemporaryDirectory, echo, serve};
use everwire_engine::{
    ConnectRequest, Connection, Engine, EngineError, EngineErrorKind, Message, Proxy, Stage,
    TungsteniteConnection, TungsteniteEngine, TungsteniteEngineBuilder, resolver_fn,
};
use futures_util::{SinkExt, StreamExt};
use program::Program;

/// So many messages go each way.
const MESSAGES: u32 = 200;

fn trusting(authority: &Authority) -> TungsteniteEngineBuilder {
    TungsteniteEngine::builder().add_root_certificate_pem(authority.pem()).only_added_root_certificates()
}

async fn connect(builder: TungsteniteEngineBuilder, url: &str) -> Result<TungsteniteConnection, EngineError> {
    builder.build().unwrap().connect(ConnectRequest::new(url).unwrap()).await
}

/// All messages come back, whole and in order, and the close handshake goes through.
async fn exchange(connection: TungsteniteConnection) {
    let message = |number: u32| match number % 3 {
        0 => Message::text(format!("message {number}")),
        1 => Message::binary(vec![number as u8; 126 + number as usize]),
        _ => Message::binary(vec![number as u8; 70_000]),
    };
    let (mut sink, mut stream) = connection.split();
    let sending = async {
        for number in 0..MESSAGES {
            sink.send(message(number)).await.unwrap();
        }
    };
    let receiving = async {
        for number in 0..MESSAGES {
            let received = stream.next().await.expect("the connection is open").unwrap();
            assert!(received == message(number), "message {number} came back as another");
        }
    };
    tokio::join!(sending, receiving);
    sink.send(Message::Close(None)).await.unwrap();
    assert!(matches!(stream.next().await, Some(Ok(Message::Close(_)))));
    assert!(stream.next().await.is_none());
}

/// A certificate for localhost and its key, where the servers find them.
fn certificate(authority: &Authority, directory: &TemporaryDirectory) -> String {
    let (certificate, key) = authority.certificate_pem(&["localhost"]);
    let path = directory.path().join("both.pem");
    std::fs::write(&path, format!("{certificate}{key}")).unwrap();
    path.to_str().unwrap().to_owned()
}

fn arguments(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|&argument| argument.to_owned()).collect()
}

/// nginx before an echo server: plain at its first port, TLS at its second.
async fn nginx(authority: &Authority, directory: &TemporaryDirectory) -> Option<Program> {
    let (echo, pem) = (serve(echo).await, certificate(authority, directory));
    let here = directory.path().display().to_string();
    Program::start("nginx", 2, directory, move |ports, file| {
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {here}/{kind};"))
            .concat();
        let config = format!(
            "daemon off; master_process off; pid {here}/nginx.pid; error_log stderr; events {{}}
            http {{
                access_log off; {temporary}
                server {{
                    listen 127.0.0.1:{plain};
                    listen 127.0.0.1:{tls} ssl http2;
                    server_name localhost;
                    ssl_protocols TLSv1.2; ssl_certificate {pem}; ssl_certificate_key {pem};
                    location / {{
                        proxy_pass http://{echo};
                        proxy_http_version 1.1;
                        proxy_set_header Host $host;
                        proxy_set_header Upgrade $http_upgrade;
                        proxy_set_header Connection upgrade;
                    }}
                    location = /moved {{ return 301 /; }}
                    location = /busy {{ add_header Retry-After 7 always; return 503 busy; }}
                }}
            }}",
            plain = ports[0],
            tls = ports[1],
        );
        (config, arguments(&["-p", &here, "-e", "stderr", "-c", file]))
    })
    .await
}

#[tokio::test]
async fn nginx_as_a_front_plain_and_by_tls() {
    let (authority, directory) = (Authority::new(), TemporaryDirectory::new("nginx"));
    let Some(nginx) = nginx(&authority, &directory).await else { return };
    for (scheme, port, tls) in [("ws", nginx.ports[0], None), ("wss", nginx.ports[1], Some("TLSv1_2"))] {
        let url = |path: &str| format!("{scheme}://localhost:{port}{path}");
        let connection = connect(trusting(&authority), &url("/")).await.unwrap();
        assert_eq!(connection.handshake().tls_version, tls);
        exchange(connection).await;

        let error = connect(trusting(&authority), &url("/busy")).await.unwrap_err();
        assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Refused(503), Stage::Upgrade));
        let refusal = error.refusal().unwrap();
        assert_eq!(
            (&refusal.headers["retry-after"], &refusal.body[..]),
            (&"7".parse().unwrap(), &b"busy"[..])
        );

        let error = connect(trusting(&authority), &url("/moved")).await.unwrap_err();
        assert_eq!(error.kind(), EngineErrorKind::Refused(301));
        exchange(connect(trusting(&authority).follow_redirects(1), &url("/moved")).await.unwrap()).await;
    }
    let secure = format!("wss://localhost:{}/", nginx.ports[1]);
    let error = connect(trusting(&authority).require_tls_1_3(), &secure).await.unwrap_err();
    assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Tls, Stage::Tls));
    let error =
        connect(trusting(&authority), &format!("ws://localhost:{}/", nginx.ports[1])).await.unwrap_err();
    // nginx notices a plain request at its port for TLS, and answers in plain HTTP.
    assert_eq!(error.kind(), EngineErrorKind::Refused(400));
    let error =
        connect(trusting(&authority), &format!("wss://localhost:{}/", nginx.ports[0])).await.unwrap_err();
    assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Tls, Stage::Tls));
    assert!(error.to_string().contains("ws://"), "{error}");
}

#[tokio::test]
async fn haproxy_as_a_front_plain_and_by_tls() {
    let (authority, directory) = (Authority::new(), TemporaryDirectory::new("haproxy"));
    let (echo, pem) = (serve(echo).await, certificate(&authority, &directory));
    let haproxy = Program::start("haproxy", 3, &directory, move |ports, file| {
        let config = format!(
            "defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
             frontend front\n bind 127.0.0.1:{plain}\n bind 127.0.0.1:{tls} ssl crt {pem} alpn h2,http/1.1\n \
             default_backend echo\n\
             backend echo\n server echo {echo}\n\
             frontend nobody\n bind 127.0.0.1:{nobody}\n",
            plain = ports[0],
            tls = ports[1],
            nobody = ports[2],
        );
        (config, arguments(&["-db", "-f", file]))
    });
    let Some(haproxy) = haproxy.await else { return };
    for (scheme, port, tls) in [("ws", haproxy.ports[0], None), ("wss", haproxy.ports[1], Some("TLSv1_3"))] {
        let connection =
            connect(trusting(&authority), &format!("{scheme}://localhost:{port}/")).await.unwrap();
        assert_eq!(connection.handshake().tls_version, tls);
        exchange(connection).await;
    }
    // No server behind it.
    let error =
        connect(trusting(&authority), &format!("ws://localhost:{}/", haproxy.ports[2])).await.unwrap_err();
    assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Refused(503), Stage::Upgrade));
}

/// Through the proxy, with nobody but the proxy to resolve the server's name.
async fn through(
    proxy: Proxy,
    authority: &Authority,
    url: &str,
) -> Result<TungsteniteConnection, EngineError> {
    let only_the_proxy = resolver_fn(|host: String, port| async move {
        assert_eq!(host, "127.0.0.1", "the server's name is the proxy's to resolve");
        Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
    });
    connect(trusting(authority).proxy(proxy).resolver(only_the_proxy), url).await
}

/// An echo server by plain TCP, and one by TLS.
async fn servers(authority: &Authority) -> [String; 2] {
    let acceptor = authority.acceptor(&["localhost"], |_| {});
    let plain = serve(echo).await;
    let secure = serve(move |tcp| {
        let acceptor = acceptor.clone();
        async move { echo(acceptor.accept(tcp).await.unwrap()).await }
    })
    .await;
    [format!("ws://localhost:{}/", plain.port()), format!("wss://localhost:{}/", secure.port())]
}

/// The good credentials, wrong ones and none at a proxy that wants some, for a server by plain TCP and one by TLS.
async fn authenticates(
    proxy: impl Fn(&str) -> Result<Proxy, EngineError>,
    authority: &Authority,
    urls: &[String],
) {
    for url in urls {
        exchange(through(proxy("user:s3cret@").unwrap(), authority, url).await.unwrap()).await;
        for (userinfo, words) in [("", "give them"), ("user:s3creT@", "refused the user")] {
            let error = through(proxy(userinfo).unwrap(), authority, url).await.unwrap_err();
            assert_eq!((error.kind(), error.stage()), (EngineErrorKind::ProxyAuthentication, Stage::Proxy));
            assert!(error.to_string().contains(words) && !error.to_string().contains("s3cre"), "{error}");
        }
    }
}

async fn tinyproxy(directory: &TemporaryDirectory, more: &'static str) -> Option<Program> {
    Program::start("tinyproxy", 1, directory, move |ports, file| {
        let config =
            format!("Listen 127.0.0.1\nPort {}\nTimeout 60\nMaxClients 20\nLogLevel Error\n{more}", ports[0]);
        (config, arguments(&["-d", "-c", file]))
    })
    .await
}

#[tokio::test]
async fn tinyproxy_makes_tunnels_to_a_server_and_to_nginx() {
    let (authority, directory) = (Authority::new(), TemporaryDirectory::new("tinyproxy"));
    let Some(tinyproxy) = tinyproxy(&directory, "").await else { return };
    let proxy = || Proxy::http(&format!("http://127.0.0.1:{}", tinyproxy.ports[0])).unwrap();
    for url in servers(&authority).await {
        exchange(through(proxy(), &authority, &url).await.unwrap()).await;
    }
    let error = through(proxy(), &authority, "ws://localhost:1/").await.unwrap_err();
    assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Proxy, Stage::Proxy), "{error}");
    assert!(error.to_string().contains("HTTP 5"), "{error}");
    let fronts = TemporaryDirectory::new("nginx-behind");
    let Some(nginx) = nginx(&authority, &fronts).await else { return };
    for (scheme, port) in [("ws", nginx.ports[0]), ("wss", nginx.ports[1])] {
        let url = format!("{scheme}://localhost:{port}/");
        exchange(through(proxy(), &authority, &url).await.unwrap()).await;
    }
}

#[tokio::test]
async fn tinyproxy_with_basic_authentication() {
    let (authority, directory) = (Authority::new(), TemporaryDirectory::new("tinyproxy-basic"));
    let Some(tinyproxy) = tinyproxy(&directory, "BasicAuth user s3cret\n").await else { return };
    let proxy = |userinfo: &str| Proxy::http(&format!("http://{userinfo}127.0.0.1:{}", tinyproxy.ports[0]));
    authenticates(proxy, &authority, &servers(&authority).await).await;
}

#[tokio::test]
async fn microsocks_with_user_and_password() {
    let (authority, directory) = (Authority::new(), TemporaryDirectory::new("microsocks"));
    let microsocks = Program::start("microsocks", 1, &directory, |ports, _| {
        let port = ports[0].to_string();
        (String::new(), arguments(&["-i", "127.0.0.1", "-p", &port, "-u", "user", "-P", "s3cret"]))
    });
    let Some(microsocks) = microsocks.await else { return };
    let proxy =
        |userinfo: &str| Proxy::socks5(&format!("socks5://{userinfo}127.0.0.1:{}", microsocks.ports[0]));
    authenticates(proxy, &authority, &servers(&authority).await).await;
    let error = through(proxy("user:s3cret@").unwrap(), &authority, "ws://localhost:1/").await.unwrap_err();
    assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Proxy, Stage::Proxy));
    assert!(error.to_string().contains("SOCKS5 reply"), "{error}");
}
