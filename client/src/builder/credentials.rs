//! The settings about credentials: where they come from, and how they are renewed.

use std::{
    error::Error as StdError,
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use super::{BuildError, ClientBuilder};
use crate::{
    CredentialProvider, CredentialRenewal, HandshakeHandle,
    auth::{self, Credentialing},
    decode::EventDecoder,
    hooks::{self, Authenticate},
};

/// What the driver needs to know, where there is a provider.
pub(crate) struct CredentialSettings {
    pub(crate) provider: Credentialing,
    pub(crate) renewal: CredentialRenewal,
    /// How long before their end credentials are renewed.
    pub(crate) margin: Duration,
    /// For the jitter of renewals.
    pub(crate) seed: u64,
    pub(crate) on_renewed: Option<Authenticate>,
}

/// What was said so far.
pub(super) struct CredentialSetup {
    provider: Option<Box<dyn FnOnce(Duration) -> Credentialing + Send>>,
    timeout: Duration,
    renewal: CredentialRenewal,
    margin: Duration,
    on_renewed: Option<Authenticate>,
}

impl Default for CredentialSetup {
    fn default() -> Self {
        Self {
            provider: None,
            timeout: Duration::from_secs(10),
            renewal: CredentialRenewal::default(),
            margin: Duration::from_secs(30),
            on_renewed: None,
        }
    }
}

impl CredentialSetup {
    /// Refuses what cannot work.
    pub(super) fn check(&self) -> Result<(), BuildError> {
        if self.timeout.is_zero() {
            let why = "it is zero, so that no provider could ever answer";
            return Err(BuildError::new("credential_timeout", why, None));
        }
        if self.on_renewed.is_some() && self.provider.is_none() {
            let why =
                "there are no credentials that it could be told of; give credentials(…) too, or leave it out";
            return Err(BuildError::new("on_credentials_renewed", why, None));
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Option<CredentialSettings> {
        let provider = self.provider?(self.timeout);
        Some(CredentialSettings {
            provider,
            renewal: self.renewal,
            margin: self.margin,
            // The one source of randomness of the standard library.
            seed: RandomState::new().hash_one(0),
            on_renewed: self.on_renewed,
        })
    }
}

impl<D: EventDecoder> ClientBuilder<D> {
    /// Where credentials come from, asked once per attempt, and once more before they expire if they say when that
    /// is. By default there are none.
    pub fn credentials(mut self, provider: impl CredentialProvider) -> Self {
        self.credentials.provider = Some(Box::new(move |deadline| auth::erase(provider, deadline)));
        self
    }

    /// How long the credential provider may take. By default 10 s. When it passes, the attempt ends with
    /// `AuthenticationFailed`, of the kind [`Timeout`](crate::AuthenticationErrorKind::Timeout).
    pub fn credential_timeout(mut self, timeout: Duration) -> Self {
        self.credentials.timeout = timeout;
        self
    }

    /// Called when a connection lives and its credentials were renewed before they expire: send what the protocol
    /// has for that, and read the answer if there is one. It may be the same function as for
    /// [`on_connection_established`](Self::on_connection_established); here `handle.attempt().renewing` is set.
    ///
    /// It needs [`credentials`](Self::credentials) to be told of; without them it is refused when the client is built.
    ///
    /// It may take as long as an authentication. An error, a panic or too long a time leave the connection as it
    /// is, and the renewal is tried again with back-off until the old credentials have expired. The future is
    /// dropped with its connection.
    ///
    /// ```
    /// use std::time::Duration;
    /// use everwire_client::{Client, Credentials, credentials_fn, testing::{Lines, Server}};
    /// use everwire_engine::testing::ScriptedEngine;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
    /// let engine = ScriptedEngine::default();
    /// let client = Client::builder("ws://chat.test", Lines)
    ///     .credentials(credentials_fn(|attempt| async move {
    ///         let token = if attempt.renewing { "second" } else { "first" };
    ///         Ok(Credentials::new(token).expiring_in(Duration::from_secs(900)))
    ///     }))
    ///     .on_credentials_renewed(|handle| async move {
    ///         handle.send(format!("refresh {}", handle.credentials().map_or("", Credentials::secret)));
    ///         Ok(())
    ///     })
    ///     .protocol_pings()
    ///     .build(engine.clone())
    ///     .unwrap();
    /// let (_, mut server) = tokio::join!(client.connect(), Server::accept(&engine));
    /// server.connection().set_answer_pings(true);
    /// assert_eq!(server.text().await, "refresh second"); // after a quarter of an hour, less the margin
    /// assert_eq!(engine.attempts(), 1);
    /// # }
    /// ```
    pub fn on_credentials_renewed<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(HandshakeHandle) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Box<dyn StdError + Send + Sync>>> + Send + 'static,
    {
        self.credentials.on_renewed = Some(hooks::authenticate("on_credentials_renewed", hook));
        self
    }

    /// What happens before credentials expire that say when they do. By default they are renewed in band.
    pub fn credential_renewal(mut self, renewal: CredentialRenewal) -> Self {
        self.credentials.renewal = renewal;
        self
    }

    /// How long before their end credentials are renewed. By default 30 s; at most half of the time that is left of
    /// them counts. Up to a tenth of that time is added at random, so that a fleet does not renew at once.
    pub fn renewal_margin(mut self, margin: Duration) -> Self {
        self.credentials.margin = margin;
        self
    }
}
