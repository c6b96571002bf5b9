//! The contenders, each as its own documentation has it used.

pub(crate) mod bare;
pub(crate) mod everwire;
pub(crate) mod ezsockets;
pub(crate) mod foreign;
pub(crate) mod others;

use std::{error::Error, io};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// What can go wrong in a child ends it, with its words.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

pub(crate) async fn dial(port: u16) -> io::Result<TcpStream> {
    let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

/// A TCP connection on which the upgrade is done, for libraries that carry frames alone. Not a byte behind the
/// answer is read.
pub(crate) async fn upgraded(port: u16, path: &str) -> io::Result<TcpStream> {
    let mut tcp = dial(port).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    tcp.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(tcp.read_u8().await?);
    }
    Ok(tcp)
}
