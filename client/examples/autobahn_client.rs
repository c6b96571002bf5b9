//! The full client under test of the Autobahn suite, with nothing that would reconnect it: asks a fuzzing server how
//! many cases it has, plays each by echoing every event, and has the report written.
//!
//! Run it by `cargo xtask autobahn`, or against a fuzzing server of your own:
//! `cargo run -p everwire-client --example autobahn_client -- ws://127.0.0.1:9001`
//!
//! With `--no-context-takeover` it announces that each of its messages is compressed by itself.

use std::error::Error;

use everwire_client::{
    Client, ClientEvent, ConnectedOn, ConnectionState, PingRequest, RawDecoder, RawEvent, Subscription,
};
use everwire_engine::{Deflate, Message, TungsteniteEngine};

const AGENT: &str = "everwire-client";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let reset = arguments.iter().any(|argument| argument == "--no-context-takeover");
    let server = arguments.iter().find(|argument| !argument.starts_with("--"));
    let server = server.map_or("ws://127.0.0.1:9001", String::as_str);
    // Even what is short is compressed: it is to be tested.
    let deflate = Deflate::default().threshold(0).client_no_context_takeover(reset);
    let engine = TungsteniteEngine::builder().deflate(deflate).build()?;

    let (_count, mut events) = open(&format!("{server}/getCaseCount"), &engine).await?;
    let count = loop {
        match events.recv().await {
            Some(ClientEvent::Event { event, .. }) => break event.0.as_text().unwrap_or_default().parse()?,
            Some(ClientEvent::State(snapshot))
                if matches!(snapshot.state, ConnectionState::Disconnected(_)) =>
            {
                return Err("no count".into());
            }
            Some(_) => {}
            None => return Err("the client is gone".into()),
        }
    };
    for case in 1..=count {
        echo(&format!("{server}/runCase?case={case}&agent={AGENT}"), &engine).await?;
    }
    let (reports, _events) = open(&format!("{server}/updateReports?agent={AGENT}"), &engine).await?;
    reports.disconnect().await;
    Ok(())
}

/// A client that is connected, and what it tells.
async fn open(
    url: &str,
    engine: &TungsteniteEngine,
) -> Result<(Client<RawEvent>, Subscription<RawEvent>), Box<dyn Error>> {
    let client = Client::builder(url, RawDecoder)
        .connected_on(ConnectedOn::Open)
        .ping(PingRequest::Off)
        .build(engine.clone())?;
    let events = client.subscribe();
    // A case may be over before the client counts as connected; what became of it is among the events.
    let _ = client.connect().await;
    Ok((client, events))
}

/// Sends every event back until the server has had enough. Many cases end in an error on purpose: that it ends is
/// what is asked for.
async fn echo(url: &str, engine: &TungsteniteEngine) -> Result<(), Box<dyn Error>> {
    let (client, mut events) = open(url, engine).await?;
    while let Some(event) = events.recv().await {
        match event {
            ClientEvent::Event { event, .. } => {
                let _ = client.send(Message::from(event)).await;
            }
            ClientEvent::State(snapshot) if matches!(snapshot.state, ConnectionState::Disconnected(_)) => {
                break;
            }
            _ => {}
        }
    }
    Ok(())
}
