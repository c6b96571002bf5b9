//! A ping of one's own: the server wants `ping <connection id>` and answers with a health check.
//!
//! `cargo run -p everwire-examples --example custom_ping`
//!
//! The builder gets what the last health check told. Whatever it makes, an event with health-check info is the
//! pong. The clock is virtual, so that 25 seconds take no time.

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::error::Error;

use everwire_client::{
    Client,
    testing::{Lines, Server},
};
use everwire_engine::testing::ScriptedEngine;

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn Error>> {
    let engine = ScriptedEngine::default();
    let client = Client::builder("ws://chat.test", Lines)
        .ping_request_builder(|info| format!("ping {}", info.connection_id.as_deref().unwrap_or("nobody")))
        .build(engine.clone())?;
    let (connected, mut server) = tokio::join!(client.connect(), Server::accept_and_greet(&engine, "conn-1"));
    connected?;

    for _ in 0..3 {
        let ping = server.text().await;
        println!("server: got {ping:?}");
        assert_eq!(ping, "ping conn-1");
        server.say("hello conn-1").await;
    }
    println!("health: {:?}", client.health());
    assert!(client.state().state.is_connected());
    // The server says no more: the fourth ping goes unanswered, and the connection counts as lost.
    assert_eq!(server.text().await, "ping conn-1");
    println!("without a pong the client closes with {:?}", server.close_code().await);
    Ok(())
}
