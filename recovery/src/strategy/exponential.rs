//! The exponential ladder with full, equal or decorrelated jitter.

use std::time::Duration;

use super::RetryStrategy;
use crate::{InvalidConfig, Rng};

/// An exponential ladder with jitter. Default: [full jitter](Self::full), base 1 s, doubled each time, cap
/// 30 s, floor 100 ms.
///
/// The three kinds of jitter are those of the AWS architecture blog, "Exponential Backoff And Jitter". With
/// `step = min(cap, base × factor^(attempt − 1))`:
///
/// | kind | delay |
/// |---|---|
/// | full | between floor and step |
/// | equal | between step / 2 and step |
/// | decorrelated | between base and three times the previous delay, then capped |
///
/// Full jitter spreads a fleet best and comes back soonest; equal jitter guarantees a pause. Decorrelated
/// jitter caps after it draws, as published, so that after a long outage much of the fleet waits for exactly
/// the cap: prefer one of the others for large fleets.
#[derive(Clone, Debug)]
pub struct Exponential {
    jitter: Jitter,
    base: Duration,
    factor: f64,
    cap: Duration,
    floor: Duration,
}

#[derive(Clone, Copy, Debug)]
enum Jitter {
    Full,
    Equal,
    Decorrelated,
}

impl Default for Exponential {
    fn default() -> Self {
        Self::full()
    }
}

impl Exponential {
    /// Full jitter.
    pub const fn full() -> Self {
        Self::with(Jitter::Full)
    }

    /// Equal jitter.
    pub const fn equal() -> Self {
        Self::with(Jitter::Equal)
    }

    /// Decorrelated jitter.
    pub const fn decorrelated() -> Self {
        Self::with(Jitter::Decorrelated)
    }

    const fn with(jitter: Jitter) -> Self {
        Self {
            jitter,
            base: Duration::from_secs(1),
            factor: 2.0,
            cap: Duration::from_secs(30),
            floor: Duration::from_millis(100),
        }
    }

    /// The first step of the ladder. Default: 1 s. At least the floor, at most the cap.
    pub const fn base(mut self, base: Duration) -> Self {
        self.base = base;
        self
    }

    /// By how much each step is larger than the one before. Default: 2. At least 1.
    pub const fn factor(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// The largest step. Default: 30 s. Jitter is applied after it and survives it.
    pub const fn cap(mut self, cap: Duration) -> Self {
        self.cap = cap;
        self
    }

    /// No delay is shorter. Default: 100 ms. Above zero.
    pub const fn floor(mut self, floor: Duration) -> Self {
        self.floor = floor;
        self
    }

    fn step(&self, attempt: u32) -> Duration {
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        // Infinite for large exponents, which `min` turns into the cap.
        let seconds = self.base.as_secs_f64() * self.factor.powi(exponent);
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX).min(self.cap)
    }
}

impl RetryStrategy for Exponential {
    fn delay(&mut self, attempt: u32, previous: Option<Duration>, rng: &mut Rng) -> Duration {
        let step = self.step(attempt);
        let delay = match self.jitter {
            Jitter::Full => rng.between(self.floor, step),
            Jitter::Equal => rng.between(step / 2, step),
            Jitter::Decorrelated => {
                let previous = previous.unwrap_or(self.base);
                rng.between(self.base, previous.saturating_mul(3)).min(self.cap)
            }
        };
        delay.max(self.floor)
    }

    fn validate(&self) -> Result<(), InvalidConfig> {
        if self.floor.is_zero() {
            return Err(InvalidConfig::new("floor", "must be above zero, or the server is hammered"));
        }
        if self.base < self.floor {
            return Err(InvalidConfig::new("base", "must not be below `floor`"));
        }
        if self.cap < self.base {
            return Err(InvalidConfig::new("cap", "must not be below `base`"));
        }
        if !(self.factor.is_finite() && self.factor >= 1.0) {
            return Err(InvalidConfig::new("factor", "must be a number of at least 1"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn draw(strategy: &mut Exponential, attempt: u32, seed: u64) -> Vec<Duration> {
        let mut rng = Rng::seeded(seed);
        (0..2_000).map(|_| strategy.delay(attempt, None, &mut rng)).collect()
    }

    fn assert_fills(delays: &[Duration], low: Duration, high: Duration) {
        let (min, max) = (delays.iter().min().unwrap(), delays.iter().max().unwrap());
        assert!(*min >= low && *max <= high, "{min:?}..{max:?} is not within {low:?}..{high:?}");
        let slack = high.abs_diff(low) / 50;
        assert!(*min <= low + slack && *max + slack >= high, "{min:?}..{max:?} leaves room unused");
    }

    #[test]
    fn rule_4_full_jitter_fills_the_step_and_survives_the_cap() {
        let mut full = Exponential::full();
        for (attempt, step) in
            [(1, 1_000), (2, 2_000), (3, 4_000), (5, 16_000), (6, 30_000), (60, 30_000), (u32::MAX, 30_000)]
        {
            let delays = draw(&mut full, attempt, 3);
            assert_fills(&delays, MS(100), MS(step));
            let together = delays.iter().filter(|delay| **delay == MS(step)).count();
            assert!(together < delays.len() / 50, "{together} of {} wait for the whole step", delays.len());
        }
    }

    #[test]
    fn rule_4_equal_jitter_keeps_half_of_the_step() {
        let mut equal = Exponential::equal();
        for (attempt, step) in [(1, 1_000), (4, 8_000), (60, 30_000)] {
            assert_fills(&draw(&mut equal, attempt, 4), MS(step / 2), MS(step));
        }
    }

    #[test]
    fn rule_4_decorrelated_jitter_grows_from_the_previous_delay() {
        let mut strategy = Exponential::decorrelated();
        let mut rng = Rng::seeded(5);
        for previous in [MS(1_000), MS(4_000), MS(30_000)] {
            for _ in 0..500 {
                let delay = strategy.delay(2, Some(previous), &mut rng);
                assert!(delay >= MS(1_000) && delay <= (previous * 3).min(MS(30_000)), "{delay:?}");
            }
        }
    }

    #[test]
    fn rule_4_same_seed_same_delays() {
        let mut full = Exponential::full();
        assert_eq!(draw(&mut full, 6, 9), draw(&mut full, 6, 9));
        assert_ne!(draw(&mut full, 6, 9), draw(&mut full, 6, 10));
    }

    #[test]
    fn rule_4_full_jitter_is_the_default() {
        let (mut full, mut default) = (Exponential::full(), Exponential::default());
        for attempt in 1..50 {
            let seeded = || Rng::seeded(attempt.into());
            let delay = default.delay(attempt, None, &mut seeded());
            assert_eq!(delay, full.delay(attempt, None, &mut seeded()), "{attempt}");
            assert_eq!(delay, crate::strategy::Usual.delay(attempt, None, &mut seeded()), "{attempt}");
        }
    }

    #[test]
    fn rule_4_the_resolution_is_a_millisecond() {
        let distinct: std::collections::HashSet<_> =
            draw(&mut Exponential::full(), 6, 6).into_iter().collect();
        assert!(distinct.len() > 1_800, "{} distinct delays of 2000", distinct.len());
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let field = |strategy: Exponential| strategy.validate().unwrap_err().field();
        assert_eq!(field(Exponential::full().floor(Duration::ZERO)), "floor");
        assert_eq!(field(Exponential::full().base(MS(50))), "base");
        assert_eq!(field(Exponential::full().cap(MS(500))), "cap");
        assert_eq!(field(Exponential::full().factor(0.5)), "factor");
        assert_eq!(field(Exponential::full().factor(f64::NAN)), "factor");
        assert_eq!(Exponential::full().validate(), Ok(()));
        assert_eq!(Exponential::full().floor(MS(1_000)).cap(MS(1_000)).validate(), Ok(()), "all the same");
    }
}
