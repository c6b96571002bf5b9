//! Any `Backoff` of the `backoff` crate as a strategy.

use std::{fmt, time::Duration};

use ::backoff::{Clock, backoff::Backoff, exponential::ExponentialBackoff};

use super::RetryStrategy;
use crate::Rng;

/// Adapts a [`Backoff`] of the `backoff` crate.
///
/// Two traps of that crate are disarmed here:
/// - Its `ExponentialBackoff` ends by default, 15 minutes after it was *made* or reset, by returning `None`,
///   and a client of it stays away for good without a word. [`exponential`](Self::exponential) switches that
///   limit off. With [`new`](Self::new) a `None` is answered with the last delay, half of it jittered: whether
///   there is another attempt is for a [policy](crate::ReconnectionPolicy) to say, and a policy says it aloud.
/// - It is reset at the first step of each outage, so that no outage begins with the long delays of another.
///
/// Its randomness is its own: the seed of the handler does not reach it.
///
/// ```
/// use backoff::{ExponentialBackoff, SystemClock, exponential::ExponentialBackoff as Generic};
/// use everwire_recovery::BackoffStrategy;
///
/// let strategy = BackoffStrategy::exponential(ExponentialBackoff::default());
/// # let _: BackoffStrategy<Generic<SystemClock>> = strategy;
/// ```
pub struct BackoffStrategy<B> {
    backoff: B,
}

impl<C: Clock> BackoffStrategy<ExponentialBackoff<C>> {
    /// Adapts an exponential back-off, its elapsed limit switched off.
    pub fn exponential(mut backoff: ExponentialBackoff<C>) -> Self {
        backoff.max_elapsed_time = None;
        Self { backoff }
    }
}

impl<B: Backoff> BackoffStrategy<B> {
    /// Adapts a back-off of any kind.
    pub const fn new(backoff: B) -> Self {
        Self { backoff }
    }
}

impl<B: Backoff + Send + 'static> RetryStrategy for BackoffStrategy<B> {
    fn delay(&mut self, attempt: u32, previous: Option<Duration>, rng: &mut Rng) -> Duration {
        /// Longer than any pause that a `Backoff` which ends at once could mean.
        const FALLBACK: Duration = Duration::from_secs(30);

        if attempt <= 1 {
            self.backoff.reset();
        }
        self.backoff.next_backoff().unwrap_or_else(|| {
            let last = previous.unwrap_or(FALLBACK);
            rng.between(last / 2, last + last / 2)
        })
    }
}

impl<B> fmt::Debug for BackoffStrategy<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BackoffStrategy")
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Mutex},
        time::Instant,
    };

    use super::*;

    /// A clock that the test moves.
    #[derive(Clone, Debug)]
    struct Moved(Arc<Mutex<Instant>>);

    impl Moved {
        #[expect(clippy::disallowed_methods, reason = "any instant will do as the start of a virtual clock")]
        fn new() -> Self {
            Self(Arc::new(Mutex::new(Instant::now())))
        }

        fn advance(&self, by: Duration) {
            *self.0.lock().unwrap() += by;
        }
    }

    impl Clock for Moved {
        fn now(&self) -> Instant {
            *self.0.lock().unwrap()
        }
    }

    fn backoff(clock: &Moved) -> ExponentialBackoff<Moved> {
        ExponentialBackoff {
            current_interval: Duration::from_millis(500),
            initial_interval: Duration::from_millis(500),
            randomization_factor: 0.0,
            multiplier: 2.0,
            max_interval: Duration::from_secs(60),
            start_time: clock.now(),
            max_elapsed_time: Some(Duration::from_secs(900)),
            clock: clock.clone(),
        }
    }

    #[test]
    fn rule_4_the_elapsed_limit_of_the_backoff_crate_stops_nothing() {
        let clock = Moved::new();
        let mut rng = Rng::seeded(1);
        let mut adapted = BackoffStrategy::exponential(backoff(&clock));
        let mut generic = BackoffStrategy::new(backoff(&clock));
        let (mut previous, mut last) = (None, None);
        for attempt in 1..=40 {
            previous = Some(adapted.delay(attempt, previous, &mut rng));
            last = Some(generic.delay(attempt, last, &mut rng));
            clock.advance(Duration::from_secs(60));
        }
        assert_eq!(previous, Some(Duration::from_secs(60)));
        assert!(last > Some(Duration::ZERO), "a `None` became {last:?}");
        // The trap itself, so that this test says when it is gone.
        assert_eq!(generic.backoff.next_backoff(), None);
    }

    #[test]
    fn rule_4_each_outage_starts_with_the_first_step() {
        let clock = Moved::new();
        let mut rng = Rng::seeded(1);
        let mut adapted = BackoffStrategy::exponential(backoff(&clock));
        let first = |strategy: &mut BackoffStrategy<_>, rng: &mut Rng| strategy.delay(1, None, rng);
        assert_eq!(first(&mut adapted, &mut rng), Duration::from_millis(500));
        assert!(adapted.delay(2, None, &mut rng) > Duration::from_millis(500));
        assert_eq!(first(&mut adapted, &mut rng), Duration::from_millis(500));
        assert_eq!(format!("{adapted:?}"), "BackoffStrategy", "what it holds need not print");
    }

    /// A `Backoff` that has ended stops nothing: the pause goes on, spread by half to either side.
    #[test]
    fn rule_4_a_back_off_that_ends_goes_on_with_its_last_pause() {
        let mut ended = BackoffStrategy::new(backoff::backoff::Stop {});
        let mut rng = Rng::seeded(1);
        for (previous, last) in [(None, 30.0), (Some(Duration::from_secs(8)), 8.0)] {
            let delays: Vec<_> =
                (0..500).map(|_| ended.delay(2, previous, &mut rng).as_secs_f64() / last).collect();
            let (least, most) =
                delays.iter().fold((2.0, 0.0), |(least, most), delay| (delay.min(least), delay.max(most)));
            assert!((0.5..0.52).contains(&least), "{least} of {last} s");
            assert!((1.48..=1.5).contains(&most), "{most} of {last} s");
        }
    }
}
