//! The one truth about a client: its state, and why it is closed.

use std::fmt;

use everwire_engine::{CloseCode, CloseFrame, EngineError, EngineErrorKind, Refusal};

mod failure;
mod snapshot;
mod stage;
mod watched;

pub use failure::{ApiError, AuthenticationError, AuthenticationErrorKind};
pub use snapshot::{Replacement, Snapshot};
pub use stage::AttemptStage;
pub(crate) use watched::{Publisher, Watch};

/// Where a client stands. There is one way round:
///
/// ```text
/// Initialized ─connect─> Connecting ─open─> Authenticating ─health check─> Connected
///       any of the last three ─> Disconnecting(source) ─> Disconnected(source)
/// ```
///
/// The names are those of Stream's clients, whose architecture this is.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "the way round is complete; a UI shall match all of it")]
pub enum ConnectionState {
    /// `connect` was never called.
    Initialized,
    /// The engine dials.
    Connecting,
    /// The socket is open; the authentication and the first health check are under way.
    Authenticating,
    /// Fully established.
    Connected(HealthCheckInfo),
    /// The close handshake is under way.
    Disconnecting(DisconnectionSource),
    /// Closed. The client stays here until somebody connects it again.
    Disconnected(DisconnectionSource),
}

impl ConnectionState {
    /// The state's name, as it is written above.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Initialized => "Initialized",
            Self::Connecting => "Connecting",
            Self::Authenticating => "Authenticating",
            Self::Connected(_) => "Connected",
            Self::Disconnecting(_) => "Disconnecting",
            Self::Disconnected(_) => "Disconnected",
        }
    }

    /// Whether the connection is fully established.
    pub const fn is_connected(&self) -> bool {
        matches!(self, Self::Connected(_))
    }

    /// Whether an attempt is under way: dialling or authenticating.
    pub const fn is_connecting(&self) -> bool {
        matches!(self, Self::Connecting | Self::Authenticating)
    }

    /// Why it closes or is closed.
    pub const fn source(&self) -> Option<&DisconnectionSource> {
        match self {
            Self::Disconnecting(source) | Self::Disconnected(source) => Some(source),
            _ => None,
        }
    }
}

/// For logs and a status line: the name, and once it closes or is closed, why.
impl fmt::Display for ConnectionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self.source() {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

/// What a health check told.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct HealthCheckInfo {
    /// The server's name for this connection. The basic health check event carries it back.
    pub connection_id: Option<String>,
    /// How many participate, for servers that say so.
    pub participant_count: Option<u32>,
}

impl HealthCheckInfo {
    /// An info with a connection id.
    pub fn with_connection_id(connection_id: impl Into<String>) -> Self {
        Self { connection_id: Some(connection_id.into()), participant_count: None }
    }
}

/// Why a connection was closed. Recovery decides by this, and by nothing else. What is large in it is boxed, since all
/// who know the state hold room for one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum DisconnectionSource {
    /// The user called `disconnect`, or dropped the last handle.
    UserInitiated,
    /// The other side's: the server closed, refused, or broke off. Also whatever is not known to be anyone else's: the
    /// path broke, a write made no progress, the dial failed, or the request provider gave no request to dial.
    ServerInitiated(Box<ServerReason>),
    /// Recovery asked for it: the path moved, the machine slept, the application went to the background.
    SystemInitiated,
    /// A pong was due and did not come.
    NoPongReceived,
    /// The attempt exceeded a deadline.
    ConnectTimeout {
        /// What it was waiting for.
        stage: AttemptStage,
    },
    /// Credentials could not be produced, or were refused.
    AuthenticationFailed(Box<AuthenticationError>),
    /// A newer connection of this client has taken its place
    /// ([`make_before_break`](crate::ClientBuilder::make_before_break)). No client is ever `Disconnected` by this:
    /// it is what [`close_codes`](crate::ClientBuilder::close_codes) is asked for the old connection.
    Replaced,
}

impl DisconnectionSource {
    /// The source's name, as it is written above.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::UserInitiated => "UserInitiated",
            Self::ServerInitiated(_) => "ServerInitiated",
            Self::SystemInitiated => "SystemInitiated",
            Self::NoPongReceived => "NoPongReceived",
            Self::ConnectTimeout { .. } => "ConnectTimeout",
            Self::AuthenticationFailed(_) => "AuthenticationFailed",
            Self::Replaced => "Replaced",
        }
    }

    /// What the server said, if it was the server.
    pub const fn server_reason(&self) -> Option<&ServerReason> {
        match self {
            Self::ServerInitiated(reason) => Some(&**reason),
            _ => None,
        }
    }

    /// The server's error, from a frame or from a refused authentication.
    pub const fn api_error(&self) -> Option<&ApiError> {
        match self {
            Self::ServerInitiated(reason) => reason.api_error.as_ref(),
            Self::AuthenticationFailed(error) => error.api_error.as_ref(),
            _ => None,
        }
    }
}

impl From<ServerReason> for DisconnectionSource {
    fn from(reason: ServerReason) -> Self {
        Self::ServerInitiated(Box::new(reason))
    }
}

impl From<AuthenticationError> for DisconnectionSource {
    fn from(error: AuthenticationError) -> Self {
        Self::AuthenticationFailed(Box::new(error))
    }
}

/// For logs: the source and all that is known, on one line. No secrets of ours are in it; what a hook or a provider of
/// the application's returned as its error is quoted as it is.
impl fmt::Display for DisconnectionSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServerInitiated(reason) => write!(f, "ServerInitiated: {reason}"),
            Self::ConnectTimeout { stage } => write!(f, "ConnectTimeout: {stage}"),
            Self::AuthenticationFailed(error) => write!(f, "AuthenticationFailed: {}", error.in_full()),
            other => f.write_str(other.name()),
        }
    }
}

/// Everything that is known about a disconnection by the server's side. Each fact stands apart; all may be
/// missing.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ServerReason {
    /// The close frame it sent.
    pub close: Option<CloseFrame>,
    /// The error it announced before, as an event or as the body of a refused upgrade.
    pub api_error: Option<ApiError>,
    /// What the engine met: a failed dial, a refused upgrade, a reset.
    pub engine_error: Option<EngineError>,
}

impl ServerReason {
    /// The server sent a close frame.
    pub fn closed(close: Option<CloseFrame>) -> Self {
        Self { close, ..Self::default() }
    }

    /// The server announced an error.
    pub fn api_error(error: ApiError) -> Self {
        Self { api_error: Some(error), ..Self::default() }
    }

    /// The engine met an error.
    pub fn engine_error(error: EngineError) -> Self {
        Self { engine_error: Some(error), ..Self::default() }
    }

    /// The close code; 1006 when the connection ended without a close frame
    /// ([RFC 6455 §7.1.5](https://www.rfc-editor.org/rfc/rfc6455#section-7.1.5)).
    pub fn close_code(&self) -> CloseCode {
        self.close.as_ref().map_or(CloseCode::ABNORMAL, |frame| frame.code)
    }

    /// The HTTP answer, when the upgrade was refused.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.engine_error.as_ref().and_then(EngineError::refusal)
    }

    /// The HTTP status, when the upgrade was refused.
    pub fn http_status(&self) -> Option<u16> {
        self.refusal().map(|refusal| refusal.status.as_u16())
    }
}

impl fmt::Display for ServerReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        if let Some(error) = &self.api_error {
            write!(f, "{error}")?;
            separator = "; ";
        }
        if let Some(frame) = &self.close {
            write!(f, "{separator}close code {}", frame.code)?;
            if !frame.reason.is_empty() {
                write!(f, " {:?}", frame.reason)?;
            }
            separator = "; ";
        }
        if let Some(error) = &self.engine_error {
            write!(f, "{separator}{error}")?;
            if error.kind() == EngineErrorKind::NoRequest {
                failure::write_cause(f, error)?;
            }
            separator = "; ";
        }
        if separator.is_empty() {
            f.write_str("the connection ended without a close frame (1006)")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use everwire_engine::Stage;

    use super::*;

    fn by_server(reason: ServerReason) -> DisconnectionSource {
        reason.into()
    }

    fn frame(code: u16, reason: &str) -> CloseFrame {
        CloseFrame::new(code, reason.to_owned()).unwrap()
    }

    #[test]
    fn a_state_tells_its_name_and_why_it_is_closed() {
        let source = DisconnectionSource::NoPongReceived;
        for (state, name, connecting, closed) in [
            (ConnectionState::Initialized, "Initialized", false, false),
            (ConnectionState::Connecting, "Connecting", true, false),
            (ConnectionState::Authenticating, "Authenticating", true, false),
            (ConnectionState::Connected(HealthCheckInfo::default()), "Connected", false, false),
            (ConnectionState::Disconnecting(source.clone()), "Disconnecting", false, true),
            (ConnectionState::Disconnected(source), "Disconnected", false, true),
        ] {
            assert_eq!(state.name(), name);
            assert_eq!(state.is_connecting(), connecting, "{name}");
            assert_eq!(state.is_connected(), name == "Connected");
            assert_eq!(
                state.source().map(DisconnectionSource::name),
                closed.then_some("NoPongReceived"),
                "{name}"
            );
            let why = if closed { ": NoPongReceived" } else { "" };
            assert_eq!(state.to_string(), format!("{name}{why}"));
        }
    }

    #[test]
    fn a_source_is_one_line_with_all_that_is_known() {
        let error = ApiError::new(40, "token expired");
        let timeout = |stage| DisconnectionSource::ConnectTimeout { stage };
        let all = ServerReason {
            close: Some(frame(1000, "bye\n")),
            api_error: Some(error.clone()),
            engine_error: Some(EngineError::new(EngineErrorKind::Protocol, Stage::Open)),
        };
        let closed = EngineError::new(EngineErrorKind::Protocol, Stage::Open).to_string();
        for (source, words) in [
            (DisconnectionSource::UserInitiated, "UserInitiated"),
            (DisconnectionSource::SystemInitiated, "SystemInitiated"),
            (DisconnectionSource::NoPongReceived, "NoPongReceived"),
            (DisconnectionSource::Replaced, "Replaced"),
            (timeout(AttemptStage::Engine(Stage::Tls)), "ConnectTimeout: tls (`tls_timeout` of the engine)"),
            (
                timeout(AttemptStage::Authentication),
                "ConnectTimeout: `on_connection_established` had not ended (`authentication_timeout`)",
            ),
            (
                DisconnectionSource::from(AuthenticationError::refused(error.clone())),
                "AuthenticationFailed: the server refused the credentials (API error 40 \"token expired\")",
            ),
            (
                by_server(ServerReason::default()),
                "ServerInitiated: the connection ended without a close frame (1006)",
            ),
            (by_server(ServerReason::closed(Some(frame(1012, "")))), "ServerInitiated: close code 1012"),
            (
                by_server(all),
                &format!(
                    "ServerInitiated: API error 40 \"token expired\"; close code 1000 \"bye\\n\"; {closed}"
                ),
            ),
        ] {
            assert_eq!(source.to_string(), words);
            assert!(words.starts_with(source.name()), "{words}");
        }
    }

    #[test]
    fn the_servers_error_is_found_wherever_it_came() {
        let error = ApiError::new(7, "");
        let refused = DisconnectionSource::from(AuthenticationError::refused(error.clone()));
        let announced = by_server(ServerReason::api_error(error.clone()));
        assert_eq!((refused.api_error(), announced.api_error()), (Some(&error), Some(&error)));
        assert!(refused.server_reason().is_none() && announced.server_reason().is_some());
        assert!(DisconnectionSource::Replaced.api_error().is_none());
        assert_eq!(announced.server_reason().map(ServerReason::close_code), Some(CloseCode::ABNORMAL));
    }
}
