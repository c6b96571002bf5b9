//! Credentials: where they come from, and who shares them.

mod renewal;

use std::{
    error::Error as StdError,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_core::future::BoxFuture;
use tokio::sync::Mutex;

pub use self::renewal::CredentialRenewal;
pub(crate) use self::renewal::{Due, Renewal};
use crate::{Attempt, AuthenticationError, AuthenticationErrorKind};

/// A secret, such as a token, and how long it is good for. Never prints.
///
/// Two credentials are equal when their secrets are: that is how a provider that returns the very token that
/// was just refused is found out.
#[derive(Clone)]
pub struct Credentials {
    secret: Arc<str>,
    expires_at: Option<SystemTime>,
}

impl Credentials {
    /// Credentials that do not say when they expire.
    pub fn new(secret: impl Into<Arc<str>>) -> Self {
        Self { secret: secret.into(), expires_at: None }
    }

    /// With the moment from which the server will refuse them, by the wall clock: the `exp` of a JWT. The client
    /// renews them before that, as [`CredentialRenewal`] says, and [`SingleFlight`] caches them no longer.
    ///
    /// A wall clock that is set meanwhile, and a machine that sleeps, are taken into account. One that disagrees
    /// with the server's is not: where that may be, [`expiring_in`](Self::expiring_in) is better.
    #[must_use]
    pub const fn expiring_at(mut self, expires_at: SystemTime) -> Self {
        self.expires_at = Some(expires_at);
        self
    }

    /// With how long they are good for, counted from this call: the `expires_in` of OAuth 2.0
    /// ([RFC 6749 §5.1](https://www.rfc-editor.org/rfc/rfc6749#section-5.1)). As
    /// [`expiring_at`](Self::expiring_at) otherwise; a life beyond what the clock can express has no end.
    #[expect(clippy::disallowed_methods, reason = "a life that begins now is an end by the wall clock")]
    #[must_use]
    pub fn expiring_in(mut self, life: Duration) -> Self {
        self.expires_at = SystemTime::now().checked_add(life);
        self
    }

    /// The secret itself, to be sent and nothing else.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// When they expire, if they say so.
    pub const fn expires_at(&self) -> Option<SystemTime> {
        self.expires_at
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "expiry is a matter of the wall clock, read once per attempt"
    )]
    pub(crate) fn is_expired(&self) -> bool {
        self.expires_at.is_some_and(|at| at <= SystemTime::now())
    }
}

impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        self.secret == other.secret
    }
}

impl Eq for Credentials {}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// Where credentials come from: asked once per attempt, and told why the last ones were refused.
///
/// # Contract
/// - A provider may cache. When [`Attempt::refused`] is set it must not return what it returned before: the
///   same credentials twice end the attempt with
///   [`RefusedTwice`](AuthenticationErrorKind::RefusedTwice), and recovery stops.
/// - When they say when they expire, it is asked once more before that, with [`Attempt::renewing`] set. Its error,
///   its silence or the same ones again then leave the connection alone, and it is asked again with back-off until
///   they have expired.
/// - It is given 10 s by default, and is dropped when the user disconnects.
/// - A panic is contained and ends the attempt.
/// - Clients that share one wrap it in [`SingleFlight`].
pub trait CredentialProvider: Send + Sync + 'static {
    /// The credentials of this attempt.
    ///
    /// # Errors
    /// Any error ends the attempt with [`Failed`](AuthenticationErrorKind::Failed).
    fn credentials(
        &self,
        attempt: &Attempt,
    ) -> impl Future<Output = Result<Credentials, Box<dyn StdError + Send + Sync>>> + Send;
}

/// The same credentials for ever; refused ones cannot be renewed, so recovery stops.
impl CredentialProvider for Credentials {
    async fn credentials(&self, _: &Attempt) -> Result<Self, Box<dyn StdError + Send + Sync>> {
        Ok(self.clone())
    }
}

impl<P: CredentialProvider> CredentialProvider for Arc<P> {
    fn credentials(
        &self,
        attempt: &Attempt,
    ) -> impl Future<Output = Result<Credentials, Box<dyn StdError + Send + Sync>>> + Send {
        P::credentials(self, attempt)
    }
}

/// A [`CredentialProvider`] from a closure.
///
/// ```
/// use everwire_client::{Credentials, credentials_fn};
///
/// let provider = credentials_fn(|attempt| async move {
///     let fresh = attempt.refused.is_some();
///     Ok(Credentials::new(if fresh { "a new token" } else { "the cached token" }))
/// });
/// # fn is(_: impl everwire_client::CredentialProvider) {}
/// # is(provider);
/// ```
pub fn credentials_fn<F, Fut>(f: F) -> CredentialsFn<F>
where
    F: Fn(Attempt) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Credentials, Box<dyn StdError + Send + Sync>>> + Send,
{
    CredentialsFn(f)
}

/// See [`credentials_fn`].
#[derive(Clone, Copy)]
pub struct CredentialsFn<F>(F);

impl<F, Fut> CredentialProvider for CredentialsFn<F>
where
    F: Fn(Attempt) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Credentials, Box<dyn StdError + Send + Sync>>> + Send,
{
    fn credentials(
        &self,
        attempt: &Attempt,
    ) -> impl Future<Output = Result<Credentials, Box<dyn StdError + Send + Sync>>> + Send {
        (self.0)(attempt.clone())
    }
}

impl<F> fmt::Debug for CredentialsFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialsFn").finish_non_exhaustive()
    }
}

/// A provider that many clients share: one call is in flight at a time, and what it yields serves all who
/// waited, until it is refused or expires.
///
/// Put it into an [`Arc`] and hand a clone to each client.
#[derive(Debug)]
pub struct SingleFlight<P> {
    provider: P,
    cached: Mutex<Option<Credentials>>,
}

impl<P: CredentialProvider> SingleFlight<P> {
    /// Wraps a provider.
    pub fn new(provider: P) -> Self {
        Self { provider, cached: Mutex::new(None) }
    }
}

impl<P: CredentialProvider> CredentialProvider for SingleFlight<P> {
    async fn credentials(&self, attempt: &Attempt) -> Result<Credentials, Box<dyn StdError + Send + Sync>> {
        // The lock is the single flight: who waits for it finds what the one before has fetched.
        let mut cached = self.cached.lock().await;
        let unwanted = attempt.refused.is_some() || attempt.renewing;
        match &*cached {
            // What is cached is not what was refused, or is about to expire: somebody renewed it meanwhile. Without
            // knowing which ones were refused, a refusal means the cached ones.
            Some(credentials)
                if !credentials.is_expired()
                    && (!unwanted || attempt.credentials.as_ref().is_some_and(|old| old != credentials)) =>
            {
                Ok(credentials.clone())
            }
            _ => {
                let fresh = self.provider.credentials(attempt).await?;
                *cached = Some(fresh.clone());
                Ok(fresh)
            }
        }
    }
}

/// The erased form that the driver holds: bounded in time, and never twice the refused ones.
pub(crate) type Credentialing =
    Arc<dyn Fn(Attempt) -> BoxFuture<'static, Result<Credentials, AuthenticationError>> + Send + Sync>;

/// `attempt.credentials` holds the ones of the attempt before, so that a refusal can be recognised.
pub(crate) fn erase(provider: impl CredentialProvider, deadline: Duration) -> Credentialing {
    let provider = Arc::new(provider);
    Arc::new(move |attempt| {
        let provider = Arc::clone(&provider);
        Box::pin(async move {
            let said = attempt.refused.as_ref().and_then(|refused| refused.api_error.clone());
            let error = |kind| AuthenticationError::new(kind).with_api_error(said.clone());
            let bounded = tokio::time::timeout(deadline, provider.credentials(&attempt));
            let credentials = match bounded.await {
                Ok(Ok(credentials)) => credentials,
                Ok(Err(source)) => return Err(AuthenticationError::failed(source).with_api_error(said)),
                Err(_) => return Err(error(AuthenticationErrorKind::Timeout)),
            };
            if attempt.refused.is_some() && attempt.credentials.as_ref() == Some(&credentials) {
                return Err(error(AuthenticationErrorKind::RefusedTwice));
            }
            Ok(credentials)
        })
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::attempt::Refused;

    fn numbered(calls: Arc<AtomicU32>) -> impl CredentialProvider {
        credentials_fn(move |_| {
            let n = calls.fetch_add(1, Ordering::Relaxed);
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(Credentials::new(format!("token-{n}")))
            }
        })
    }

    fn refused(credentials: &Credentials) -> Attempt {
        Attempt {
            refused: Some(Refused::default()),
            credentials: Some(credentials.clone()),
            ..Attempt::first()
        }
    }

    /// §8.1: single-flight across clients that share a provider.
    #[tokio::test(start_paused = true)]
    async fn rule_8_1_clients_that_share_a_provider_cause_one_call() {
        let calls = Arc::new(AtomicU32::new(0));
        let shared = Arc::new(SingleFlight::new(numbered(Arc::clone(&calls))));
        let asks = (0..50).map(|_| {
            let shared = Arc::clone(&shared);
            async move { shared.credentials(&Attempt::first()).await.unwrap() }
        });
        let all = futures_util::future::join_all(asks).await;
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        // The token is refused to all of them: again one call serves all.
        let asks = all.iter().map(|old| {
            let shared = Arc::clone(&shared);
            async move { shared.credentials(&refused(old)).await.unwrap() }
        });
        let renewed = futures_util::future::join_all(asks).await;
        assert_eq!(calls.load(Ordering::Relaxed), 2);
        assert!(renewed.iter().all(|credentials| credentials.secret() == "token-1"));
    }

    /// §8.1: who renews gets others than those that expire, and all who share them cause one call.
    #[tokio::test(start_paused = true)]
    async fn rule_8_1_clients_that_renew_what_they_share_cause_one_call() {
        let calls = Arc::new(AtomicU32::new(0));
        let shared = SingleFlight::new(numbered(Arc::clone(&calls)));
        let old = shared.credentials(&Attempt::first()).await.unwrap();
        let renewing = Attempt { renewing: true, credentials: Some(old), ..Attempt::first() };
        let asks = (0..20).map(|_| shared.credentials(&renewing));
        for renewed in futures_util::future::join_all(asks).await {
            assert_eq!(renewed.unwrap().secret(), "token-1");
        }
        assert_eq!(calls.load(Ordering::Relaxed), 2);
    }

    /// §8.1: bounded; the same refused credentials twice stop.
    #[tokio::test(start_paused = true)]
    async fn rule_8_1_refused_credentials_returned_again_and_silence_are_errors() {
        let fixed = erase(Credentials::new("t"), Duration::from_secs(10));
        let error = fixed(refused(&Credentials::new("t"))).await.unwrap_err();
        assert_eq!(error.kind(), AuthenticationErrorKind::RefusedTwice);
        let silent = credentials_fn(|_| std::future::pending());
        let error = erase(silent, Duration::from_secs(10))(Attempt::first()).await.unwrap_err();
        assert_eq!(error.kind(), AuthenticationErrorKind::Timeout);
    }

    #[test]
    fn invariant_11_secrets_never_print() {
        let attempt = refused(&Credentials::new("s3cret"));
        assert!(!format!("{attempt:?}").contains("s3cret"));
        // What is sent first on a connection often is one.
        let outgoing = crate::Outgoing::from("auth s3cret").hold(Duration::from_secs(1));
        let event = crate::RawEvent("s3cret".into());
        assert!(!format!("{outgoing:?} {event:?}").contains("s3cret"), "{outgoing:?} {event:?}");
    }
}
