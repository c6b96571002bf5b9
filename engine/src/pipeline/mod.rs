//! The connect pipeline: resolve, Happy Eyeballs, proxy, TLS, upgrade; each stage with its own deadline.

mod body;
mod config;
mod connector;
#[cfg(feature = "dangerous")]
mod dangerous;
mod dial;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod happy_eyeballs;
mod head;
mod key;
#[cfg(feature = "rustls")]
mod pins;
mod proxy;
mod redirect;
mod resolve;
mod socket;
mod stream;
#[cfg(feature = "rustls")]
mod tls;
#[cfg(feature = "rustls")]
mod tls_options;
mod transport;
mod upgrade;

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use tokio::time::timeout;
use tracing::Instrument;

pub(crate) use self::stream::Stream;
#[cfg(feature = "rustls")]
pub use self::tls_options::Roots;
#[cfg(test)]
pub(crate) use self::transport::AnyTransport;
use self::{
    config::Config,
    happy_eyeballs::HappyEyeballs,
    redirect::Redirects,
    upgrade::{Accepted, Answer},
};
pub use self::{
    config::TungsteniteEngineBuilder,
    connector::{Connector, ConnectorFn, connector_fn},
    proxy::Proxy,
    resolve::{Resolver, ResolverFn, SystemResolver, resolver_fn},
    transport::{Addressed, Transport},
};
use crate::{
    ConnectRequest, Engine, EngineError, EngineErrorKind, Handshake, Stage, frames::TungsteniteConnection,
};

/// The default engine: our own way to the server, tungstenite's frames over it.
///
/// Cheap to clone; clones share the configuration and the TLS sessions, so one engine per process is the
/// rule.
///
/// An attempt runs through the stages resolve, connect (every address by RFC 8305), proxy (when
/// one is set), TLS and upgrade. Each has its own deadline, the attempt as a whole has one more, and an error
/// names its stage. An address that
/// accepts TCP and then falls silent makes place for the next one, as long as the attempt's deadline allows.
///
/// ```no_run
/// use everwire_engine::{ConnectRequest, Engine, TungsteniteEngine};
/// # async fn run() -> Result<(), everwire_engine::EngineError> {
/// let engine = TungsteniteEngine::new();
/// let connection = engine.connect(ConnectRequest::new("wss://chat.example.org/")?).await?;
/// # drop(connection); Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TungsteniteEngine(Arc<Config>);

impl TungsteniteEngine {
    /// An engine with all defaults.
    #[expect(clippy::missing_panics_doc, reason = "the defaults are constants that build() accepts")]
    pub fn new() -> Self {
        Self::builder().build().expect("the defaults are valid, and a test builds them")
    }

    /// Sets up another one.
    pub fn builder() -> TungsteniteEngineBuilder {
        TungsteniteEngineBuilder::default()
    }

    async fn attempt(&self, mut request: ConnectRequest) -> Result<TungsteniteConnection, EngineError> {
        let mut redirects = Redirects::new(self.0.redirects);
        loop {
            // The answer has closed its connection already.
            match self.hop(&request).await {
                Ok(connection) => return Ok(connection),
                Err(error) => {
                    let error = error.with_endpoint(request.endpoint().clone());
                    request = redirects.handle(&request, error)?;
                }
            }
        }
    }

    /// All stages once.
    async fn hop(&self, request: &ConnectRequest) -> Result<TungsteniteConnection, EngineError> {
        let config = &*self.0;
        let endpoint = request.endpoint();
        if let Some(connector) = &config.connector {
            let connecting = connector.connect_boxed(endpoint.clone());
            let transport = stage(Stage::Connect, config.deadlines.connect, connecting).await?;
            return self.over(Stream::Any(transport), None, request).await;
        }
        let proxy = config.proxy.for_endpoint(endpoint)?;
        let (host, port) = proxy.map_or_else(|| (endpoint.host(), endpoint.port()), Proxy::address);
        let addresses = stage(
            Stage::Resolve,
            config.deadlines.resolve,
            config.resolver.resolve_boxed(host.to_owned(), port),
        )
        .await;
        let outcome = match addresses {
            Ok(addresses) => self.race(addresses, proxy, request).await,
            Err(error) => Err(error),
        };
        // The endpoint of the error is the server; these stages never came so far.
        match (outcome, proxy) {
            (Err(error), Some(proxy)) if matches!(error.stage(), Stage::Resolve | Stage::Connect) => {
                let words = format!("on the way to the proxy {proxy}");
                Err(EngineError::new(error.kind(), error.stage()).with_detail(words).with_source(error))
            }
            (outcome, _) => outcome,
        }
    }

    /// The stages after resolution, with the first address that carries them to the end.
    async fn race(
        &self,
        addresses: Vec<SocketAddr>,
        proxy: Option<&Proxy>,
        request: &ConnectRequest,
    ) -> Result<TungsteniteConnection, EngineError> {
        let config = &*self.0;
        let mut race = HappyEyeballs::new(addresses, config.stagger);
        loop {
            let dial = dial::dial(&mut race, config.deadlines.connect, &config.socket);
            let tcp = dial.instrument(span(Stage::Connect)).await?;
            match self.over(Stream::Tcp(tcp), proxy, request).await {
                // This address may be a dead end behind a live front: the next one may not be.
                Err(error) if fell_silent(&error) && race.has_more() => {
                    tracing::debug!(%error, "the address fell silent, the next one is tried");
                }
                outcome => return outcome,
            }
        }
    }

    /// The stages over an open transport.
    async fn over(
        &self,
        mut io: Stream,
        proxy: Option<&Proxy>,
        request: &ConnectRequest,
    ) -> Result<TungsteniteConnection, EngineError> {
        let config = &*self.0;
        let mut handshake = Handshake::default();
        (handshake.local_addr, handshake.peer_addr) = io.addresses();
        if let Some(proxy) = proxy {
            let tunnel = proxy.tunnel(&mut io, request.endpoint());
            stage(Stage::Proxy, config.deadlines.proxy, tunnel).await?;
        }
        if request.endpoint().is_secure() {
            io = self.secure(io, request, &mut handshake).await?;
        }
        let upgrade = upgrade::upgrade(&mut io, request, config.deflate.as_ref());
        let answer = stage(Stage::Upgrade, config.deadlines.upgrade, upgrade).await;
        #[cfg(feature = "rustls")]
        let answer = answer.map_err(tls::blame);
        let Accepted { headers, subprotocol, compression, rest } = match answer? {
            Answer::Accepted(accepted) => accepted,
            Answer::Refused(refusal) => return Err(EngineError::refused(refusal)),
        };
        handshake.headers = headers;
        handshake.subprotocol = subprotocol;
        Ok(TungsteniteConnection::new(io, rest, handshake, config.frames, compression))
    }

    #[cfg(feature = "rustls")]
    async fn secure(
        &self,
        io: Stream,
        request: &ConnectRequest,
        facts: &mut Handshake,
    ) -> Result<Stream, EngineError> {
        let tls_config = Arc::clone(self.0.tls.as_ref().map_err(Clone::clone)?);
        let handshake = tls::handshake(tls_config, request.endpoint().host(), io);
        let tls = stage(Stage::Tls, self.0.deadlines.tls, handshake).await?;
        let session = tls.get_ref().1;
        facts.tls_version = session.protocol_version().and_then(|version| version.as_str());
        facts.tls_resumed = session.handshake_kind().map(|kind| kind == rustls::HandshakeKind::Resumed);
        Ok(Stream::Tls(Box::new(tls)))
    }

    #[cfg(not(feature = "rustls"))]
    #[expect(clippy::unused_async, reason = "one signature for both forms")]
    async fn secure(
        &self,
        _io: Stream,
        _request: &ConnectRequest,
        _facts: &mut Handshake,
    ) -> Result<Stream, EngineError> {
        Err(EngineError::new(EngineErrorKind::InvalidConfiguration, Stage::Tls)
            .with_detail("wss:// needs the feature rustls-ring or rustls-aws-lc-rs"))
    }
}

impl Default for TungsteniteEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine for TungsteniteEngine {
    type Connection = TungsteniteConnection;

    async fn connect(&self, request: ConnectRequest) -> Result<TungsteniteConnection, EngineError> {
        let endpoint = request.endpoint().clone();
        let span = tracing::debug_span!("connect", %endpoint);
        let deadline = self.0.deadlines.attempt;
        let outcome = timeout(deadline, self.attempt(request)).instrument(span).await;
        outcome
            .unwrap_or_else(|_| Err(EngineError::timeout(Stage::Attempt, deadline).with_endpoint(endpoint)))
    }
}

impl fmt::Debug for TungsteniteEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TungsteniteEngine")
            .field("deadlines", &self.0.deadlines)
            .field("frames", &self.0.frames)
            .finish_non_exhaustive()
    }
}

/// A stage within its deadline and its span.
async fn stage<T>(
    stage: Stage,
    deadline: Duration,
    work: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, EngineError> {
    let outcome = timeout(deadline, work).instrument(span(stage)).await;
    outcome.unwrap_or_else(|_| Err(EngineError::timeout(stage, deadline)))
}

fn span(stage: Stage) -> tracing::Span {
    tracing::debug_span!("stage", %stage)
}

/// Whether another address of the same server may do better.
fn fell_silent(error: &EngineError) -> bool {
    error.kind() == EngineErrorKind::Timeout
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::Connection;

    /// behaviour §1: an address that accepts TCP and then never answers makes place for the next one, and
    /// one that refuses TCP costs nothing.
    #[tokio::test]
    async fn rule_1_a_refusing_and_a_silent_address_make_place_for_one_that_answers() {
        let listen = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (refusing, silent, answering) = (listen().await, listen().await, listen().await);
        let addresses = [&refusing, &silent, &answering].map(|listener| listener.local_addr().unwrap());
        drop(refusing);
        tokio::spawn(async move {
            let tcp = answering.accept().await.unwrap().0;
            let socket = tokio_tungstenite::accept_async(tcp).await.unwrap();
            std::future::pending::<()>().await;
            drop(socket);
        });
        let engine =
            TungsteniteEngine::builder().upgrade_timeout(Duration::from_millis(300)).build().unwrap();
        let request = ConnectRequest::new("ws://several.invalid/").unwrap();
        let connection = engine.race(addresses.to_vec(), None, &request).await.unwrap();
        assert_eq!(connection.handshake().peer_addr, Some(addresses[2]));
        let error = engine.race(addresses[..2].to_vec(), None, &request).await.unwrap_err();
        assert_eq!((error.kind(), error.stage()), (EngineErrorKind::Timeout, Stage::Upgrade));
        drop(silent);
    }
}
