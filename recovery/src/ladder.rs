//! Which delay comes next: by cause first, by the strategy afterwards.

use std::{
    collections::VecDeque,
    fmt,
    time::{Duration, Instant},
};

use crate::{Cause, RecoveryOptions, RetryStrategy, Rng};

/// The ladder of one client. Reset by a stable connection and by a local cause.
pub(crate) struct Ladder {
    strategy: Box<dyn RetryStrategy>,
    rng: Rng,
    /// How many delays have been taken since the reset, those of the fast ladder left out.
    taken: u32,
    /// The strategy's own answer before.
    previous: Option<Duration>,
    /// The next step of the fast ladder, while a local cause is fresh.
    fast: Option<usize>,
    /// When the latest connections were opened, oldest first, as many as the burst allows.
    opened: VecDeque<Instant>,
}

impl Ladder {
    pub(crate) const fn new(strategy: Box<dyn RetryStrategy>, rng: Rng) -> Self {
        Self { strategy, rng, taken: 0, previous: None, fast: None, opened: VecDeque::new() }
    }

    pub(crate) fn reset(&mut self) {
        self.taken = 0;
        self.previous = None;
        self.fast = None;
    }

    /// A local cause: the ladder is reset, and the fast one begins. Returns its first delay.
    pub(crate) fn start_fast(&mut self, options: &RecoveryOptions) -> Duration {
        self.reset();
        self.fast = Some(1);
        options.fast_ladder.first().copied().unwrap_or_default()
    }

    /// A moment within the window, for what a whole fleet is told at once.
    pub(crate) fn spread(&mut self, window: Duration) -> Duration {
        self.rng.between(Duration::ZERO, window)
    }

    /// A server accepted a connection.
    pub(crate) fn note_opened(&mut self, now: Instant, options: &RecoveryOptions) {
        while self.opened.len() >= options.burst as usize {
            self.opened.pop_front();
        }
        self.opened.push_back(now);
    }

    /// The delay before the next attempt. `dropped`: the connection was accepted, and dropped before it was
    /// stable. `at_once`: the first renewal of refused credentials.
    pub(crate) fn next(
        &mut self,
        now: Instant,
        cause: Cause,
        not_before: Option<Duration>,
        dropped: bool,
        at_once: bool,
        options: &RecoveryOptions,
    ) -> Duration {
        if cause.is_local() {
            return self.start_fast(options);
        }
        let unreachable = !dropped
            && not_before.is_none()
            && matches!(
                cause,
                Cause::DialFailed
                    | Cause::ConnectTimeout
                    | Cause::ConnectionLost
                    | Cause::CredentialsUnavailable
            );
        let fast = self.fast.filter(|_| unreachable).and_then(|step| options.fast_ladder.get(step));
        let delay = if let Some(&delay) = fast {
            self.fast = self.fast.map(|step| step + 1);
            delay
        } else {
            self.climb(cause, not_before, at_once, options)
        };
        if dropped { delay.max(self.after_burst(now, delay, options)) } else { delay }
    }

    fn climb(
        &mut self,
        cause: Cause,
        not_before: Option<Duration>,
        at_once: bool,
        options: &RecoveryOptions,
    ) -> Duration {
        self.fast = None;
        let attempt = self.taken;
        self.taken = self.taken.saturating_add(1);
        let step = match attempt {
            _ if at_once => Duration::ZERO,
            0 => self.rng.between(Duration::ZERO, options.first_delay),
            _ => {
                let delay = self.strategy.delay(attempt, self.previous, &mut self.rng);
                self.previous = Some(delay);
                delay
            }
        };
        let step = match cause {
            Cause::ServerRestarting => {
                self.rng.between(*options.restart_delay.start(), *options.restart_delay.end())
            }
            Cause::ServerOverloaded => {
                step.max(self.rng.between(*options.overload_delay.start(), *options.overload_delay.end()))
            }
            _ => step,
        };
        // Everyone was told the same time, so everyone would be back at the same time: a fifth is added.
        step.max(not_before.map_or(Duration::ZERO, |told| self.rng.between(told, told + told / 5)))
    }

    /// What is left until the server has had no more than its burst; jittered by the step, so that a fleet
    /// which was dropped together does not come back together.
    fn after_burst(&mut self, now: Instant, step: Duration, options: &RecoveryOptions) -> Duration {
        let oldest = match self.opened.front() {
            Some(oldest) if self.opened.len() >= options.burst as usize => *oldest,
            _ => return Duration::ZERO,
        };
        let left = (oldest + options.burst_window).saturating_duration_since(now);
        if left.is_zero() { left } else { self.rng.between(left, left + step) }
    }
}

impl fmt::Debug for Ladder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ladder")
            .field("taken", &self.taken)
            .field("previous", &self.previous)
            .field("fast", &self.fast)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
impl Ladder {
    /// A copy, with the formula of the start and draws that depend on the seed alone.
    pub(crate) fn fork(&self, seed: u64) -> Self {
        let strategy = Box::new(crate::Exponential::full());
        Self { strategy, rng: Rng::seeded(seed), opened: self.opened.clone(), ..*self }
    }

    /// All that decides what comes next with the formula of the start, whose step no longer grows after six.
    pub(crate) fn summary(
        &self,
        now: Instant,
        options: &RecoveryOptions,
    ) -> impl Eq + std::hash::Hash + use<> {
        let ages =
            self.opened.iter().map(|at| now.duration_since(*at)).filter(|age| *age < options.burst_window);
        (self.taken.min(6), self.fast, ages.collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Exponential;

    const MS: fn(u64) -> Duration = Duration::from_millis;
    const S: fn(u64) -> Duration = Duration::from_secs;

    #[expect(clippy::disallowed_methods, reason = "any instant will do as the start of a virtual clock")]
    fn t0() -> Instant {
        Instant::now()
    }

    fn ladder(seed: u64) -> Ladder {
        Ladder::new(Box::new(Exponential::full()), Rng::seeded(seed))
    }

    fn next(ladder: &mut Ladder, cause: Cause) -> Duration {
        ladder.next(t0(), cause, None, false, false, &RecoveryOptions::default())
    }

    fn spread(cause: Cause, not_before: Option<Duration>) -> (Duration, Duration) {
        let options = RecoveryOptions::default();
        let delays: Vec<_> = (0..2_000)
            .map(|seed| ladder(seed).next(t0(), cause, not_before, false, false, &options))
            .collect();
        (*delays.iter().min().unwrap(), *delays.iter().max().unwrap())
    }

    fn assert_spread(cause: Cause, not_before: Option<Duration>, low: Duration, high: Duration) {
        let (min, max) = spread(cause, not_before);
        let slack = high.abs_diff(low) / 50;
        assert!(min >= low && min <= low + slack, "{cause}: {min:?}, wanted {low:?}");
        assert!(max <= high && max + slack >= high, "{cause}: {max:?}, wanted {high:?}");
    }

    #[test]
    fn rule_4_the_first_remote_retry_is_jittered_too() {
        for cause in
            [Cause::ServerClosed, Cause::ConnectionLost, Cause::UpgradeRefused, Cause::NoPongReceived]
        {
            assert_spread(cause, None, MS(0), S(2));
        }
    }

    #[test]
    fn rule_4_restarting_and_overloaded_servers_and_retry_after() {
        assert_spread(Cause::ServerRestarting, None, S(5), S(30));
        assert_spread(Cause::ServerOverloaded, None, S(30), S(60));
        assert_spread(Cause::RetryAfter, Some(S(10)), S(10), S(12));
    }

    #[test]
    fn rule_4_from_the_second_on_the_strategy_decides() {
        let mut exact = ladder(1);
        next(&mut exact, Cause::ServerClosed);
        let delays: Vec<_> = (0..7).map(|_| next(&mut exact, Cause::DialFailed)).collect();
        for (delay, step) in delays.iter().zip([1, 2, 4, 8, 16, 30, 30]) {
            assert!(*delay >= MS(100) && *delay <= S(step), "{delays:?}");
        }
    }

    #[test]
    fn rule_4_a_local_cause_resets_the_ladder_and_starts_the_fast_one() {
        for cause in
            [Cause::PathChanged, Cause::NetworkUp, Cause::WokeUp, Cause::Foreground, Cause::UserAsked]
        {
            let mut ladder = ladder(2);
            for _ in 0..10 {
                next(&mut ladder, Cause::DialFailed);
            }
            let mut delays = vec![next(&mut ladder, cause)];
            delays.extend((0..3).map(|_| next(&mut ladder, Cause::DialFailed)));
            assert_eq!(delays, [MS(0), MS(250), MS(500), MS(1_000)], "{cause}");
            let after = next(&mut ladder, Cause::DialFailed);
            assert!(after <= S(2), "the ladder starts again after the fast one: {after:?}");
        }
    }

    #[test]
    fn rule_4_a_server_that_answers_ends_the_fast_ladder() {
        let options = RecoveryOptions::default();
        let mut delays = Vec::new();
        for seed in 0..50 {
            let mut ladder = ladder(seed);
            next(&mut ladder, Cause::NetworkUp);
            delays.push(ladder.next(t0(), Cause::ConnectionLost, None, true, false, &options));
        }
        assert!(delays.iter().any(|delay| *delay > S(1)) && delays.iter().all(|delay| *delay <= S(2)));
    }

    #[test]
    fn rule_4_accept_then_close_gets_at_most_four_connections_in_ten_seconds() {
        for seed in 0..500 {
            let options = RecoveryOptions::default();
            let (mut ladder, start) = (ladder(seed), t0());
            let (mut now, mut opened) = (start, Vec::new());
            while now < start + S(60) {
                opened.push(now);
                ladder.note_opened(now, &options);
                now += ladder.next(now, Cause::ServerClosed, None, true, false, &options);
            }
            for five in opened.windows(5) {
                assert!(five[4] >= five[0] + S(10), "seed {seed}: five connections within 10 s");
            }
        }
    }
}
