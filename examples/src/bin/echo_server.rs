//! A WebSocket server that sends back each message, over plain TCP: the far end of a test.
//!
//! `cargo run -p everwire-examples --bin echo_server -- 127.0.0.1:9000`
//!
//! Without an address it takes a free port of this machine. It prints where it listens and runs until it is
//! ended from outside.

#![expect(clippy::print_stdout, reason = "a program tells where it listens")]

use std::{error::Error, io::ErrorKind, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener =
        TcpListener::bind(&address).await.map_err(|error| format!("cannot listen on {address}: {error}"))?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        match listener.accept().await {
            // How a connection ends is its peer's business: the next one is served all the same.
            Ok((stream, _)) => drop(tokio::spawn(async { drop(echo(stream).await) })),
            // The peer was gone before it was taken in.
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
            // Out of descriptors, most likely; a moment later there may be some.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn echo(stream: TcpStream) -> Result<(), Box<dyn Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    let mut socket = tokio_tungstenite::accept_async(stream).await?;
    while let Some(message) = socket.next().await {
        let message = message?;
        // Pings and closes are answered by the library.
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    Ok(())
}
