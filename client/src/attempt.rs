//! What an attempt to connect is made of: where to, with which credentials, and why the last one failed.

use std::{error::Error as StdError, fmt, sync::Arc};

use everwire_engine::{CloseCode, ConnectRequest};
use futures_core::future::BoxFuture;

use crate::{ApiError, Credentials, DisconnectionSource, ServerReason};

/// The user called `connect`.
pub(crate) const CONNECT: &str = "connect";

/// What is known when an attempt begins. Handed to the request provider, the credential provider and
/// [`HandshakeHandle`](crate::HandshakeHandle).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// Which attempt this is; the first is 1.
    pub generation: u64,
    /// Why it was begun: `connect` when the user called that, otherwise the word that recovery had for it.
    pub cause: &'static str,
    /// How the attempt before this one ended; `None` for the first.
    pub previous: Option<DisconnectionSource>,
    /// Set when the server refused the credentials of the attempt before: new ones are needed.
    pub refused: Option<Refused>,
    /// Which connection lives on beside this attempt and is to be replaced by it, if there is one.
    pub replaces: Option<u64>,
    /// Set when the connection of this attempt lives and its credentials are about to expire: new ones are
    /// wanted, and [`credentials`](Self::credentials) are those that expire.
    pub renewing: bool,
    /// The credentials of this attempt, when there is a provider. A provider that is asked finds the ones of the
    /// attempt before.
    pub credentials: Option<Credentials>,
}

impl Attempt {
    /// The first attempt of all: for tests of your own providers.
    pub const fn first() -> Self {
        Self {
            generation: 1,
            cause: CONNECT,
            previous: None,
            refused: None,
            replaces: None,
            renewing: false,
            credentials: None,
        }
    }

    pub(crate) fn after(generation: u64, cause: &'static str, previous: Option<DisconnectionSource>) -> Self {
        let refused = previous.as_ref().and_then(Refused::from_source);
        Self { generation, cause, previous, refused, replaces: None, renewing: false, credentials: None }
    }

    /// The same while its connection lives: asked for credentials in the place of those that expire.
    pub(crate) fn renewing(&self) -> Self {
        Self { refused: None, renewing: true, ..self.clone() }
    }
}

/// The server's refusal of credentials, as far as it said why.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Refused {
    /// The error in the server's own protocol, such as Stream's code 40 for an expired token.
    pub api_error: Option<ApiError>,
    /// The HTTP status of a refused upgrade: 401 or 403.
    pub http_status: Option<u16>,
    /// The close code: 1008, 3000, 4401 or 4403.
    pub close_code: Option<CloseCode>,
}

impl Refused {
    /// Whether a disconnection says that credentials were refused, by evidence only: Stream's codes 5, 40 and
    /// 43 or a status 401 or 403 in an error event, HTTP 401 or 403, or one of the close codes that mean it.
    pub fn from_source(source: &DisconnectionSource) -> Option<Self> {
        let api_error = source.api_error().filter(|error| is_about_credentials(error)).cloned();
        let reason = source.server_reason();
        let http_status = reason.and_then(ServerReason::http_status).filter(|s| matches!(s, 401 | 403));
        let close_code = reason
            .and_then(|reason| reason.close.as_ref())
            .map(|frame| frame.code)
            .filter(|code| matches!(code.get(), 1008 | 3000 | 4401 | 4403));
        (api_error.is_some() || http_status.is_some() || close_code.is_some()).then_some(Self {
            api_error,
            http_status,
            close_code,
        })
    }
}

fn is_about_credentials(error: &ApiError) -> bool {
    matches!(error.code, 5 | ApiError::TOKEN_EXPIRED | 43) || matches!(error.status, Some(401 | 403))
}

/// Where to connect, asked once per attempt: one-time URLs, endpoints that rotate, tokens in a header.
///
/// A [`ConnectRequest`] is a provider that always says the same. [`request_fn`] makes one from a closure.
///
/// # Contract
/// The future counts against the deadline of the attempt, and is dropped when the user disconnects.
pub trait RequestProvider: Send + Sync + 'static {
    /// The request of this attempt.
    ///
    /// # Errors
    /// An error, or a panic, ends the attempt as a failed dial does; recovery tries again by its rules. An
    /// [`EngineError`](crate::EngineError) stays what it is, any other is the source of one of the kind
    /// [`NoRequest`](crate::EngineErrorKind::NoRequest).
    fn request(
        &self,
        attempt: &Attempt,
    ) -> impl Future<Output = Result<ConnectRequest, Box<dyn StdError + Send + Sync>>> + Send;
}

impl RequestProvider for ConnectRequest {
    async fn request(&self, _: &Attempt) -> Result<Self, Box<dyn StdError + Send + Sync>> {
        Ok(self.clone())
    }
}

/// A [`RequestProvider`] from a closure.
///
/// ```
/// use everwire_client::{ConnectRequest, request_fn};
///
/// let rotating = request_fn(|attempt| async move {
///     let host = ["a.example.org", "b.example.org"][attempt.generation as usize % 2];
///     Ok(ConnectRequest::new(&format!("wss://{host}/live"))?)
/// });
/// # fn is(_: impl everwire_client::RequestProvider) {}
/// # is(rotating);
/// ```
pub fn request_fn<F, Fut>(f: F) -> RequestFn<F>
where
    F: Fn(Attempt) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<ConnectRequest, Box<dyn StdError + Send + Sync>>> + Send,
{
    RequestFn(f)
}

/// See [`request_fn`].
#[derive(Clone, Copy)]
pub struct RequestFn<F>(F);

impl<F, Fut> RequestProvider for RequestFn<F>
where
    F: Fn(Attempt) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<ConnectRequest, Box<dyn StdError + Send + Sync>>> + Send,
{
    fn request(
        &self,
        attempt: &Attempt,
    ) -> impl Future<Output = Result<ConnectRequest, Box<dyn StdError + Send + Sync>>> + Send {
        (self.0)(attempt.clone())
    }
}

impl<F> fmt::Debug for RequestFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestFn").finish_non_exhaustive()
    }
}

/// The erased form that the driver holds.
pub(crate) type Requests = Arc<dyn ErasedProvider>;

pub(crate) trait ErasedProvider: Send + Sync {
    fn request_boxed(
        self: Arc<Self>,
        attempt: Attempt,
    ) -> BoxFuture<'static, Result<ConnectRequest, Box<dyn StdError + Send + Sync>>>;
}

impl<P: RequestProvider> ErasedProvider for P {
    fn request_boxed(
        self: Arc<Self>,
        attempt: Attempt,
    ) -> BoxFuture<'static, Result<ConnectRequest, Box<dyn StdError + Send + Sync>>> {
        Box::pin(async move { self.request(&attempt).await })
    }
}

pub(crate) fn erase(provider: impl RequestProvider) -> Requests {
    Arc::new(provider)
}

#[cfg(test)]
mod tests {
    use everwire_engine::{CloseFrame, EngineError, Refusal};

    use super::*;

    fn refused(reason: ServerReason) -> bool {
        Refused::from_source(&DisconnectionSource::from(reason)).is_some()
    }

    /// §8.1: credentials are renewed on evidence only.
    #[test]
    fn rule_8_1_only_evidence_counts_as_a_refusal_of_credentials() {
        let closed = |code| refused(ServerReason::closed(Some(CloseFrame::new(code, "").unwrap())));
        for code in [1008, 3000, 4401, 4403] {
            assert!(closed(code), "{code}");
        }
        for code in [1000, 1001, 1011, 1012, 4400] {
            assert!(!closed(code), "{code}");
        }
        let upgrade = |status: u16| {
            let refusal =
                Refusal::new(status.try_into().unwrap(), http::HeaderMap::new(), bytes::Bytes::new());
            refused(ServerReason::engine_error(EngineError::refused(refusal)))
        };
        assert!(upgrade(401) && upgrade(403));
        assert!(!upgrade(404) && !upgrade(503));
        let api = |code| refused(ServerReason::api_error(ApiError::new(code, "")));
        assert!(api(40) && api(5) && api(43));
        assert!(!api(9) && !api(42) && !api(4));
        assert!(refused(ServerReason::api_error(ApiError::new(-1, "").with_status(401))));
        assert!(Refused::from_source(&DisconnectionSource::NoPongReceived).is_none());
    }
}
