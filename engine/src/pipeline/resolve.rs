//! Names to addresses: the system's way, or one's own.

use std::{fmt, net::SocketAddr};

use futures_core::future::BoxFuture;

use crate::{EngineError, EngineErrorKind, Stage};

/// Turns a host and a port into addresses, for [`TungsteniteEngineBuilder::resolver`](
/// crate::TungsteniteEngineBuilder::resolver): a cache, DNS over HTTPS, service discovery, or a fixed address
/// in a test.
///
/// # Contract
/// - The host is a name or an address, as the URL wrote it and without brackets. Through a proxy, it is that
///   of the proxy.
/// - The order of the addresses is the order of preference; families are interleaved later
///   ([RFC 8305](https://www.rfc-editor.org/rfc/rfc8305)), so both families are best returned together. No
///   address at all is a failure, even when it is returned as `Ok`.
/// - **Errors** should be of the kind [`EngineErrorKind::Resolve`], which is worth a retry to those who
///   decide.
/// - **Cancellation**: the future is dropped when the stage's deadline has passed (`resolve_timeout`, 5 s) or
///   the attempt is; nothing may outlive it that matters.
///
/// A closure is a resolver, too:
/// ```
/// use everwire_engine::{TungsteniteEngine, resolver_fn};
///
/// let engine = TungsteniteEngine::builder()
///     .resolver(resolver_fn(|_host, port| async move { Ok(vec![([127, 0, 0, 1], port).into()]) }))
///     .build()?;
/// # let _ = engine;
/// # Ok::<(), everwire_engine::EngineError>(())
/// ```
pub trait Resolver: Send + Sync + 'static {
    /// The addresses of a host, in the order of preference.
    fn resolve(
        &self,
        host: String,
        port: u16,
    ) -> impl Future<Output = Result<Vec<SocketAddr>, EngineError>> + Send;
}

/// The operating system's resolver, which is the default: `getaddrinfo` on a thread of tokio's pool.
///
/// The system call cannot be cancelled: after a deadline it ends in its thread, and nobody hears of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    async fn resolve(&self, host: String, port: u16) -> Result<Vec<SocketAddr>, EngineError> {
        let addresses = tokio::net::lookup_host((host, port)).await;
        Ok(addresses.map_err(|error| failed().with_source(error))?.collect())
    }
}

/// A resolver from a closure of host and port; see [`Resolver`].
pub fn resolver_fn<F, Fut>(resolve: F) -> ResolverFn<F>
where
    F: Fn(String, u16) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Vec<SocketAddr>, EngineError>> + Send,
{
    ResolverFn(resolve)
}

/// See [`resolver_fn`].
#[derive(Clone, Copy)]
pub struct ResolverFn<F>(F);

impl<F, Fut> Resolver for ResolverFn<F>
where
    F: Fn(String, u16) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Vec<SocketAddr>, EngineError>> + Send,
{
    fn resolve(
        &self,
        host: String,
        port: u16,
    ) -> impl Future<Output = Result<Vec<SocketAddr>, EngineError>> + Send {
        (self.0)(host, port)
    }
}

impl<F> fmt::Debug for ResolverFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResolverFn").finish_non_exhaustive()
    }
}

/// The object-safe form, for the configuration.
pub(crate) trait ErasedResolver: Send + Sync {
    fn resolve_boxed(&self, host: String, port: u16) -> BoxFuture<'_, Result<Vec<SocketAddr>, EngineError>>;
}

impl<R: Resolver> ErasedResolver for R {
    fn resolve_boxed(&self, host: String, port: u16) -> BoxFuture<'_, Result<Vec<SocketAddr>, EngineError>> {
        Box::pin(async move {
            let addresses = self.resolve(host, port).await?;
            if addresses.is_empty() {
                return Err(failed().with_detail("the name has no address"));
            }
            Ok(addresses)
        })
    }
}

fn failed() -> EngineError {
    EngineError::new(EngineErrorKind::Resolve, Stage::Resolve)
}
