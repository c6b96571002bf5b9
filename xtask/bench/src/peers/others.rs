//! tokio-websockets, fastwebsockets and yawc: connections on which the upgrade is done.

use fastwebsockets::{Role, WebSocket};
use tokio::net::TcpStream;
use tokio_websockets::{ClientBuilder, WebSocketStream};

use super::{Outcome, upgraded};
use crate::task::Task;

pub(crate) async fn tokio_websockets(task: &Task, path: &str) -> Outcome<WebSocketStream<TcpStream>> {
    Ok(ClientBuilder::new().take_over(upgraded(task.server.plain, path).await?))
}

pub(crate) async fn fastwebsockets(task: &Task, path: &str) -> Outcome<WebSocket<TcpStream>> {
    Ok(WebSocket::after_handshake(upgraded(task.server.plain, path).await?, Role::Client))
}

pub(crate) async fn yawc(task: &Task, path: &str) -> Outcome<yawc::WebSocket<TcpStream>> {
    let tcp = upgraded(task.server.plain, path).await?;
    Ok(yawc::WebSocket::from_stream(tcp, yawc::Role::Client, yawc::Options::default())?)
}
