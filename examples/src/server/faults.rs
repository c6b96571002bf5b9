//! What the server does wrong, on purpose.

use std::time::Duration;

/// The faults that last until they are taken back. The default is a server without any.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Faults {
    /// Whether health checks are answered.
    pub answer_health_checks: bool,
    /// Whether anything is read at all. Without, protocol pings too stay unanswered, and the sockets fill.
    pub read: bool,
    /// Whether upgrades are answered.
    pub answer_upgrades: bool,
    /// The answer that every upgrade gets instead of the acceptance.
    pub refuse_upgrades: Option<RefuseUpgrades>,
    /// Every connection is closed with this code as soon as it is authenticated.
    pub close_when_authenticated: Option<u16>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            answer_health_checks: true,
            read: true,
            answer_upgrades: true,
            refuse_upgrades: None,
            close_when_authenticated: None,
        }
    }
}

/// How upgrades are refused.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RefuseUpgrades {
    /// The HTTP status.
    pub status: u16,
    /// The `Retry-After` header, in whole seconds.
    pub retry_after: Option<Duration>,
    /// The body.
    pub body: String,
}

impl RefuseUpgrades {
    /// Refuses with a status.
    ///
    /// # Panics
    /// When `status` is no HTTP status (100–999) or 101, which is the acceptance.
    pub fn with(status: u16) -> Self {
        assert!(http::StatusCode::from_u16(status).is_ok() && status != 101, "{status} refuses nothing");
        Self { status, retry_after: None, body: String::new() }
    }

    /// And says when to come back.
    #[must_use]
    pub const fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// And says why.
    #[must_use]
    pub fn body(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self
    }
}
