//! A network monitor of one's own, from a channel: what a mobile host does, whose system reports the network.
//!
//! `cargo run -p everwire-examples --example custom_monitor`
//!
//! Every stream of `NetworkStatus` is a monitor. Here the network goes away and the connection
//! with it: recovery plans a late attempt, and connects as soon as the network is back.

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::{error::Error, time::Duration};

use everwire_client::{
    Client,
    testing::{Lines, Server},
};
use everwire_engine::testing::ScriptedEngine;
use everwire_netmon::NetworkStatus;
use everwire_recovery::{ConnectionRecoveryHandler, Decision};
use futures_util::{StreamExt as _, stream};
use tokio::{sync::mpsc, time::timeout};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let engine = ScriptedEngine::default();
    let client = Client::builder("ws://chat.test", Lines).build(engine.clone())?;

    // The host keeps the sender and calls it from wherever its system tells of the network.
    let (host, reports) = mpsc::unbounded_channel();
    let monitor =
        Box::pin(stream::unfold(reports, async |mut reports| Some((reports.recv().await?, reports))));
    host.send(NetworkStatus::online())?;
    let recovery = ConnectionRecoveryHandler::builder(client.clone()).monitor(monitor).seed(1).spawn()?;
    let mut decisions = recovery.decisions();

    let story = async {
        let (connected, server) = tokio::join!(client.connect(), Server::accept_and_greet(&engine, "first"));
        println!("connected: {:?}", connected?.connection_id);

        println!("host: the network is gone");
        host.send(NetworkStatus::offline())?;
        drop(server);
        loop {
            let decision = decisions.next().await.ok_or("recovery ended")?;
            println!("recovery: {decision:?}");
            if matches!(decision, Decision::ConnectAfter { .. }) {
                break;
            }
        }
        println!("host: the network is back");
        host.send(NetworkStatus::online())?;
        let _second = Server::accept_and_greet(&engine, "second").await;
        let info = client.connected().await.ok_or("the client ended")?;
        println!("connected: {:?}", info.connection_id);
        client.disconnect().await;
        Result::<(), Box<dyn Error>>::Ok(())
    };
    timeout(Duration::from_secs(20), story).await?
}
