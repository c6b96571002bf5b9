//! Credentials that are renewed while their connection lives: the provider is asked, then the hook tells the server.
//!
//! When is decided by [`Renewal`]. Whatever goes wrong here leaves the connection alone.

use std::{
    sync::Arc,
    task::Context,
    time::{Instant, SystemTime},
};

use everwire_engine::{Engine, Message};
use futures_core::future::BoxFuture;

use super::{
    Driver,
    hook::{begin, contained, panicked},
    now,
};
use crate::{
    Attempt, AuthenticationError, AuthenticationErrorKind, CredentialRenewal, Credentials,
    DisconnectionSource,
    auth::{Due, Renewal},
    core::Input,
    decode::EventDecoder,
    hooks::{HandshakeHandle, LANE, Lane},
};

/// The renewal of a connection's credentials, and the work it is at.
pub(super) struct Renewing {
    /// With the credentials that expire.
    attempt: Arc<Attempt>,
    renewal: Renewal,
    work: Option<Work>,
}

enum Work {
    /// The provider is asked.
    Asking(BoxFuture<'static, Result<Credentials, AuthenticationError>>),
    /// The hook tells the server, until then.
    Telling(Telling),
    /// A connection is made with the new ones, to take the place of this one.
    Replacing,
}

struct Telling {
    attempt: Arc<Attempt>,
    lane: Lane,
    hook: BoxFuture<'static, Result<(), AuthenticationError>>,
    until: Instant,
}

impl Renewing {
    /// Shows a received message to a hook that waits for an answer.
    #[inline]
    pub(super) fn deliver(&self, message: &Message) {
        if let Some(Work::Telling(telling)) = &self.work {
            telling.lane.deliver(message);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match &self.work {
            Some(Work::Telling(telling)) => Some(telling.until),
            Some(Work::Asking(_) | Work::Replacing) => None,
            None => self.renewal.poll_timeout(),
        }
    }
}

impl Drop for Renewing {
    fn drop(&mut self) {
        if let Some(Work::Telling(telling)) = &self.work {
            telling.lane.end();
        }
    }
}

impl<E: Engine, D: EventDecoder> Driver<E, D> {
    /// The connection is established with its credentials, or has new ones.
    pub(super) fn begin_renewal(&mut self, attempt: Arc<Attempt>) {
        let Some(connection) = &mut self.connection else { return };
        connection.renewing = None;
        let Some(settings) = &self.settings.credentials else { return };
        let expires_at = attempt.credentials.as_ref().and_then(Credentials::expires_at);
        let Some(expires_at) = expires_at.filter(|_| settings.renewal != CredentialRenewal::Off) else {
            return;
        };
        let seed = settings.seed.wrapping_add(connection.generation);
        let renewal = Renewal::new(settings.margin, seed, now(), wall(), expires_at);
        if renewal.is_none() {
            tracing::warn!(
                "credentials came that have expired by this clock, and work; they are not renewed by it"
            );
        }
        connection.renewing = renewal.map(|renewal| Box::new(Renewing { attempt, renewal, work: None }));
    }

    /// Time has passed.
    pub(super) fn handle_renewal(&mut self, now: Instant) {
        let Some(connection) = &mut self.connection else { return };
        let Some(renewing) = &mut connection.renewing else { return };
        if let Some(Work::Telling(telling)) = &renewing.work {
            if telling.until <= now {
                self.renewal_failed(&AuthenticationError::new(AuthenticationErrorKind::Timeout));
            }
            return;
        }
        match renewing.renewal.handle_timeout(now, wall()) {
            Due::Nothing => {}
            Due::GivenUp => {
                connection.renewing = None;
                tracing::warn!("credentials have expired and were not renewed; the server has the next word");
            }
            Due::Renew => {
                let Some(settings) = &self.settings.credentials else { return };
                let attempt = renewing.attempt.renewing();
                let ask = begin(|| (settings.provider)(attempt), || Err(panicked()));
                renewing.work = Some(Work::Asking(ask));
            }
        }
    }

    pub(super) fn poll_renewal(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(connection) = &mut self.connection else { return false };
        let Some(Renewing { work: Some(work), .. }) = connection.renewing.as_deref_mut() else {
            return false;
        };
        match work {
            Work::Replacing => return false,
            Work::Asking(ask) => match contained(cx, Some(ask)) {
                None => return false,
                Some(Ok(Ok(credentials))) => self.provided(credentials),
                Some(Ok(Err(error))) => self.renewal_failed(&error),
                Some(Err(())) => self.renewal_failed(&panicked()),
            },
            Work::Telling(telling) => {
                let told = contained(cx, Some(&mut telling.hook));
                let mut sent = false;
                let room = LANE.saturating_sub(self.pump.urgent_len());
                telling.lane.drain(cx.waker(), room, |message| {
                    self.pump.urgent(message);
                    sent = true;
                });
                let attempt = Arc::clone(&telling.attempt);
                match told {
                    None => return sent,
                    Some(Ok(Ok(()))) => {
                        self.credentials.clone_from(&attempt.credentials);
                        self.recorder.renewed(true);
                        tracing::debug!("the credentials were renewed in band");
                        self.begin_renewal(attempt);
                    }
                    Some(Ok(Err(error))) => self.renewal_failed(&error),
                    Some(Err(())) => self.renewal_failed(&panicked()),
                }
            }
        }
        true
    }

    /// The provider has new ones.
    fn provided(&mut self, credentials: Credentials) {
        let Some(connection) = &mut self.connection else { return };
        let Some(settings) = &self.settings.credentials else { return };
        let Some(renewing) = &mut connection.renewing else { return };
        if renewing.attempt.credentials.as_ref() == Some(&credentials) {
            let error =
                AuthenticationError::failed("the provider returned the credentials that are about to expire");
            return self.renewal_failed(&error);
        }
        if let (Some(hook), CredentialRenewal::InBand) = (&settings.on_renewed, settings.renewal) {
            let attempt = Attempt { credentials: Some(credentials), ..renewing.attempt.renewing() };
            let attempt = Arc::new(attempt);
            let lane = Lane::default();
            let handle = HandshakeHandle { attempt: Arc::clone(&attempt), lane: lane.clone() };
            let hook = begin(|| hook(handle), || Err(panicked()));
            let until = now() + self.settings.limits.authenticate;
            renewing.work = Some(Work::Telling(Telling { attempt, lane, hook, until }));
            return;
        }
        // The server is not told, so that the next attempt is the first to show them.
        self.unspent = Some(credentials);
        if settings.renewal == CredentialRenewal::Reconnect && self.core.can_replace() {
            // The renewal ends with the connection, or fails with the one that was to take its place.
            tracing::debug!("the credentials were renewed; replacing the connection with them");
            if let Some(renewing) = &mut connection.renewing {
                renewing.work = Some(Work::Replacing);
            }
            self.cause = "credentials_expire";
            return self.tell(Input::Replace);
        }
        connection.renewing = None;
        self.recorder.renewed(true);
        if settings.renewal == CredentialRenewal::Reconnect {
            tracing::debug!("the credentials were renewed; reconnecting with them");
            let frame = self.settings.close_frame(&DisconnectionSource::SystemInitiated);
            self.tell(Input::DisconnectSystem(frame));
        }
    }

    /// The connection is replaced by one that was made with the new credentials, or that could not be made.
    pub(super) fn replaced_for_renewal(&mut self, failed: Option<&DisconnectionSource>) {
        let Some(connection) = &self.connection else { return };
        let work = connection.renewing.as_ref().and_then(|renewing| renewing.work.as_ref());
        if !matches!(work, Some(Work::Replacing)) {
            return;
        }
        match failed {
            None => self.recorder.renewed(true),
            Some(source) => self.renewal_failed(&AuthenticationError::failed(source.to_string())),
        }
    }

    fn renewal_failed(&mut self, error: &AuthenticationError) {
        let Some(renewing) = self.connection.as_mut().and_then(|connection| connection.renewing.as_mut())
        else {
            return;
        };
        if let Some(Work::Telling(telling)) = renewing.work.take() {
            telling.lane.end();
        }
        renewing.renewal.failed(now(), wall());
        self.recorder.renewed(false);
        tracing::warn!(error = %error.in_full(), "the credentials could not be renewed; the connection stays");
    }
}

#[expect(clippy::disallowed_methods, reason = "the driver reads the clocks, for all pure cores")]
fn wall() -> SystemTime {
    SystemTime::now()
}
