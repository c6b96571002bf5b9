//! The far end of `courier` and of `fleet`: sessions whose messages outlive connections, and this process.
//!
//! `cargo run -p everwire-examples --bin courier_server -- 127.0.0.1:9001 --journal /tmp/journal --pace 50ms`
//!
//! It prints where it listens and runs until it is ended from outside. Started again with the same journal, it goes
//! on where it was.

#![expect(clippy::print_stdout, reason = "a program tells where it listens")]

use std::{error::Error, net::SocketAddr, path::PathBuf, time::Duration};

use clap::Parser;
use everwire_examples::{cli::parse_duration, courier::serve};
use tokio::{io::AsyncReadExt as _, net::TcpSocket};

/// Serves couriers.
#[derive(Debug, Parser)]
struct Options {
    /// Where to listen; port 0 takes a free one
    address: SocketAddr,
    /// The file that lets it go on after its death
    #[arg(long)]
    journal: PathBuf,
    /// A message to each session so often
    #[arg(long, value_parser = parse_duration, default_value = "50ms")]
    pace: Duration,
    /// End with the standard input, so as not to outlive whoever started it
    #[arg(long)]
    until_input_ends: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let socket = if options.address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(options.address)?;
    // A queue for a fleet that comes back at once.
    let listener = socket.listen(16_384)?;
    println!("listening on {}", listener.local_addr()?);
    if options.until_input_ends {
        tokio::spawn(async {
            let mut input = tokio::io::stdin();
            while let Ok(1..) = input.read(&mut [0; 64]).await {}
            std::process::exit(0);
        });
    }
    Ok(serve(listener, options.journal, options.pace).await?)
}
