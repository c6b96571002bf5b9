//! Callbacks in place of streams: an adaptor for who wants a delegate, as Starscream has one.
//!
//! `cargo run -p everwire-examples --example listener_callbacks`
//!
//! The delegate is called on one task, in order, never at the same time as itself. It may be slow: the
//! subscription has a queue, and the client goes on.

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::error::Error;

use everwire_client::{
    Client, ClientEvent, ConnectionState, DisconnectionSource, HealthCheckInfo,
    testing::{Lines, Server},
};
use everwire_engine::testing::ScriptedEngine;
use futures_util::StreamExt as _;
use tokio::task::JoinHandle;

/// What can be listened to; whoever does not care leaves a method out.
trait Delegate<E>: Send + 'static {
    fn connected(&mut self, _info: &HealthCheckInfo) {}
    fn event(&mut self, _event: E) {}
    fn disconnected(&mut self, _source: &DisconnectionSource) {}
}

/// Calls the delegate until the client is gone, or the task is aborted.
fn listen<E: Send + Sync + Clone + 'static>(
    client: &Client<E>,
    mut delegate: impl Delegate<E>,
) -> JoinHandle<()> {
    let mut events = client.subscribe();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            match event {
                ClientEvent::State(snapshot) => match &snapshot.state {
                    ConnectionState::Connected(info) => delegate.connected(info),
                    ConnectionState::Disconnected(source) => delegate.disconnected(source),
                    _ => {}
                },
                other => {
                    if let Some(event) = other.into_event() {
                        delegate.event(event);
                    }
                }
            }
        }
    })
}

struct Chatty;

impl<E: std::fmt::Debug> Delegate<E> for Chatty {
    fn connected(&mut self, info: &HealthCheckInfo) {
        println!("connected as {:?}", info.connection_id);
    }

    fn event(&mut self, event: E) {
        println!("event: {event:?}");
    }

    fn disconnected(&mut self, source: &DisconnectionSource) {
        println!("disconnected: {source}");
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let engine = ScriptedEngine::default();
    let client = Client::builder("ws://chat.test", Lines).build(engine.clone())?;
    let listening = listen(&client, Chatty);

    let (connected, mut server) = tokio::join!(client.connect(), Server::accept_and_greet(&engine, "conn-1"));
    connected?;
    server.say("event one").await;
    server.say("event two").await;
    server.say("bye").await;
    client.disconnect().await;
    drop((client, server));
    listening.await?;
    Ok(())
}
