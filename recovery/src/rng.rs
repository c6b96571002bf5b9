//! Seeded randomness: same seed, same delays.

use std::time::Duration;

/// A small seeded generator, of the quality that jitter needs and no more: never use it for secrets.
///
/// Cores never ask the system for randomness; the driver hands one of these in.
///
/// ```
/// use everwire_recovery::Rng;
/// use std::time::Duration;
///
/// let draw = |seed| Rng::seeded(seed).between(Duration::ZERO, Duration::from_secs(2));
/// assert_eq!(draw(7), draw(7));
/// ```
#[derive(Clone, Debug)]
pub struct Rng(fastrand::Rng);

impl Rng {
    /// A generator that yields the same numbers for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// A generator that starts somewhere else each time; for drivers, never for cores.
    pub fn from_entropy() -> Self {
        Self(fastrand::Rng::new())
    }

    /// A number below `end`; 0 when `end` is.
    pub fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.0.u64(..end) }
    }

    /// A duration from `low` to `high`, both included, in whole milliseconds above `low`; `low` when `high` is
    /// not above it.
    pub fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let span = u64::try_from(high.saturating_sub(low).as_millis()).unwrap_or(u64::MAX - 1);
        low + Duration::from_millis(self.below(span.saturating_add(1)))
    }
}
