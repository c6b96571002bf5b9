//! tokio-tungstenite and nothing else, with its defaults.

use std::{io, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, IpAddr, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite};

use super::{Outcome, dial};
use crate::task::Task;

pub(crate) type Socket = WebSocketStream<TcpStream>;
pub(crate) use tungstenite::Message;

pub(crate) async fn connect(task: &Task, path: &str) -> Outcome<Socket> {
    let port = task.server.plain;
    let (socket, _) = client_async(format!("ws://127.0.0.1:{port}{path}"), dial(port).await?).await?;
    Ok(socket)
}

/// Over TLS. Says whether an earlier session was resumed.
pub(crate) async fn connect_tls(
    task: &Task,
    tls: &TlsConnector,
    path: &str,
) -> Outcome<(WebSocketStream<TlsStream<TcpStream>>, bool)> {
    let port = task.server.tls;
    let name = ServerName::IpAddress(IpAddr::from(std::net::IpAddr::from([127, 0, 0, 1])));
    let stream = tls.connect(name, dial(port).await?).await?;
    let (socket, answer) = client_async(format!("wss://127.0.0.1:{port}{path}"), stream).await?;
    let resumed = answer.headers().get("x-resumed").is_some_and(|resumed| resumed == "true");
    Ok((socket, resumed))
}

pub(crate) fn tls(task: &Task) -> Outcome<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(task.server.authority.as_bytes()).map_err(io::Error::other)?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
