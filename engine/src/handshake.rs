//! What was agreed when a connection was opened.

use std::{fmt, net::SocketAddr};

use http::HeaderMap;

/// The server's answer and the facts of the path, as [`Connection::handshake`](crate::Connection::handshake)
/// reports them. Every field may be unknown to an engine that has no such thing.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Handshake {
    /// The headers of the upgrade answer.
    pub headers: HeaderMap,
    /// The subprotocol that the server chose, one of those offered.
    pub subprotocol: Option<String>,
    /// Our own address: what path-aware recovery compares with the path of the moment.
    pub local_addr: Option<SocketAddr>,
    /// The peer's address; a proxy's, when there is one.
    pub peer_addr: Option<SocketAddr>,
    /// The version of TLS, such as `TLSv1_3`; `None` without TLS.
    pub tls_version: Option<&'static str>,
    /// Whether TLS resumed an earlier session; `None` without TLS.
    pub tls_resumed: Option<bool>,
}

/// Values of headers may be secrets (cookies): only their names print.
impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake")
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("subprotocol", &self.subprotocol)
            .field("local_addr", &self.local_addr)
            .field("peer_addr", &self.peer_addr)
            .field("tls_version", &self.tls_version)
            .field("tls_resumed", &self.tls_resumed)
            .finish()
    }
}
