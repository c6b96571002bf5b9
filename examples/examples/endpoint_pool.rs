//! Several endpoints: a pool is asked before each attempt, and remembers what failed.
//!
//! `cargo run -p everwire-examples --example endpoint_pool`
//!
//! The pool is pure; the request provider around it gives it the clock and says how the last attempt ended.
//! One of the two endpoints here is a port where nobody listens.

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::{
    error::Error,
    net::TcpListener,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use everwire_client::{Attempt, ClientBuilder, ConnectRequest, ConnectedOn, RequestProvider, testing::Lines};
use everwire_engine::TungsteniteEngine;
use everwire_examples::{
    clock,
    server::{Server, ServerOptions},
};
use everwire_recovery::{EndpointPool, Rng};

struct Pooled(Mutex<Rotation>);

struct Rotation {
    pool: EndpointPool<String>,
    last: Option<String>,
}

impl RequestProvider for Pooled {
    async fn request(&self, _: &Attempt) -> Result<ConnectRequest, Box<dyn Error + Send + Sync>> {
        let mut rotation = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock::now();
        // Whoever asks again has lost the connection, or never had it.
        if let Some(last) = rotation.last.take() {
            rotation.pool.failed(now, &last);
        }
        let endpoint = rotation.pool.pick(now);
        println!("attempt: {endpoint}");
        rotation.last = Some(endpoint.clone());
        Ok(ConnectRequest::new(&endpoint)?)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let server = Server::start(ServerOptions::default())?;
    // A port that was free a moment ago: nobody listens there.
    let nobody = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    // By weight the dead endpoint comes first, nearly always.
    let endpoints = [(format!("ws://{nobody}/echo"), 1000), (server.plain_url("/echo"), 1)];
    let pool = EndpointPool::new(endpoints, Rng::seeded(1))?
        .penalty(Duration::from_secs(10), Duration::from_secs(300));
    let client = ClientBuilder::with_requests(Pooled(Mutex::new(Rotation { pool, last: None })), Lines)
        .connected_on(ConnectedOn::Open)
        .protocol_pings()
        .build(TungsteniteEngine::builder().build()?)?;

    // Recovery would do this loop, with its delays.
    for attempt in 1..=3 {
        match client.connect().await {
            Ok(_) => {
                println!("connected with attempt {attempt}");
                client.disconnect().await;
                return Ok(());
            }
            Err(error) => println!("attempt {attempt} failed: {error}"),
        }
    }
    Err("no endpoint answered".into())
}
