//! The server and the proxy, spoken to by a plain WebSocket.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message},
};

use super::*;
use crate::room::{Down, Signal, Up};

type Socket = WebSocketStream<TcpStream>;

fn server() -> Server {
    Server::start(ServerOptions::default().any_token()).unwrap()
}

async fn dial(server: &Server, path: &str) -> Result<Socket, Error> {
    let stream = TcpStream::connect(server.plain_addr()).await.unwrap();
    client_async(server.plain_url(path), stream).await.map(|(socket, _)| socket)
}

async fn say(socket: &mut Socket, up: &Up) {
    socket.send(Message::text(serde_json::to_string(up).unwrap())).await.unwrap();
}

async fn hear(socket: &mut Socket) -> Down {
    let message = socket.next().await.unwrap().unwrap();
    serde_json::from_str(message.to_text().unwrap()).unwrap()
}

async fn participant(server: &Server, name: &str, seen: u64) -> (Socket, u64) {
    let mut socket = dial(server, "/room").await.unwrap();
    say(&mut socket, &Up::Auth { token: name.to_owned() }).await;
    assert!(matches!(hear(&mut socket).await, Down::ConnectionOk { me, .. } if me.id == name));
    say(&mut socket, &Up::Join { room: "r".into(), seen }).await;
    let Down::Joined { accepted, .. } = hear(&mut socket).await else { panic!("expected `joined`") };
    (socket, accepted)
}

fn chat(number: u32) -> Signal {
    Signal::Chat { number, text: "hello".into() }
}

#[tokio::test]
async fn what_one_says_the_other_hears_once_also_after_a_drop() {
    let server = server();
    let (mut ann, _) = participant(&server, "ann", 0).await;
    let (mut ben, _) = participant(&server, "ben", 0).await;
    assert!(matches!(hear(&mut ann).await, Down::Delivery { seq: 1, signal: Signal::Arrived, .. }));

    say(&mut ben, &Up::Post { id: 1, signal: chat(1) }).await;
    assert_eq!(hear(&mut ben).await, Down::Accepted { id: 1 });
    drop(ann); // before it has read the chat
    let (mut ann, _) = participant(&server, "ann", 1).await;
    assert_eq!(hear(&mut ann).await, Down::Delivery { seq: 2, from: "ben".into(), signal: chat(1) });

    drop(ben);
    let (mut ben, accepted) = participant(&server, "ben", 0).await;
    assert_eq!(accepted, 1, "the sender learns what has arrived");
    say(&mut ben, &Up::Post { id: 1, signal: chat(1) }).await;
    assert_eq!(hear(&mut ben).await, Down::Accepted { id: 1 });
    assert_eq!(server.record().duplicates, 1);
}

#[tokio::test]
async fn an_expired_token_is_told_before_the_close() {
    let server = Server::start(ServerOptions::default()).unwrap();
    let token = server.issue_token("ann");
    let mut socket = dial(&server, "/room").await.unwrap();
    say(&mut socket, &Up::Auth { token: token.clone() }).await;
    hear(&mut socket).await;
    server.expire_tokens();
    assert!(matches!(hear(&mut socket).await, Down::ConnectionError { error, .. } if error.code == 40));
    assert!(matches!(socket.next().await, Some(Ok(Message::Close(Some(f)))) if u16::from(f.code) == 1000));

    let mut again = dial(&server, "/room").await.unwrap();
    say(&mut again, &Up::Auth { token }).await;
    assert!(matches!(hear(&mut again).await, Down::ConnectionError { error, .. } if error.code == 40));
    assert_eq!(server.record().failed_authentications, 1);
}

#[tokio::test]
async fn the_record_tells_who_closed_and_with_what() {
    let server = server();
    let (mut ann, _) = participant(&server, "ann", 0).await;
    let (mut ben, _) = participant(&server, "ben", 0).await;
    ann.close(None).await.unwrap();
    while ann.next().await.is_some() {}
    server.close("ben", 1012, "restart");
    while ben.next().await.is_some() {}
    let record = server.until(|record| record.open() == 0).await;
    assert_eq!(
        record.of("ann").next_back().unwrap().ending,
        Ending::Client { code: 1005, reason: String::new() }
    );
    assert_eq!(record.of("ben").next_back().unwrap().ending, Ending::Server { code: 1012 });
}

#[tokio::test]
async fn upgrades_are_refused_with_status_and_retry_after() {
    let server = server();
    server.faults(|faults| {
        let refuse = RefuseUpgrades::with(503).retry_after(std::time::Duration::from_secs(7));
        faults.refuse_upgrades = Some(refuse.body("busy"));
    });
    let Err(Error::Http(response)) = dial(&server, "/room").await else { panic!("was accepted") };
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "7");
    server.faults(|faults| faults.refuse_upgrades = None);
    dial(&server, "/room").await.unwrap();
}

#[tokio::test]
async fn silent_health_checks_are_seen_and_not_answered() {
    let server = server();
    let (mut ann, _) = participant(&server, "ann", 0).await;
    server.faults(|faults| faults.answer_health_checks = false);
    say(&mut ann, &Up::HealthCheck { client_id: None }).await;
    server.until(|record| record.health_checks == 1).await;
    server.faults(|faults| faults.answer_health_checks = true);
    say(&mut ann, &Up::HealthCheck { client_id: None }).await;
    assert!(matches!(hear(&mut ann).await, Down::HealthCheck { .. }));
    assert_eq!(server.record().health_checks, 2);
}

#[tokio::test]
async fn a_killed_server_comes_back_on_its_port_with_its_rooms() {
    let server = server();
    let (mut ann, _) = participant(&server, "ann", 0).await;
    say(&mut ann, &Up::Post { id: 1, signal: chat(1) }).await;
    assert_eq!(hear(&mut ann).await, Down::Accepted { id: 1 });
    server.go_down().await;
    assert!(!matches!(ann.next().await, Some(Ok(_))), "the connection is gone");
    assert!(TcpStream::connect(server.plain_addr()).await.is_err());
    server.come_up().unwrap();
    assert_eq!(participant(&server, "ann", 0).await.1, 1);
    assert_eq!(server.record().of("ann").next().unwrap().ending, Ending::Lost);
}

#[tokio::test]
async fn echo_answers_without_authentication() {
    let server = server();
    let mut socket = dial(&server, "/echo").await.unwrap();
    socket.send(Message::text("hi")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hi"));
}
