//! The way to the server, when it is not TCP by name: a connector of the user's own, or a Unix socket.

use std::{fmt, io, path::Path};

use futures_core::future::BoxFuture;

use super::{
    config::TungsteniteEngineBuilder,
    transport::{AnyTransport, Transport},
};
use crate::{Endpoint, EngineError, EngineErrorKind, Stage};

/// Opens the transport to an endpoint, for [`TungsteniteEngineBuilder::connector`](
/// crate::TungsteniteEngineBuilder::connector): a simulated network, a tunnel of one's own, an in-memory pipe, a
/// socket that another process hands over.
///
/// It stands for the stages resolve, connect and proxy. TLS (for `wss://`), the upgrade and the frames then run over
/// what it yields, as over any other transport.
///
/// # Contract
/// - **Errors** become [`EngineErrorKind::Connect`] of [`Stage::Connect`], with what is returned as the source,
///   which those who decide take as worth a retry.
/// - **Cancellation**: the future is dropped when its deadline has passed (`connect_timeout`, 5 s) or the attempt
///   is, and with it everything that it holds must go; so does a transport that it has yielded.
/// - It may be called again while an earlier call is under way.
///
/// A closure is a connector, too:
/// ```
/// use everwire_engine::{TungsteniteEngine, connector_fn};
/// use tokio::net::TcpStream;
///
/// let engine = TungsteniteEngine::builder()
///     .connector(connector_fn(|_endpoint| TcpStream::connect(("127.0.0.1", 8080))))
///     .build()?;
/// # let _ = engine;
/// # Ok::<(), everwire_engine::EngineError>(())
/// ```
pub trait Connector: Send + Sync + 'static {
    /// What it yields.
    type Transport: Transport;

    /// Opens one transport to the endpoint.
    fn connect(&self, endpoint: Endpoint) -> impl Future<Output = io::Result<Self::Transport>> + Send;
}

/// A connector from a closure of the endpoint; see [`Connector`].
pub fn connector_fn<F, Fut, T>(connect: F) -> ConnectorFn<F>
where
    F: Fn(Endpoint) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = io::Result<T>> + Send,
    T: Transport,
{
    ConnectorFn(connect)
}

/// See [`connector_fn`].
#[derive(Clone, Copy)]
pub struct ConnectorFn<F>(F);

impl<F, Fut, T> Connector for ConnectorFn<F>
where
    F: Fn(Endpoint) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = io::Result<T>> + Send,
    T: Transport,
{
    type Transport = T;

    fn connect(&self, endpoint: Endpoint) -> impl Future<Output = io::Result<T>> + Send {
        (self.0)(endpoint)
    }
}

impl<F> fmt::Debug for ConnectorFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectorFn").finish_non_exhaustive()
    }
}

/// The object-safe form, for the configuration.
pub(crate) trait ErasedConnector: Send + Sync {
    fn connect_boxed(&self, endpoint: Endpoint) -> BoxFuture<'_, Result<AnyTransport, EngineError>>;
}

impl<C: Connector> ErasedConnector for C {
    fn connect_boxed(&self, endpoint: Endpoint) -> BoxFuture<'_, Result<AnyTransport, EngineError>> {
        Box::pin(async move {
            let transport = self.connect(endpoint).await;
            Ok(AnyTransport::new(transport.map_err(|error| {
                EngineError::new(EngineErrorKind::Connect, Stage::Connect)
                    .with_detail("the connector failed")
                    .with_source(error)
            })?))
        })
    }
}

impl TungsteniteEngineBuilder {
    /// Reaches servers by this connector (default: TCP, to what the name resolves to). Names are then not resolved
    /// and sockets not set up by the engine; [`build`](Self::build) refuses a proxy and an address or interface to
    /// bind to beside it.
    pub fn connector(mut self, connector: impl Connector) -> Self {
        self.connector = Some(Box::new(connector));
        self
    }

    /// Reaches servers by the Unix socket at this path, whatever host the URL names; host and path of the URL go
    /// into the upgrade. A path that nobody listens on is [`EngineErrorKind::Connect`]. On systems without Unix
    /// sockets, [`build`](Self::build) fails with [`EngineErrorKind::InvalidConfiguration`].
    ///
    /// ```no_run
    /// use everwire_engine::TungsteniteEngine;
    ///
    /// let engine = TungsteniteEngine::builder().unix_socket("/run/chat.sock").build()?;
    /// # let _ = engine;
    /// # Ok::<(), everwire_engine::EngineError>(())
    /// ```
    pub fn unix_socket(self, path: impl AsRef<Path>) -> Self {
        let mut builder = self;
        #[cfg(unix)]
        {
            builder.connector = Some(Box::new(UnixSocket(path.as_ref().into())));
        }
        #[cfg(not(unix))]
        {
            let words = format!("this system has no Unix sockets, so {:?} is out of reach", path.as_ref());
            let error = EngineError::new(EngineErrorKind::InvalidConfiguration, Stage::Request);
            builder.error = builder.error.or_else(|| Some(error.with_detail(words)));
        }
        builder
    }
}

#[cfg(unix)]
struct UnixSocket(std::path::PathBuf);

#[cfg(unix)]
impl ErasedConnector for UnixSocket {
    fn connect_boxed(&self, _endpoint: Endpoint) -> BoxFuture<'_, Result<AnyTransport, EngineError>> {
        Box::pin(async move {
            let connected = tokio::net::UnixStream::connect(&self.0).await;
            Ok(AnyTransport::new(connected.map_err(|error| {
                let words = format!("the Unix socket {}: {error}", self.0.display());
                EngineError::new(EngineErrorKind::Connect, Stage::Connect)
                    .with_detail(words)
                    .with_source(error)
            })?))
        })
    }
}
