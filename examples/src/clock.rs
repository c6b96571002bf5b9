//! The one place of this package that reads the clock.

use std::time::Instant;

/// Now, on the clock of the runtime: a paused test sees the time it set.
///
/// # Panics
/// When a runtime without time is current.
#[expect(clippy::disallowed_methods, reason = "programs and servers are drivers; they all read it here")]
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
