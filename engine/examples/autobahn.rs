//! The engine under test of the Autobahn suite: asks a fuzzing server how many cases it has, plays each by
//! echoing every data message, and has the report written.
//!
//! Run it by `cargo xtask autobahn`, or against a fuzzing server of your own:
//! `cargo run -p everwire-engine --features deflate --example autobahn -- ws://127.0.0.1:9001`
//!
//! With `--no-context-takeover` it announces that each of its messages is compressed by itself.

use everwire_engine::{ConnectRequest, Deflate, Engine, EngineError, Message, TungsteniteEngine};
use futures_util::{SinkExt, StreamExt};

const AGENT: &str = "everwire-engine";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), EngineError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let reset = arguments.iter().any(|argument| argument == "--no-context-takeover");
    let server = arguments.iter().find(|argument| !argument.starts_with("--"));
    let server = server.map_or("ws://127.0.0.1:9001", String::as_str);
    // Even what is short is compressed: it is to be tested.
    let deflate = Deflate::default().threshold(0).client_no_context_takeover(reset);
    let engine = TungsteniteEngine::builder().deflate(deflate).build()?;

    let mut count = engine.connect(ConnectRequest::new(&format!("{server}/getCaseCount"))?).await?;
    let cases: usize = match count.next().await {
        Some(Ok(message)) => message.as_text().and_then(|text| text.parse().ok()).unwrap_or_default(),
        _ => 0,
    };
    for case in 1..=cases {
        let url = format!("{server}/runCase?case={case}&agent={AGENT}");
        let mut connection = engine.connect(ConnectRequest::new(&url)?).await?;
        // Many cases end in an error on purpose: that it ends is what is asked for.
        while let Some(Ok(message)) = connection.next().await {
            if message.is_data() && connection.send(message).await.is_err() {
                break;
            }
        }
    }
    let url = format!("{server}/updateReports?agent={AGENT}");
    let mut report = engine.connect(ConnectRequest::new(&url)?).await?;
    let _ = report.send(Message::Close(None)).await;
    while report.next().await.is_some() {}
    Ok(())
}
