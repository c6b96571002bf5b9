//! The outage of the moment: how long, how many attempts, how many refusals.

use std::time::{Duration, Instant};

/// From the first failure to the next stable connection. A connection that does not last does not end it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outage {
    /// When it began, or when a local cause made it begin again. `None` while there is none.
    pub(super) began: Option<Instant>,
    /// The attempts that recovery made.
    pub(super) attempts: u32,
    /// How often in a row the server refused credentials.
    pub(super) refusals: u32,
}

impl Outage {
    /// A local cause: what was counted says nothing about what comes. Refusals stay, since a server that
    /// refuses does so on any path.
    pub(super) const fn rearm(&mut self, now: Instant) {
        self.began = Some(now);
        self.attempts = 0;
    }

    pub(super) fn elapsed(&self, now: Instant) -> Duration {
        self.began.map_or(Duration::ZERO, |began| now.saturating_duration_since(began))
    }
}
