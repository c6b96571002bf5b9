//! How long to wait between attempts: the trait [`RetryStrategy`] and the formulas shipped with it.

#[cfg(feature = "backoff")]
mod backoff;
mod exponential;

use std::{fmt, time::Duration};

#[cfg(feature = "backoff")]
pub use backoff::BackoffStrategy;
pub use exponential::Exponential;

use crate::{InvalidConfig, Rng};

/// The formula of the ladder: how long to wait before the next attempt, from the second one of an outage on.
/// (The first delay follows from the cause, whatever the strategy; so does a server's `Retry-After`.)
///
/// # Contract
/// - `attempt` counts from 1 and starts again with each outage; a strategy with a state of its own starts
///   again at 1.
/// - `previous` is the strategy's own answer before, `None` at attempt 1.
/// - All randomness comes from `rng`, so that the same seed gives the same delays.
/// - Jitter is applied after the cap, so that a fleet stays spread when every client has reached it.
///
/// A strategy has no say in *whether* there is another attempt: that is
/// [`ReconnectionPolicy`](crate::ReconnectionPolicy).
///
/// # Your own
/// ```
/// use everwire_recovery::{RetryStrategy, Rng};
/// use std::time::Duration;
///
/// /// 1, 2, 3… seconds, and up to half a second on top.
/// struct Linear;
///
/// impl RetryStrategy for Linear {
///     fn delay(&mut self, attempt: u32, _previous: Option<Duration>, rng: &mut Rng) -> Duration {
///         let base = Duration::from_secs(u64::from(attempt.min(30)));
///         rng.between(base, base + Duration::from_millis(500))
///     }
/// }
/// ```
pub trait RetryStrategy: Send + 'static {
    /// How long to wait before the attempt.
    fn delay(&mut self, attempt: u32, previous: Option<Duration>, rng: &mut Rng) -> Duration;

    /// Refuses a configuration that cannot work. Called once, when the handler is built.
    fn validate(&self) -> Result<(), InvalidConfig> {
        Ok(())
    }
}

impl<S: RetryStrategy + ?Sized> RetryStrategy for Box<S> {
    fn delay(&mut self, attempt: u32, previous: Option<Duration>, rng: &mut Rng) -> Duration {
        (**self).delay(attempt, previous, rng)
    }

    fn validate(&self) -> Result<(), InvalidConfig> {
        (**self).validate()
    }
}

/// [`Exponential::full`], for which nothing is held: what a client has unless it is told otherwise.
pub(crate) struct Usual;

impl RetryStrategy for Usual {
    fn delay(&mut self, attempt: u32, previous: Option<Duration>, rng: &mut Rng) -> Duration {
        Exponential::full().delay(attempt, previous, rng)
    }
}

impl fmt::Debug for dyn RetryStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RetryStrategy")
    }
}

/// The same delay each time, with a little jitter: for a peer of one's own, not for a fleet.
#[derive(Clone, Debug)]
pub struct Fixed {
    delay: Duration,
    jitter: Duration,
}

impl Fixed {
    /// Waits for `delay` each time. Refused when it is zero.
    pub const fn new(delay: Duration) -> Self {
        Self { delay, jitter: Duration::ZERO }
    }

    /// Up to so much is added to each delay. Default: nothing.
    pub const fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }
}

impl RetryStrategy for Fixed {
    fn delay(&mut self, _attempt: u32, _previous: Option<Duration>, rng: &mut Rng) -> Duration {
        rng.between(self.delay, self.delay + self.jitter)
    }

    fn validate(&self) -> Result<(), InvalidConfig> {
        if self.delay.is_zero() {
            return Err(InvalidConfig::new("delay", "must be above zero, or the server is hammered"));
        }
        Ok(())
    }
}

/// The formula of Stream's SDKs: after `n` failures between `max(0.25, 2(n - 1))` and `0.5 + 2n` seconds, both
/// at most 25. Mind that nobody is spread any more at the cap: everyone then waits for 25 s exactly.
#[derive(Clone, Copy, Debug, Default)]
pub struct StreamFormula {
    _private: (),
}

impl StreamFormula {
    /// The formula; it has nothing to set.
    pub const fn new() -> Self {
        Self { _private: () }
    }
}

impl RetryStrategy for StreamFormula {
    fn delay(&mut self, attempt: u32, _previous: Option<Duration>, rng: &mut Rng) -> Duration {
        let failures = u64::from(attempt.clamp(1, 100));
        let low = Duration::from_millis((2_000 * (failures - 1)).clamp(250, 25_000));
        let high = Duration::from_millis((500 + 2_000 * failures).min(25_000));
        rng.between(low, high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn _object_safe(_: &dyn RetryStrategy) {}

    #[test]
    fn rule_4_fixed_waits_the_same_each_time_and_jitters_if_told() {
        let mut rng = Rng::seeded(1);
        let mut fixed = Fixed::new(Duration::from_secs(3));
        assert!((1..50).all(|n| fixed.delay(n, None, &mut rng) == Duration::from_secs(3)));

        let mut fixed = fixed.jitter(Duration::from_millis(500));
        let delays: Vec<_> = (1..50).map(|n| fixed.delay(n, None, &mut rng)).collect();
        let range = Duration::from_secs(3)..=Duration::from_millis(3_500);
        assert!(delays.iter().all(|delay| range.contains(delay)), "{delays:?}");
        assert!(delays.iter().any(|delay| *delay != delays[0]), "no jitter: {delays:?}");
    }

    #[test]
    fn a_fixed_delay_of_zero_is_refused_by_name() {
        assert_eq!(Fixed::new(Duration::ZERO).validate().unwrap_err().field(), "delay");
    }

    #[test]
    fn rule_4_streams_formula() {
        let mut rng = Rng::seeded(2);
        for (attempt, low, high) in [
            (1, 250, 2_500),
            (2, 2_000, 4_500),
            (3, 4_000, 6_500),
            (13, 24_000, 25_000),
            (99, 25_000, 25_000),
        ] {
            let delay = |_| StreamFormula::new().delay(attempt, None, &mut rng).as_millis();
            let delays: Vec<_> = (0..200).map(delay).collect();
            let (least, most) = (*delays.iter().min().unwrap(), *delays.iter().max().unwrap());
            // Nothing is outside, and both ends are come near to.
            let near = (high - low) / 20;
            assert!((low..=low + near).contains(&least), "attempt {attempt}: {least}");
            assert!((high - near..=high).contains(&most), "attempt {attempt}: {most}");
        }
    }
}
