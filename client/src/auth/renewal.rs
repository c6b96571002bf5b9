//! When the credentials of a live connection are to be renewed: the decision, without a clock.
//!
//! Two clocks are asked, and whichever says first that it is time is right. The wall clock knows of a machine that
//! slept; the monotonic one knows nothing of a wall clock that somebody set back.

use std::time::{Duration, Instant, SystemTime};

/// What happens when credentials that say when they expire are about to. They are known to expire in good time:
/// this is the evidence that is acted on, as the server's refusal is later.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum CredentialRenewal {
    /// The provider is asked for new ones before that, and
    /// [`on_credentials_renewed`](crate::ClientBuilder::on_credentials_renewed) tells the server, over the
    /// connection as it is. Without that hook the new ones are kept for the next attempt, which then does not ask
    /// the provider once more.
    #[default]
    InBand,
    /// The provider is asked before that, and the connection is closed with the source `SystemInitiated`, so that
    /// recovery makes another one with the new credentials: for protocols that cannot renew. Needs recovery. Where
    /// connections may be [replaced](crate::ClientBuilder::make_before_break), a newer one is made with the new
    /// credentials first, which needs no recovery; one that cannot be made is tried again until they have expired.
    Reconnect,
    /// Nothing happens. The server refuses them, and then the provider is asked.
    Off,
}

/// A wall clock that was set, or a machine that slept, is noticed after so long.
const LOOK: Duration = Duration::from_secs(60);

/// Between a renewal that failed and the next one: doubling, up to the cap, then jittered downwards by up to half.
const BACK_OFF: Duration = Duration::from_secs(1);
const BACK_OFF_CAP: Duration = Duration::from_secs(30);

/// The renewal of one connection's credentials.
#[derive(Debug)]
pub(crate) struct Renewal {
    /// From when the credentials are refused, by each clock.
    expires: (Instant, SystemTime),
    /// How long before that the provider is asked.
    lead: Duration,
    phase: Phase,
    failures: u32,
    seed: u64,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// They are good; both clocks are looked at then, at the latest.
    Resting { look: Instant },
    /// The provider, or the hook, is at work.
    Renewing,
    /// It failed, and is tried again then.
    Failed { until: Instant },
    /// They have expired all the same. What the server says of it counts now.
    Expired,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Due {
    Nothing,
    /// Ask the provider.
    Renew,
    /// They have expired, and could not be renewed. Nothing more is tried.
    GivenUp,
}

impl Renewal {
    /// For credentials that come into use now. `None` when they have expired already by our clock: then it does not
    /// agree with the server's, and renewing by it would never end.
    ///
    /// `margin` is how long before their end they are renewed: at most half of what is left of them. Up to a tenth
    /// of that is added, by the seed, so that a fleet that began at once does not renew at once.
    pub(crate) fn new(
        margin: Duration,
        seed: u64,
        now: Instant,
        wall: SystemTime,
        expires_at: SystemTime,
    ) -> Option<Self> {
        let left = expires_at.duration_since(wall).ok().filter(|left| !left.is_zero())?;
        // What lies beyond what the clock can express never expires.
        let expires = (now.checked_add(left)?, expires_at);
        let mut seed = seed;
        let lead = margin.min(left / 2) + (left / 10).mul_f64(fraction(&mut seed));
        let mut renewal = Self { expires, lead, phase: Phase::Renewing, failures: 0, seed };
        renewal.rest(now, wall);
        Some(renewal)
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub(crate) const fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Resting { look: at } | Phase::Failed { until: at } => Some(at),
            Phase::Renewing | Phase::Expired => None,
        }
    }

    /// Time has passed. After [`Due::Renew`] either this is dropped, since there are new credentials, or
    /// [`failed`](Self::failed) is called.
    pub(crate) fn handle_timeout(&mut self, now: Instant, wall: SystemTime) -> Due {
        if self.poll_timeout().is_none_or(|at| now < at) {
            return Due::Nothing;
        }
        match self.phase {
            Phase::Failed { .. } if self.left(now, wall).is_zero() => {
                self.phase = Phase::Expired;
                Due::GivenUp
            }
            Phase::Resting { .. } if self.left(now, wall) > self.lead => {
                self.rest(now, wall);
                Due::Nothing
            }
            _ => {
                self.phase = Phase::Renewing;
                Due::Renew
            }
        }
    }

    /// There are no new credentials, or the server could not be told of them.
    pub(crate) fn failed(&mut self, now: Instant, wall: SystemTime) {
        let doubled = BACK_OFF.saturating_mul(1 << self.failures.min(16)).min(BACK_OFF_CAP);
        self.failures += 1;
        let delay = doubled.mul_f64(1.0 - fraction(&mut self.seed) / 2.0);
        // The last look is at the very end, to say that it was in vain.
        self.phase = Phase::Failed { until: now + delay.min(self.left(now, wall)) };
    }

    fn rest(&mut self, now: Instant, wall: SystemTime) {
        let due_in = self.left(now, wall).saturating_sub(self.lead);
        self.phase = Phase::Resting { look: now + due_in.min(LOOK) };
    }

    /// How long they are still good, by the clock that says less.
    fn left(&self, now: Instant, wall: SystemTime) -> Duration {
        let (monotonic, by_wall) = self.expires;
        monotonic.saturating_duration_since(now).min(by_wall.duration_since(wall).unwrap_or_default())
    }
}

/// The next number of a seeded sequence, from 0 to 1 (`SplitMix64`, by Steele, Lea and Flood).
fn fraction(seed: &mut u64) -> f64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *seed;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    f64::from((mixed >> 32) as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MARGIN: Duration = Duration::from_secs(30);

    /// Both clocks, which a test may part.
    struct Clocks {
        now: Instant,
        wall: SystemTime,
    }

    impl Clocks {
        #[expect(clippy::disallowed_methods, reason = "a starting point; only differences to it matter")]
        fn new() -> Self {
            Self { now: Instant::now(), wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000) }
        }

        fn pass(&mut self, time: Duration) {
            self.now += time;
            self.wall += time;
        }

        fn renewal(&self, life: Duration, seed: u64) -> Renewal {
            Renewal::new(MARGIN, seed, self.now, self.wall, self.wall + life).unwrap()
        }

        /// Lets time pass, timer by timer, until something is due; says when.
        fn until_due(&mut self, renewal: &mut Renewal) -> (Duration, Due) {
            let start = self.now;
            for _ in 0..10_000 {
                let Some(at) = renewal.poll_timeout() else { return (self.now - start, Due::Nothing) };
                self.pass(at.saturating_duration_since(self.now));
                match renewal.handle_timeout(self.now, self.wall) {
                    Due::Nothing => {}
                    due => return (self.now - start, due),
                }
            }
            panic!("nothing is ever due: {renewal:?}");
        }
    }

    #[test]
    fn rule_8_1_credentials_are_renewed_before_they_expire_and_a_fleet_does_not_do_it_at_once() {
        let hour = Duration::from_secs(3600);
        let mut moments: Vec<_> = (0..1000)
            .map(|seed| {
                let mut clocks = Clocks::new();
                let mut renewal = clocks.renewal(hour, seed);
                let (at, due) = clocks.until_due(&mut renewal);
                assert_eq!(due, Due::Renew);
                assert!(at <= hour.saturating_sub(MARGIN), "{at:?}");
                assert!(at >= hour.saturating_sub(MARGIN + hour / 10), "{at:?}");
                at
            })
            .collect();
        moments.sort_unstable();
        // Six minutes for a thousand: no second sees more than a few.
        let busiest =
            moments.iter().map(|at| moments.iter().filter(|other| **other >= *at && **other < *at + SECOND));
        assert!(busiest.map(Iterator::count).max().unwrap() < 20);
    }

    #[test]
    fn rule_8_1_a_short_life_leaves_at_least_a_part_of_it_in_peace() {
        for life in [Duration::from_millis(10), SECOND, Duration::from_secs(20), Duration::from_secs(61)] {
            let mut clocks = Clocks::new();
            let mut renewal = clocks.renewal(life, 7);
            let (at, _) = clocks.until_due(&mut renewal);
            assert!(at >= life.mul_f64(0.39) && at < life, "{life:?}: {at:?}");
        }
    }

    #[test]
    fn rule_8_1_a_failed_renewal_is_tried_again_with_back_off_until_they_expire_and_never_after() {
        let mut clocks = Clocks::new();
        let mut renewal = clocks.renewal(Duration::from_secs(600), 3);
        let expires = clocks.now + Duration::from_secs(600);
        assert_eq!(clocks.until_due(&mut renewal).1, Due::Renew);
        let mut delays = Vec::new();
        loop {
            assert_eq!(renewal.poll_timeout(), None, "one renewal at a time");
            renewal.failed(clocks.now, clocks.wall);
            let (delay, due) = clocks.until_due(&mut renewal);
            delays.push(delay);
            if due == Due::GivenUp {
                break;
            }
        }
        assert_eq!(clocks.now, expires);
        assert_eq!(renewal.poll_timeout(), None);
        assert!(delays[0] >= SECOND / 2 && delays[0] <= SECOND, "{delays:?}");
        assert!(delays.iter().all(|delay| *delay <= BACK_OFF_CAP), "{delays:?}");
        assert!((5..20).contains(&delays.len()), "{delays:?}");
    }

    #[test]
    fn rule_8_1_a_machine_that_slept_renews_within_a_minute_after_it_woke_up() {
        let mut clocks = Clocks::new();
        let mut renewal = clocks.renewal(Duration::from_secs(3600), 1);
        // The monotonic clock stood still.
        clocks.wall += Duration::from_secs(3590);
        let (at, due) = clocks.until_due(&mut renewal);
        assert_eq!(due, Due::Renew);
        assert!(at <= LOOK, "{at:?}");
    }

    #[test]
    fn rule_8_1_a_wall_clock_that_was_set_back_does_not_put_a_renewal_off() {
        let mut clocks = Clocks::new();
        let mut renewal = clocks.renewal(Duration::from_secs(3600), 1);
        clocks.wall -= Duration::from_secs(86_400);
        let (at, due) = clocks.until_due(&mut renewal);
        assert_eq!(due, Due::Renew);
        assert!(at < Duration::from_secs(3600), "{at:?}");
    }

    /// A clock that is ahead of the server's sees nothing but expired credentials.
    #[test]
    fn rule_8_1_credentials_that_come_expired_are_not_renewed_by_the_clock() {
        let Clocks { now, wall } = Clocks::new();
        assert!(Renewal::new(MARGIN, 1, now, wall, wall).is_none());
        assert!(Renewal::new(MARGIN, 1, now, wall, wall - SECOND).is_none());
    }

    #[test]
    fn what_expires_beyond_all_clocks_is_no_reason_to_panic() {
        let Clocks { now, wall } = Clocks::new();
        let far = SystemTime::UNIX_EPOCH + Duration::from_secs(i64::MAX as u64 / 2);
        if let Some(mut renewal) = Renewal::new(Duration::MAX, 1, now, wall, far) {
            assert_eq!(renewal.handle_timeout(now, wall), Due::Nothing);
        }
    }
}
