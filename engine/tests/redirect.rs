//! Redirects of the upgrade: not followed unless told so, and then only to the same server, for a while.
#![cfg(feature = "tungstenite")]
#![expect(clippy::unwrap_used, reason = "a test may unwrap")]

mod common;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use common::{listen, serve};
use everwire_engine::{
    ConnectRequest, Engine, EngineError, EngineErrorKind, Message, Stage, TungsteniteEngine,
    TungsteniteEngineBuilder,
};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// The requests that a server was sent, whole.
type Seen = Arc<Mutex<Vec<String>>>;

/// A server whose answer to each path is that of `route`: a `Location`, or `None` to accept and echo once. It counts
/// in `open` the connections that are open at the moment.
async fn routes(
    seen: Seen,
    open: Arc<AtomicUsize>,
    route: impl Fn(&str) -> Option<String> + Clone + Send + Sync + 'static,
) -> SocketAddr {
    serve(move |mut tcp| {
        let (seen, open, route) = (Arc::clone(&seen), Arc::clone(&open), route.clone());
        async move {
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                asked.push(tcp.read_u8().await.unwrap());
            }
            let asked = String::from_utf8(asked).unwrap();
            let path = asked.split(' ').nth(1).unwrap().to_owned();
            let key = asked.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
            let accept = derive_accept_key(key.as_bytes());
            seen.lock().unwrap().push(asked.clone());
            let before = open.fetch_add(1, Ordering::SeqCst);
            assert_eq!(before, 0, "the connection before {path} was closed first");
            if let Some(location) = route(&path) {
                let answer =
                    format!("HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: {location}\r\n\r\n");
                tcp.write_all(answer.as_bytes()).await.unwrap();
                assert_eq!(tcp.read(&mut [0; 16]).await.unwrap_or(0), 0, "the client closes");
                open.fetch_sub(1, Ordering::SeqCst);
                return;
            }
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            tcp.write_all(answer.as_bytes()).await.unwrap();
            tcp.write_all(b"\x81\x04made").await.unwrap();
            let _ = tcp.read_to_end(&mut Vec::new()).await;
            open.fetch_sub(1, Ordering::SeqCst);
        }
    })
    .await
}

async fn refused(builder: TungsteniteEngineBuilder, address: SocketAddr, path: &str) -> EngineError {
    let request = ConnectRequest::new(&format!("ws://{address}{path}")).unwrap();
    let request = request.header("cookie", "s3cret").unwrap();
    let error = builder.build().unwrap().connect(request).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("s3cret"), "{error:?}");
    error
}

fn following(limit: usize) -> TungsteniteEngineBuilder {
    TungsteniteEngine::builder().follow_redirects(limit)
}

fn server_of(path: &str) -> Option<String> {
    match path {
        "/one" => Some("two?token=1".to_owned()),
        "/two?token=1" => Some("/deep/../three".to_owned()),
        // Each leads on, by one.
        path if path.starts_with("/endless") => Some(format!("{path}x")),
        "/here" => Some("/there".to_owned()),
        "/there" => Some("/here#again".to_owned()),
        "/self" => Some(String::new()),
        _ => None,
    }
}

#[tokio::test]
async fn redirects_to_the_same_server_are_followed_when_switched_on() {
    let seen = Seen::default();
    let address = routes(Arc::clone(&seen), Arc::default(), server_of).await;
    let request = ConnectRequest::new(&format!("ws://me:pw@{address}/one")).unwrap();
    let request = request.header("x-room", "7").unwrap();
    let engine = following(5).build().unwrap();
    let mut connection = engine.connect(request).await.unwrap();
    assert_eq!(connection.next().await.unwrap().unwrap(), Message::from("made"));
    connection.send("thanks".into()).await.unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 3);
    for (asked, path) in seen.iter().zip(["/one", "/two?token=1", "/three"]) {
        assert!(asked.starts_with(&format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n")), "{asked}");
        assert!(
            asked.contains("x-room: 7\r\n") && asked.contains("authorization: Basic bWU6cHc=\r\n"),
            "{asked}"
        );
    }
}

#[tokio::test]
async fn without_being_told_so_a_redirect_is_a_refusal() {
    let seen = Seen::default();
    let address = routes(Arc::clone(&seen), Arc::default(), server_of).await;
    let error = refused(TungsteniteEngine::builder(), address, "/one").await;
    assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Refused(302), Stage::Upgrade));
    assert_eq!(error.refusal().unwrap().headers["location"], "two?token=1");
    assert!(error.to_string().contains("follow_redirects"), "{error}");
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn loops_and_endless_redirects_end_in_an_error_that_names_the_count() {
    for (limit, path, words, asked) in [
        (5, "/endless", "once more after 5 redirects", 6),
        (1, "/one", "once more after 1 redirects", 2),
        (5, "/here", "redirect 2 leads back", 2),
        (5, "/self", "redirect 1 leads back", 1),
    ] {
        let seen = Seen::default();
        let address = routes(Arc::clone(&seen), Arc::default(), server_of).await;
        let error = refused(following(limit), address, path).await;
        assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Refused(302), Stage::Upgrade));
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(seen.lock().unwrap().len(), asked, "{path}");
    }
}

#[tokio::test]
async fn nothing_reaches_another_origin() {
    let (elsewhere, other) = listen().await;
    let to_other = move |_: &str| Some(format!("http://{other}/steal?token=1"));
    let address = routes(Seen::default(), Arc::default(), to_other).await;
    let error = refused(following(5), address, "/").await;
    assert_eq!(error.kind(), EngineErrorKind::Refused(302));
    assert!(error.to_string().contains(&format!("another origin, ws://{other}")), "{error}");
    assert!(!error.to_string().contains("token"), "{error}");
    // Whoever had connected would be in the listener's queue by now.
    assert!(tokio::time::timeout(Duration::ZERO, elsewhere.accept()).await.is_err());
}

/// behaviour §1: all hops share the attempt's one deadline.
#[tokio::test]
async fn rule_1_every_hop_is_part_of_the_same_attempt() {
    let address = serve(async |mut tcp| {
        let _ = tcp.read(&mut [0; 4096]).await;
        tokio::time::sleep(Duration::from_millis(150)).await;
        let unique = tcp.peer_addr().unwrap().port();
        let answer = format!("HTTP/1.1 307 Later\r\nContent-Length: 0\r\nLocation: /{unique}\r\n\r\n");
        let _ = tcp.write_all(answer.as_bytes()).await;
    })
    .await;
    let builder = following(5).attempt_timeout(Duration::from_millis(400));
    let error = refused(builder, address, "/").await;
    assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Timeout, Stage::Attempt), "{error}");
}

#[test]
fn more_than_five_are_refused_when_built() {
    assert!(following(5).build().is_ok());
    let error = following(6).build().unwrap_err();
    assert_eq!(error.kind(), EngineErrorKind::InvalidConfiguration);
    assert!(error.to_string().contains("follow_redirects is 6"), "{error}");
}
