//! How long a connection to a name with several addresses takes: by the engine of this project, and by a bare
//! `tokio::net::TcpStream::connect`, which tries one address after the other.
//!
//! `cargo run -p everwire-examples --bin dual_stack -- localhost 9000 5s`
//!
//! Prints one JSON object per way: the milliseconds, and the address that answered, if one did in the given time.

#![expect(clippy::print_stdout, reason = "a program prints what it measured")]

use std::{error::Error, net::SocketAddr, time::Duration};

use everwire_engine::{ConnectRequest, Connection as _, Engine as _, TungsteniteEngine};
use everwire_examples::{cli::parse_duration, clock};
use serde_json::json;
use tokio::{net::TcpStream, time::timeout};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [host, port, patience] = &arguments[..] else {
        return Err("usage: dual_stack HOST PORT PATIENCE".into());
    };
    let (port, patience): (u16, _) = (port.parse()?, parse_duration(patience)?);
    let engine = TungsteniteEngine::builder().build()?;
    let request = ConnectRequest::new(&format!("ws://{host}:{port}/"))?;
    tell("everwire", patience, async {
        let connection = engine.connect(request).await.ok()?;
        connection.handshake().peer_addr
    })
    .await;
    tell("tokio", patience, async { TcpStream::connect((host.as_str(), port)).await.ok()?.peer_addr().ok() })
        .await;
    Ok(())
}

async fn tell(way: &str, patience: Duration, connect: impl Future<Output = Option<SocketAddr>>) {
    let start = clock::now();
    let peer = timeout(patience, connect).await.ok().flatten();
    let ms = clock::now().saturating_duration_since(start).as_millis() as u64;
    println!("{}", json!({ "way": way, "ms": ms, "peer": peer.map(|peer| peer.ip().to_string()) }));
}
