//! The embedded signalling server: `wss` and `ws` on free ports of this machine, with a certificate authority
//! made at start, and with faults to order.
//!
//! Two paths: `/echo` sends back what it gets and knows no authentication; every other path speaks the
//! [room protocol](crate::room).
//!
//! ```no_run
//! # async fn f() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! use everwire_examples::server::{Server, ServerOptions};
//! let server = Server::start(ServerOptions::default())?;
//! let token = server.issue_token("ann");
//! println!("{} trusts {}", server.url("/room"), server.ca_pem());
//! server.faults(|faults| faults.answer_health_checks = false);
//! server.close_all(1012, "restart");
//! # Ok(()) }
//! ```

mod authority;
mod faults;
mod hall;
mod record;
mod session;
mod shared;

use std::{
    error::Error,
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use tokio::{
    net::{TcpListener, TcpSocket},
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;

pub use faults::{Faults, RefuseUpgrades};
pub use record::{ConnectionRecord, Ending, Record};

use session::Order;
use shared::{Shared, lock};

/// How a server is set up.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ServerOptions {
    /// Whether every token is good, and names its bearer: all of it, or what stands before a `#`.
    pub any_token: bool,
}

impl ServerOptions {
    /// With every token good, and naming its bearer.
    #[must_use]
    pub const fn any_token(mut self) -> Self {
        self.any_token = true;
        self
    }
}

/// A running server. Dropping it stops it and drops every connection.
pub struct Server {
    shared: Arc<Shared>,
    ca_pem: String,
    tls: TlsAcceptor,
    tls_addr: SocketAddr,
    plain_addr: SocketAddr,
    accepting: Mutex<Vec<JoinHandle<()>>>,
}

impl Server {
    /// Starts a server on two free ports of 127.0.0.1.
    ///
    /// # Errors
    /// When no port can be had or no certificate be made.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(options: ServerOptions) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let authority = authority::create()?;
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (tls, plain) = (listen(any_port)?, listen(any_port)?);
        let server = Self {
            shared: Arc::new(Shared::new(options.any_token)),
            ca_pem: authority.ca_pem,
            tls: TlsAcceptor::from(authority.config),
            tls_addr: tls.local_addr()?,
            plain_addr: plain.local_addr()?,
            accepting: Mutex::default(),
        };
        server.accept_from(tls, plain);
        Ok(server)
    }

    /// The `wss` URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("wss://{}{path}", self.tls_addr)
    }

    /// The `ws` URL of a path.
    pub fn plain_url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.plain_addr)
    }

    /// Where TLS is spoken.
    pub const fn tls_addr(&self) -> SocketAddr {
        self.tls_addr
    }

    /// Where it is not.
    pub const fn plain_addr(&self) -> SocketAddr {
        self.plain_addr
    }

    /// The certificate of our authority, in PEM: what a client has to trust.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// A token for a participant.
    pub fn issue_token(&self, participant: &str) -> String {
        lock(&self.shared.hall).issue(participant)
    }

    /// Lets every token issued so far expire, and tells so to everybody who came with one.
    pub fn expire_tokens(&self) {
        lock(&self.shared.hall).expire_tokens();
        self.shared.order(None, &Order::Expire);
    }

    /// Changes the lasting faults.
    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        self.shared.faults.send_modify(change);
    }

    /// Closes every connection.
    pub fn close_all(&self, code: u16, reason: &str) {
        self.shared.order(None, &Order::Close(code, reason.to_owned()));
    }

    /// Closes the connections of one participant.
    pub fn close(&self, participant: &str, code: u16, reason: &str) {
        self.shared.order(Some(participant), &Order::Close(code, reason.to_owned()));
    }

    /// Sends a text as it is to every connection.
    pub fn say(&self, text: &str) {
        self.shared.order(None, &Order::Say(text.to_owned()));
    }

    /// What the server saw until now.
    pub fn record(&self) -> Record {
        self.shared.record.borrow().clone()
    }

    /// Waits until the record fulfils a condition, and returns it.
    pub async fn until(&self, condition: impl FnMut(&Record) -> bool) -> Record {
        let mut record = self.shared.record.subscribe();
        // The sender lives as long as `self`, so waiting cannot fail.
        record.wait_for(condition).await.map_or_else(|_| self.record(), |record| record.clone())
    }

    /// Stops listening and drops every connection, as a killed process does. Rooms and tokens stay.
    pub async fn go_down(&self) {
        let accepting = std::mem::take(&mut *lock(&self.accepting));
        for task in accepting {
            task.abort();
            // An aborted task ends with an error that says just this.
            let _ = task.await;
        }
    }

    /// Listens again, on the same ports.
    ///
    /// # Errors
    /// When somebody else has taken one of them.
    pub fn come_up(&self) -> io::Result<()> {
        self.accept_from(listen(self.tls_addr)?, listen(self.plain_addr)?);
        Ok(())
    }

    fn accept_from(&self, tls: TcpListener, plain: TcpListener) {
        let shared = &self.shared;
        let tls = tokio::spawn(accept(tls, Some(self.tls.clone()), Arc::clone(shared)));
        let plain = tokio::spawn(accept(plain, None, Arc::clone(shared)));
        lock(&self.accepting).extend([tls, plain]);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for task in &*lock(&self.accepting) {
            task.abort();
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("tls", &self.tls_addr)
            .field("plain", &self.plain_addr)
            .finish_non_exhaustive()
    }
}

/// A listener whose queue holds a whole fleet, and whose port can be taken again at once.
fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(4096)
}

/// Serves until it is aborted; its connections go with it.
async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let session = session::serve(Arc::clone(&shared), stream, tls.clone());
                    sessions.spawn(async move {
                        if let Err(error) = session.await {
                            tracing::debug!(%peer, error, "connection ended");
                        }
                    });
                }
                // Out of descriptors, or the peer was gone already: the next one may do better.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept");
                    tokio::task::yield_now().await;
                }
            },
            Some(_) = sessions.join_next() => {}
        }
    }
}

#[cfg(test)]
mod tests;
