//! Why recovery does something, and why it stops.

use std::fmt;

use everwire_client::{CertificateProblem, CloseCode};

/// Why a connection is made again, or doubted. The first delay follows from it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Cause {
    /// Local: the path to the server is another one than the connection's, or there is none.
    PathChanged,
    /// Local: there is a network again.
    NetworkUp,
    /// Local: the machine slept, or the process was stopped.
    WokeUp,
    /// Local: the application came to the foreground.
    Foreground,
    /// Local: [`retry_now`](crate::ConnectionRecoveryHandler::retry_now) was called.
    UserAsked,
    /// Local: the application went to the background.
    Background,
    /// Local: somebody on our side disconnected with `SystemInitiated`.
    SystemInitiated,
    /// Local: the wall clock was set. Only for a probe: it does not explain why nobody answers it.
    Doubt,
    /// The server announced that it will end the connection, which still works.
    ServerLeaving,
    /// The server closed with a code that allows a retry.
    ServerClosed,
    /// The server closed with 1012: it restarts, and its whole fleet with it.
    ServerRestarting,
    /// The server closed with 1013: it cannot take more.
    ServerOverloaded,
    /// The server refused the upgrade with a status that allows a retry.
    UpgradeRefused,
    /// The server announced an error that allows a retry.
    ApiError,
    /// The server said how long to stay away (`Retry-After` and the like).
    RetryAfter,
    /// The open connection broke without a close frame: reset, end of file.
    ConnectionLost,
    /// The attempt failed before the connection was open: request provider, name resolution, TCP, proxy, TLS.
    DialFailed,
    /// The attempt exceeded a deadline.
    ConnectTimeout,
    /// A pong was due and did not come.
    NoPongReceived,
    /// The server refused the credentials; the provider is asked for new ones.
    CredentialsRefused,
    /// The credential provider failed, panicked or took too long.
    CredentialsUnavailable,
}

impl Cause {
    /// Whether the cause is on our side: nothing is wrong with the server, and no other client has the same
    /// cause at the same moment. Local causes reset the ladder.
    pub const fn is_local(self) -> bool {
        matches!(
            self,
            Self::PathChanged
                | Self::NetworkUp
                | Self::WokeUp
                | Self::Foreground
                | Self::Background
                | Self::UserAsked
                | Self::SystemInitiated
                | Self::Doubt
        )
    }

    /// A short name for logs and metrics, in `snake_case`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PathChanged => "path_changed",
            Self::NetworkUp => "network_up",
            Self::WokeUp => "woke_up",
            Self::Foreground => "foreground",
            Self::Background => "background",
            Self::UserAsked => "user_asked",
            Self::SystemInitiated => "system_initiated",
            Self::Doubt => "doubt",
            Self::ServerLeaving => "server_leaving",
            Self::ServerClosed => "server_closed",
            Self::ServerRestarting => "server_restarting",
            Self::ServerOverloaded => "server_overloaded",
            Self::UpgradeRefused => "upgrade_refused",
            Self::ApiError => "api_error",
            Self::RetryAfter => "retry_after",
            Self::ConnectionLost => "connection_lost",
            Self::DialFailed => "dial_failed",
            Self::ConnectTimeout => "connect_timeout",
            Self::NoPongReceived => "no_pong_received",
            Self::CredentialsRefused => "credentials_refused",
            Self::CredentialsUnavailable => "credentials_unavailable",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why recovery stopped. Stopping is never silent: the reason comes as a decision, and
/// [`status`](crate::ConnectionRecoveryHandler::status) keeps it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum StopReason {
    /// The user disconnected.
    UserDisconnected,
    /// The server closed with a code after which a retry is pointless; 1000 among them.
    ServerClosed(CloseCode),
    /// The server refused the credentials, and the renewed ones too.
    CredentialsRefused,
    /// The server refused the upgrade with this HTTP status.
    UpgradeRefused(u16),
    /// The server announced an error of this code, after which a retry is pointless.
    ApiError(i64),
    /// The server's certificate was refused.
    Certificate(CertificateProblem),
    /// The request or the engine's configuration cannot work: a malformed URL, an unreadable CA, a proxy that
    /// wants other credentials.
    Misconfigured,
    /// The peer sent something larger than our limits; it would again.
    TooLarge,
    /// The first attempt ever failed, and `retry_initial` is off.
    InitialAttemptFailed,
    /// A policy's number of attempts is used up.
    AttemptsExhausted,
    /// A policy's time for one outage is used up.
    TimeExhausted,
    /// A policy of the application's own said so, for this reason.
    Policy(&'static str),
    /// The client is gone.
    ClientGone,
}

impl StopReason {
    /// Whether it was a limit of our own that stopped. A local cause (the network came up, the machine woke
    /// up) starts again after these, and after these alone.
    pub const fn is_limit(self) -> bool {
        matches!(self, Self::AttemptsExhausted | Self::TimeExhausted | Self::Policy(_))
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UserDisconnected => f.write_str("the user disconnected"),
            Self::ServerClosed(code) => write!(f, "the server closed with code {code}"),
            Self::CredentialsRefused => f.write_str("the server refused the credentials"),
            Self::UpgradeRefused(status) => write!(f, "the server refused the upgrade with HTTP {status}"),
            Self::ApiError(code) => write!(f, "the server announced API error {code}"),
            Self::Certificate(problem) => write!(f, "the certificate was refused: {problem}"),
            Self::Misconfigured => f.write_str("the request or the configuration cannot work as it is"),
            Self::TooLarge => f.write_str("the peer sent more than the limits allow"),
            Self::InitialAttemptFailed => f.write_str("the first attempt failed, and retry_initial is off"),
            Self::AttemptsExhausted => f.write_str("the number of attempts is used up"),
            Self::TimeExhausted => f.write_str("the time for one outage is used up"),
            Self::Policy(reason) => write!(f, "a policy stopped: {reason}"),
            Self::ClientGone => f.write_str("the client is gone"),
        }
    }
}
