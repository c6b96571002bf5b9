//! Posts numbered messages to a `courier_server`, takes those that it posts, and counts what became of all of them.
//!
//! `cargo run -p everwire-examples --bin courier -- ws://127.0.0.1:9001/ --session one --pace 50ms`
//!
//! It ends with its standard input, when everything is acknowledged both ways, and prints one JSON object: for each
//! direction how many messages were sent, lost, duplicated and reordered. The exit code is 0 if none was.

#![expect(clippy::print_stdout, reason = "a program prints what it found")]

use std::{error::Error, process::ExitCode, time::Duration};

use clap::Parser;
use everwire_client::ConnectRequest;
use everwire_engine::TungsteniteEngine;
use everwire_examples::{
    cli::parse_duration,
    courier::{Count, CourierConfig, run},
};
use everwire_netmon::SystemMonitor;
use everwire_ping::PingConfig;
use serde_json::json;
use tokio::{io::AsyncReadExt as _, sync::watch};

/// Posts numbered messages and counts what becomes of them.
#[derive(Debug, Parser)]
struct Options {
    /// The server
    url: String,
    /// The name of the session, one word
    #[arg(long, default_value = "one")]
    session: String,
    /// A message so often
    #[arg(long, value_parser = parse_duration, default_value = "50ms")]
    pace: Duration,
    /// How often to ping
    #[arg(long, value_parser = parse_duration, default_value = "25s")]
    ping_interval: Duration,
    /// How long a pong may take; shorter than the interval
    #[arg(long, value_parser = parse_duration, default_value = "3s")]
    pong_timeout: Duration,
    /// The seed of the delays
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn Error + Send + Sync>> {
    let options = Options::parse();
    let request = ConnectRequest::new(&options.url)?;
    let endpoint = request.endpoint();
    let monitor = SystemMonitor::towards(endpoint.host(), endpoint.port())?;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        // What is read means nothing, and an input that cannot be read has ended.
        let mut input = tokio::io::stdin();
        while let Ok(1..) = input.read(&mut [0; 64]).await {}
        stop.send_replace(true);
        // Held to the end of the program.
        std::future::pending::<()>().await;
    });
    let config = CourierConfig {
        request,
        engine: TungsteniteEngine::builder().build()?,
        session: options.session,
        pace: options.pace,
        ping: PingConfig::builder()
            .interval(options.ping_interval)
            .pong_timeout(options.pong_timeout)
            .build()?,
        monitor,
        seed: options.seed,
    };
    let report = run(config, stopped, |snapshot| {
        println!("{}", json!({ "kind": "state", "state": snapshot.state.name() }));
    })
    .await?;
    let both = report.up.plus(report.down);
    let Count { lost, duplicated, reordered, .. } = both;
    println!(
        "{}",
        json!({
            "kind": "books", "up": report.up.sent, "down": report.down.sent,
            "lost": lost, "duplicated": duplicated, "reordered": reordered,
        })
    );
    Ok(if both.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
