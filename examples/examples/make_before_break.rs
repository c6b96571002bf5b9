//! A server that announces its restart is left before it goes, without a gap: make before break.
//!
//! `cargo run -p everwire-examples --example make_before_break`
//!
//! The client may make a second connection beside the live one. The server says that it leaves in 2 s; recovery has
//! the next one made within half of that. The old connection is drained and closed with 4002 before anything flows on
//! the new one, so that one order is seen. Then a better path to the server appears, and the same happens again.

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::{error::Error, time::Duration};

use everwire_client::{
    Client, ClientEvent,
    testing::{Line, Lines, Server},
};
use everwire_engine::{
    Handshake,
    testing::{ScriptedEngine, Step},
};
use everwire_netmon::{Hint, NetworkStatus};
use everwire_recovery::{ConnectionRecoveryHandler, RecoveryOptions};
use futures_util::{StreamExt as _, stream};
use tokio::{sync::mpsc, time::timeout};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let engine = ScriptedEngine::default().otherwise(from("10.0.0.2")?);
    let client = Client::builder("ws://chat.test", Lines).make_before_break(true).build(engine.clone())?;
    let mut events = client.subscribe();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            match event {
                ClientEvent::State(snapshot) => {
                    println!("client:   {} (connection {})", snapshot.state.name(), snapshot.generation);
                }
                ClientEvent::Event { generation, event: Line::Text(text) } => {
                    println!("client:   heard {text:?} on connection {generation}");
                }
                ClientEvent::Replaced { old, new } => {
                    println!("client:   {new} has taken the place of {old}");
                }
                ClientEvent::Reconnected { gap, .. } => {
                    println!("client:   reconnected after a gap of {gap:?}");
                }
                _ => {}
            }
        }
    });

    let (host, reports) = mpsc::unbounded_channel();
    let monitor =
        Box::pin(stream::unfold(reports, async |mut reports| Some((reports.recv().await?, reports))));
    let options = RecoveryOptions::default().replace_interval(Duration::from_millis(100));
    let recovery = ConnectionRecoveryHandler::builder(client.clone())
        .monitor(monitor)
        .options(options)
        .seed(1)
        .spawn()?;
    let mut decisions = recovery.decisions();
    tokio::spawn(async move {
        while let Some(decision) = decisions.next().await {
            println!("recovery: {decision:?}");
        }
    });

    let story = async {
        let (connected, mut first) =
            tokio::join!(client.connect(), Server::accept_and_greet(&engine, "first"));
        connected?;
        println!("server:   I shall restart in 2 s");
        first.say("leaving 2").await;
        let mut second = Server::accept_and_greet(&engine, "second").await;
        second.say("the first thing on the second").await;
        first.say("the last thing on the first").await;
        println!("server:   the first connection was closed with {:?}", first.close_code().await);
        let outcome = client.send("hello again").await;
        println!("server:   heard {:?} on the second, which was {outcome}", second.text().await);

        println!("host:     there is a better path");
        engine.push(from("10.0.9.9")?);
        let addresses = vec!["10.0.0.2".parse()?, "10.0.9.9".parse()?];
        let better = NetworkStatus::online().with_local_addr("10.0.9.9".parse()?).with_addresses(addresses);
        host.send(better.with_hint(Hint::NetworkChanged))?;
        let _third = Server::accept_and_greet(&engine, "third").await;
        println!("server:   the second connection was closed with {:?}", second.close_code().await);
        tokio::time::sleep(Duration::from_millis(50)).await;
        println!("client:   is at {:?} now", client.state().local_addr.map(|addr| addr.ip()));
        println!("client:   {} replacements", client.health().replacements);
        client.disconnect().await;
        Result::<(), Box<dyn Error>>::Ok(())
    };
    timeout(Duration::from_secs(20), story).await?
}

/// A connection that goes out from this address.
fn from(local: &str) -> Result<Step, Box<dyn Error>> {
    let mut handshake = Handshake::default();
    handshake.local_addr = Some(format!("{local}:4242").parse()?);
    Ok(Step::accept_with(handshake))
}
