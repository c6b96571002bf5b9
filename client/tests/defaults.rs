//! What a client does by default when the other side does nothing: §1, on virtual time.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test reads its virtual clock and may panic"
)]

use std::time::Duration;

use everwire_client::{
    Client, Message,
    testing::{Line, Lines, Server},
};
use everwire_engine::testing::{ScriptedEngine, Step};
use tokio::time::Instant;

fn client(engine: &ScriptedEngine) -> Client<Line> {
    Client::builder("ws://server.test/live", Lines).build(engine.clone()).unwrap()
}

/// The code that the client closes with. Reading it answers it.
async fn code(server: &mut Server) -> Option<u16> {
    loop {
        if let Message::Close(frame) = server.next().await? {
            return frame.map(|frame| frame.code.get());
        }
    }
}

/// §1: 15 s for the attempt, 10 s for authentication and first health check; then 1000 to the server, whose answer is
/// awaited for 5 s. Recovery waits for its end, so 4000 for the system, and 4001 for a peer that is silent, get a second.
#[tokio::test(start_paused = true)]
async fn rule_1_the_defaults_of_the_lifecycle() {
    let engine = ScriptedEngine::new([Step::hang()]);
    let client = client(&engine);
    let mut start = Instant::now();
    let mut passed = || std::mem::replace(&mut start, Instant::now()).elapsed();
    let error = client.connect().await.unwrap_err();
    assert_eq!((error.source.name(), passed()), ("ConnectTimeout", Duration::from_secs(15)));

    let (error, server) = tokio::join!(client.connect(), Server::accept(&engine));
    assert_eq!((error.unwrap_err().source.name(), passed().as_secs()), ("ConnectTimeout", 10));
    drop(server);

    let (_, mut server) = tokio::join!(client.connect(), Server::accept_and_greet(&engine, "a"));
    passed();
    client.disconnect().await;
    assert_eq!((passed(), code(&mut server).await), (Duration::from_secs(5), Some(1000)));

    let (_, mut server) = tokio::join!(client.connect(), Server::accept_and_greet(&engine, "b"));
    let mut events = client.snapshots();
    passed();
    client.disconnect_system();
    until_disconnected(&mut events).await;
    assert_eq!((passed(), code(&mut server).await), (Duration::from_secs(1), Some(4000)));

    let (_, mut server) = tokio::join!(client.connect(), Server::accept_and_greet(&engine, "c"));
    passed();
    until_disconnected(&mut events).await;
    assert_eq!((passed(), code(&mut server).await), (Duration::from_secs(25 + 3 + 1), Some(4001)));
}

async fn until_disconnected(snapshots: &mut everwire_client::Snapshots) {
    use futures_util::StreamExt as _;
    while snapshots.next().await.unwrap().state.name() != "Disconnected" {}
}
