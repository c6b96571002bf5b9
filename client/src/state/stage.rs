//! Which part of an attempt took too long.

use std::fmt;

use everwire_engine::Stage;

/// What an attempt was waiting for when a deadline passed. `Display` says it in words, with the setter of that
/// deadline.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum AttemptStage {
    /// The credential provider, when [`open_timeout`](crate::ClientBuilder::open_timeout) passed. When its own
    /// [`credential_timeout`](crate::ClientBuilder::credential_timeout) passes first, that is
    /// [`AuthenticationFailed`](crate::DisconnectionSource::AuthenticationFailed).
    Credentials,
    /// The request provider, which has no deadline of its own:
    /// [`open_timeout`](crate::ClientBuilder::open_timeout).
    Request,
    /// The engine, when [`open_timeout`](crate::ClientBuilder::open_timeout) passed before any deadline of its own.
    Dial,
    /// A stage of the engine, by the engine's own deadline for it.
    Engine(Stage),
    /// `on_connection_established`: [`authentication_timeout`](crate::ClientBuilder::authentication_timeout).
    Authentication,
    /// The first health check, since `on_connection_established` had ended:
    /// [`authentication_timeout`](crate::ClientBuilder::authentication_timeout).
    HealthCheck,
}

impl AttemptStage {
    /// A short name for logs and metrics; that of the engine's stage, where it is one.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::Request => "request",
            Self::Dial => "dial",
            Self::Engine(stage) => stage.name(),
            Self::Authentication => "authentication",
            Self::HealthCheck => "health check",
        }
    }

    /// The setter of the deadline: of the client's builder, and for [`Engine`](Self::Engine) of
    /// `TungsteniteEngineBuilder`. `None` for a stage of an engine that has no deadline there.
    pub const fn setter(self) -> Option<&'static str> {
        match self {
            Self::Credentials | Self::Request | Self::Dial => Some("open_timeout"),
            Self::Authentication | Self::HealthCheck => Some("authentication_timeout"),
            Self::Engine(stage) => match stage {
                Stage::Resolve => Some("resolve_timeout"),
                Stage::Connect => Some("connect_timeout"),
                Stage::Proxy => Some("proxy_timeout"),
                Stage::Tls => Some("tls_timeout"),
                Stage::Upgrade => Some("upgrade_timeout"),
                Stage::Attempt => Some("attempt_timeout"),
                _ => None,
            },
        }
    }
}

impl fmt::Display for AttemptStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credentials => f.write_str("the credential provider had not answered")?,
            Self::Request => f.write_str("the request provider had not answered")?,
            Self::Dial => f.write_str("the engine had not opened the socket")?,
            Self::Engine(stage) => stage.fmt(f)?,
            Self::Authentication => f.write_str("`on_connection_established` had not ended")?,
            Self::HealthCheck => f.write_str("no health check came")?,
        }
        let Some(setter) = self.setter() else { return Ok(()) };
        write!(f, " (`{setter}`")?;
        f.write_str(match self {
            Self::Engine(_) => " of the engine)",
            Self::HealthCheck => "; for servers without health checks: `protocol_pings()`)",
            _ => ")",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_says_what_had_not_ended_and_which_setter_gives_it_longer() {
        for (stage, name) in [
            (AttemptStage::Credentials, "credentials"),
            (AttemptStage::Request, "request"),
            (AttemptStage::Dial, "dial"),
            (AttemptStage::Engine(Stage::Open), "open connection"),
            (AttemptStage::Authentication, "authentication"),
            (AttemptStage::HealthCheck, "health check"),
        ] {
            assert_eq!(stage.name(), name);
        }
        for (stage, words) in [
            (AttemptStage::Credentials, "the credential provider had not answered (`open_timeout`)"),
            (AttemptStage::Request, "the request provider had not answered (`open_timeout`)"),
            (AttemptStage::Dial, "the engine had not opened the socket (`open_timeout`)"),
            (AttemptStage::Engine(Stage::Resolve), "resolve (`resolve_timeout` of the engine)"),
            (AttemptStage::Engine(Stage::Connect), "connect (`connect_timeout` of the engine)"),
            (AttemptStage::Engine(Stage::Proxy), "proxy (`proxy_timeout` of the engine)"),
            (AttemptStage::Engine(Stage::Tls), "tls (`tls_timeout` of the engine)"),
            (AttemptStage::Engine(Stage::Upgrade), "upgrade (`upgrade_timeout` of the engine)"),
            (AttemptStage::Engine(Stage::Attempt), "attempt (`attempt_timeout` of the engine)"),
            (AttemptStage::Engine(Stage::Open), "open connection"),
            (
                AttemptStage::Authentication,
                "`on_connection_established` had not ended (`authentication_timeout`)",
            ),
            (
                AttemptStage::HealthCheck,
                "no health check came (`authentication_timeout`; for servers without health checks: \
                 `protocol_pings()`)",
            ),
        ] {
            assert_eq!(stage.to_string(), words);
            assert!(stage.setter().is_none_or(|setter| words.contains(setter)), "{words}");
        }
    }
}
