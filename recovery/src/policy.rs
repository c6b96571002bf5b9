//! Whether to try again at all, and whether now: the trait [`ReconnectionPolicy`], its combinators, and the
//! policies shipped with it.

use std::{
    fmt,
    time::{Duration, Instant},
};

use everwire_netmon::{Lifecycle, NetworkStatus};

use crate::{Cause, InvalidConfig, RecoveryOptions, StopReason};

/// What a policy looks at.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Situation<'a> {
    /// The time of the question.
    pub now: Instant,
    /// Whether an attempt is being planned, or is about to be made.
    pub moment: Moment,
    /// Why there shall be an attempt.
    pub cause: Cause,
    /// Which attempt of this outage it would be; the first is 1. A local cause starts the count again.
    pub attempt: u32,
    /// How long the outage lasts: since its first failure, or since the latest local cause.
    pub outage: Duration,
    /// How long ago the latest attempt began, whoever began it.
    pub since_last_attempt: Option<Duration>,
    /// Whether the user wants a connection.
    pub wanted: bool,
    /// What is known of the network.
    pub network: &'a NetworkStatus,
    /// What is known of the application's place.
    pub lifecycle: Lifecycle,
}

/// When a policy is asked. Each attempt is asked for twice, since much can change while a timer runs.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "an attempt is planned, then made; there is nothing between")]
pub enum Moment {
    /// The delay is being chosen.
    Planning,
    /// The timer has fired; `Allow` means that the attempt is made now.
    Firing,
}

/// What a policy says.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "combinators must handle every ruling")]
pub enum Ruling {
    /// Go.
    Allow,
    /// Not now. Asked again after the duration, or sooner when something changes; with `None` only when
    /// something changes.
    Wait(Option<Duration>),
    /// Not any more.
    Stop(StopReason),
}

/// Whether there shall be another attempt. Combine with [`and`](Self::and) and [`or`](Self::or).
///
/// ```
/// use everwire_recovery::{MaxAttempts, MaxElapsed, ReconnectionPolicy};
/// use std::time::Duration;
///
/// let policy = MaxAttempts::new(10).and(MaxElapsed::new(Duration::from_secs(3600)));
/// # fn needs(_: impl ReconnectionPolicy) {}
/// # needs(policy);
/// ```
///
/// # Your own
/// ```
/// use everwire_recovery::{ReconnectionPolicy, Ruling, Situation, StopReason};
/// use std::sync::{Arc, atomic::{AtomicBool, Ordering}};
///
/// struct InCall(Arc<AtomicBool>);
///
/// impl ReconnectionPolicy for InCall {
///     fn rule(&self, _: &Situation<'_>) -> Ruling {
///         match self.0.load(Ordering::Relaxed) {
///             true => Ruling::Allow,
///             false => Ruling::Stop(StopReason::Policy("the call is over")),
///         }
///     }
/// }
/// ```
pub trait ReconnectionPolicy: Send + 'static {
    /// The ruling. Must not block.
    fn rule(&self, situation: &Situation<'_>) -> Ruling;

    /// Refuses a configuration that cannot work. Called once, when the handler is built.
    fn validate(&self) -> Result<(), InvalidConfig> {
        Ok(())
    }

    /// Both must allow; the stricter ruling holds.
    fn and<P: ReconnectionPolicy>(self, other: P) -> And<Self, P>
    where
        Self: Sized,
    {
        And(self, other)
    }

    /// One must allow; the more lenient ruling holds.
    fn or<P: ReconnectionPolicy>(self, other: P) -> Or<Self, P>
    where
        Self: Sized,
    {
        Or(self, other)
    }
}

impl<P: ReconnectionPolicy + ?Sized> ReconnectionPolicy for Box<P> {
    fn rule(&self, situation: &Situation<'_>) -> Ruling {
        (**self).rule(situation)
    }

    fn validate(&self) -> Result<(), InvalidConfig> {
        (**self).validate()
    }
}

impl fmt::Debug for dyn ReconnectionPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReconnectionPolicy")
    }
}

/// See [`ReconnectionPolicy::and`].
#[derive(Clone, Debug)]
pub struct And<A, B>(A, B);

impl<A: ReconnectionPolicy, B: ReconnectionPolicy> ReconnectionPolicy for And<A, B> {
    fn rule(&self, situation: &Situation<'_>) -> Ruling {
        match self.0.rule(situation) {
            Ruling::Allow => self.1.rule(situation),
            Ruling::Stop(reason) => Ruling::Stop(reason),
            Ruling::Wait(first) => {
                // The attempt will not be made now, so the other is not asked to pay for it.
                let planning = Situation { moment: Moment::Planning, ..situation.clone() };
                match self.1.rule(&planning) {
                    Ruling::Allow => Ruling::Wait(first),
                    Ruling::Stop(reason) => Ruling::Stop(reason),
                    Ruling::Wait(second) => Ruling::Wait(first.zip(second).map(|(a, b)| a.max(b))),
                }
            }
        }
    }

    fn validate(&self) -> Result<(), InvalidConfig> {
        self.0.validate().and_then(|()| self.1.validate())
    }
}

/// See [`ReconnectionPolicy::or`].
#[derive(Clone, Debug)]
pub struct Or<A, B>(A, B);

impl<A: ReconnectionPolicy, B: ReconnectionPolicy> ReconnectionPolicy for Or<A, B> {
    fn rule(&self, situation: &Situation<'_>) -> Ruling {
        match self.0.rule(situation) {
            Ruling::Allow => Ruling::Allow,
            Ruling::Stop(reason) => match self.1.rule(situation) {
                Ruling::Stop(_) => Ruling::Stop(reason),
                lenient => lenient,
            },
            Ruling::Wait(first) => match self.1.rule(situation) {
                Ruling::Allow => Ruling::Allow,
                Ruling::Stop(_) => Ruling::Wait(first),
                Ruling::Wait(second) => {
                    Ruling::Wait(first.zip(second).map(|(a, b)| a.min(b)).or(first).or(second))
                }
            },
        }
    }

    fn validate(&self) -> Result<(), InvalidConfig> {
        self.0.validate().and_then(|()| self.1.validate())
    }
}

/// Stops when the user does not want a connection. The core holds to this by itself too, whatever the
/// policies say.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct UserWants;

impl UserWants {
    /// The policy.
    pub const fn new() -> Self {
        Self
    }
}

impl ReconnectionPolicy for UserWants {
    fn rule(&self, situation: &Situation<'_>) -> Ruling {
        if situation.wanted { Ruling::Allow } else { Ruling::Stop(StopReason::UserDisconnected) }
    }
}

/// While the monitor reports no network, dials only now and then. Unknown allows: knowledge of the network is
/// a hint, never a lock.
#[derive(Clone, Copy, Debug)]
pub struct NetworkAvailable {
    poll: Duration,
}

impl Default for NetworkAvailable {
    fn default() -> Self {
        Self { poll: Duration::from_secs(30) }
    }
}

impl NetworkAvailable {
    /// Polls every 30 s while offline.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long after the latest attempt one is made although the monitor reports no network. Default: 30 s.
    pub const fn poll(mut self, poll: Duration) -> Self {
        self.poll = poll;
        self
    }
}

impl ReconnectionPolicy for NetworkAvailable {
    fn rule(&self, situation: &Situation<'_>) -> Ruling {
        if !situation.network.is_offline() || situation.cause == Cause::UserAsked {
            return Ruling::Allow;
        }
        match self.poll.saturating_sub(situation.since_last_attempt.unwrap_or(situation.outage)) {
            Duration::ZERO => Ruling::Allow,
            rest => Ruling::Wait(Some(rest)),
        }
    }

    fn validate(&self) -> Result<(), InvalidConfig> {
        if self.poll.is_zero() {
            return Err(InvalidConfig::new("poll", "must be above zero, or being offline slows nothing"));
        }
        Ok(())
    }
}

/// What holds unless a user replaces it: the user's wish, the network, the application's place.
pub(crate) fn default_policy(options: &RecoveryOptions) -> Box<dyn ReconnectionPolicy> {
    let network = NetworkAvailable::new();
    if options.keep_alive_in_background {
        Box::new(UserWants::new().and(network.poll(options.offline_poll)))
    } else if options.offline_poll == network.poll {
        Box::new(Usual)
    } else {
        Box::new(Usual::with(network.poll(options.offline_poll)))
    }
}

/// The policies of the start with their durations, for which nothing is held.
struct Usual;

impl Usual {
    fn with(network: NetworkAvailable) -> impl ReconnectionPolicy {
        UserWants::new().and(network).and(LifecycleAllowed::new())
    }
}

impl ReconnectionPolicy for Usual {
    fn rule(&self, situation: &Situation<'_>) -> Ruling {
        Self::with(NetworkAvailable::new()).rule(situation)
    }
}

/// Waits while the application is in the background. Unknown allows.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct LifecycleAllowed;

impl LifecycleAllowed {
    /// The policy.
    pub const fn new() -> Self {
        Self
    }
}

impl ReconnectionPolicy for LifecycleAllowed {
    fn rule(&self, situation: &Situation<'_>) -> Ruling {
        match situation.lifecycle {
            Lifecycle::Background if situation.cause != Cause::UserAsked => Ruling::Wait(None),
            _ => Ruling::Allow,
        }
    }
}

/// Stops after a number of attempts in one outage. A local cause starts the count again.
#[derive(Clone, Copy, Debug)]
pub struct MaxAttempts(u32);

impl MaxAttempts {
    /// At most so many attempts by recovery; the user's own `connect` does not count.
    pub const fn new(attempts: u32) -> Self {
        Self(attempts)
    }
}

impl ReconnectionPolicy for MaxAttempts {
    fn rule(&self, situation: &Situation<'_>) -> Ruling {
        if situation.attempt > self.0 { Ruling::Stop(StopReason::AttemptsExhausted) } else { Ruling::Allow }
    }
}

/// Stops when one outage lasts too long, counted from its first failure; never from when something was
/// built. A local cause starts the count again.
#[derive(Clone, Copy, Debug)]
pub struct MaxElapsed(Duration);

impl MaxElapsed {
    /// No attempt is begun later than so long after the first failure.
    pub const fn new(elapsed: Duration) -> Self {
        Self(elapsed)
    }
}

impl ReconnectionPolicy for MaxElapsed {
    fn rule(&self, situation: &Situation<'_>) -> Ruling {
        if situation.outage > self.0 { Ruling::Stop(StopReason::TimeExhausted) } else { Ruling::Allow }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RetryBudget;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[expect(clippy::disallowed_methods, reason = "any instant will do as the start of a virtual clock")]
    fn t0() -> Instant {
        Instant::now()
    }

    fn situation(network: &NetworkStatus) -> Situation<'_> {
        Situation {
            now: t0(),
            moment: Moment::Firing,
            cause: Cause::ConnectionLost,
            attempt: 1,
            outage: S(1),
            since_last_attempt: None,
            wanted: true,
            network,
            lifecycle: Lifecycle::Unknown,
        }
    }

    /// A policy of one word.
    struct Says(Ruling);

    impl ReconnectionPolicy for Says {
        fn rule(&self, _: &Situation<'_>) -> Ruling {
            self.0
        }
    }

    fn _object_safe(_: &dyn ReconnectionPolicy) {}

    #[test]
    fn rule_4_and_takes_the_stricter_ruling_and_or_the_more_lenient() {
        const ALLOW: Ruling = Ruling::Allow;
        const STOP: Ruling = Ruling::Stop(StopReason::AttemptsExhausted);
        let (one, two, change) = (Ruling::Wait(Some(S(1))), Ruling::Wait(Some(S(2))), Ruling::Wait(None));
        let unknown = NetworkStatus::unknown();
        for (a, b, and, or) in [
            (ALLOW, ALLOW, ALLOW, ALLOW),
            (ALLOW, one, one, ALLOW),
            (ALLOW, STOP, STOP, ALLOW),
            (one, two, two, one),
            (one, change, change, one),
            (change, STOP, STOP, change),
            (one, STOP, STOP, one),
            (change, change, change, change),
            (STOP, STOP, STOP, STOP),
        ] {
            for (a, b) in [(a, b), (b, a)] {
                assert_eq!(Says(a).and(Says(b)).rule(&situation(&unknown)), and, "{a:?} and {b:?}");
                assert_eq!(Says(a).or(Says(b)).rule(&situation(&unknown)), or, "{a:?} or {b:?}");
            }
        }
    }

    #[test]
    fn rule_5_unknown_network_allows_and_offline_polls_slowly() {
        let (unknown, offline) = (NetworkStatus::unknown(), NetworkStatus::offline());
        let policy = NetworkAvailable::new();
        assert_eq!(policy.rule(&situation(&unknown)), Ruling::Allow);
        assert_eq!(policy.rule(&situation(&offline)), Ruling::Wait(Some(S(29))));
        let mut later = situation(&offline);
        later.since_last_attempt = Some(S(30));
        assert_eq!(policy.rule(&later), Ruling::Allow, "offline is a hint, never a lock");
        let mut asked = situation(&offline);
        asked.cause = Cause::UserAsked;
        assert_eq!(policy.rule(&asked), Ruling::Allow);
    }

    #[test]
    fn rule_4_the_policies_of_the_start_are_the_users_wish_the_network_and_the_place() {
        let (unknown, offline) = (NetworkStatus::unknown(), NetworkStatus::offline());
        let options = RecoveryOptions::default();
        let usual = default_policy(&options);
        let longer = default_policy(&options.clone().offline_poll(S(31)));
        let everywhere = default_policy(&options.keep_alive_in_background(true));
        for network in [&unknown, &offline] {
            for lifecycle in [Lifecycle::Unknown, Lifecycle::Background] {
                for wanted in [true, false] {
                    let situation = Situation { wanted, lifecycle, ..situation(network) };
                    let ruling = |poll: u64| match (wanted, network.is_offline(), lifecycle) {
                        (false, ..) => Ruling::Stop(StopReason::UserDisconnected),
                        (true, _, Lifecycle::Background) => Ruling::Wait(None),
                        (true, true, _) => Ruling::Wait(Some(S(poll - 1))),
                        (true, false, _) => Ruling::Allow,
                    };
                    assert_eq!(usual.rule(&situation), ruling(30), "{situation:?}");
                    assert_eq!(longer.rule(&situation), ruling(31), "{situation:?}");
                    let in_front = Situation { lifecycle: Lifecycle::Unknown, ..situation };
                    let ruling = usual.rule(&in_front);
                    assert_eq!(everywhere.rule(&situation), ruling, "{situation:?}");
                }
            }
        }
    }

    #[test]
    fn rule_5_background_waits_and_unknown_lifecycle_allows() {
        let unknown = NetworkStatus::unknown();
        let policy = LifecycleAllowed::new();
        assert_eq!(policy.rule(&situation(&unknown)), Ruling::Allow);
        let mut behind = situation(&unknown);
        behind.lifecycle = Lifecycle::Background;
        assert_eq!(policy.rule(&behind), Ruling::Wait(None));
        behind.cause = Cause::UserAsked;
        assert_eq!(policy.rule(&behind), Ruling::Allow, "who asks for it, waits for it");
        behind.cause = Cause::ConnectionLost;
        behind.lifecycle = Lifecycle::Foreground;
        assert_eq!(policy.rule(&behind), Ruling::Allow);
    }

    #[test]
    fn limits_stop_by_name() {
        let unknown = NetworkStatus::unknown();
        let mut third = situation(&unknown);
        (third.attempt, third.outage) = (3, S(61));
        assert_eq!(MaxAttempts::new(3).rule(&third), Ruling::Allow);
        assert_eq!(MaxAttempts::new(2).rule(&third), Ruling::Stop(StopReason::AttemptsExhausted));
        assert_eq!(MaxElapsed::new(S(61)).rule(&third), Ruling::Allow);
        assert_eq!(MaxElapsed::new(S(60)).rule(&third), Ruling::Stop(StopReason::TimeExhausted));
        third.wanted = false;
        assert_eq!(UserWants::new().rule(&third), Ruling::Stop(StopReason::UserDisconnected));
    }

    #[test]
    fn rule_4_clones_of_a_budget_share_one_bucket() {
        let unknown = NetworkStatus::unknown();
        let budget = RetryBudget::new(2, S(10));
        let other = budget.clone();
        let mut asks = situation(&unknown);
        assert_eq!(budget.rule(&asks), Ruling::Allow);
        assert_eq!(other.rule(&asks), Ruling::Allow);
        assert_eq!(budget.rule(&asks), Ruling::Wait(Some(S(10))));
        asks.now += S(4);
        assert_eq!(other.rule(&asks), Ruling::Wait(Some(S(6))));
        asks.now += S(6);
        assert_eq!(other.rule(&asks), Ruling::Allow);
        assert_eq!(budget.rule(&asks), Ruling::Wait(Some(S(10))));
        asks.now += S(1000);
        assert_eq!(budget.rule(&asks), Ruling::Allow);
        assert_eq!(budget.rule(&asks), Ruling::Allow);
        assert_eq!(budget.rule(&asks), Ruling::Wait(Some(S(10))), "no more than the capacity is saved up");
    }

    #[test]
    fn rule_4_a_budget_that_is_not_empty_saves_up_no_more_than_its_capacity_either() {
        let unknown = NetworkStatus::unknown();
        let budget = RetryBudget::new(3, S(10));
        let mut asks = situation(&unknown);
        assert_eq!(budget.rule(&asks), Ruling::Allow);
        asks.now += S(40);
        for _ in 0..3 {
            assert_eq!(budget.rule(&asks), Ruling::Allow);
        }
        assert_eq!(budget.rule(&asks), Ruling::Wait(Some(S(10))));
    }

    #[test]
    fn planning_draws_no_token_and_neither_does_an_attempt_that_must_wait_anyway() {
        let offline = NetworkStatus::offline();
        let budget = RetryBudget::new(1, S(10));
        let mut asks = situation(&offline);
        asks.moment = Moment::Planning;
        assert_eq!(budget.rule(&asks), Ruling::Allow);
        asks.moment = Moment::Firing;
        assert!(matches!(NetworkAvailable::new().and(budget.clone()).rule(&asks), Ruling::Wait(_)));
        assert_eq!(budget.rule(&asks), Ruling::Allow, "the token is still there");
    }

    /// §4: the user asked, so it is at once; and a token is not drawn, as for their own `connect`.
    #[test]
    fn rule_4_what_the_user_asks_for_waits_for_no_token_and_draws_none() {
        let unknown = NetworkStatus::unknown();
        let budget = RetryBudget::new(1, S(10));
        let asks = situation(&unknown);
        let asked = Situation { cause: Cause::UserAsked, ..asks.clone() };
        assert_eq!(budget.rule(&asked), Ruling::Allow);
        assert_eq!(budget.rule(&asks), Ruling::Allow, "the token is still there");
        assert_eq!(budget.rule(&asks), Ruling::Wait(Some(S(10))));
        assert_eq!(budget.rule(&asked), Ruling::Allow);
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let field = |policy: &dyn ReconnectionPolicy| policy.validate().unwrap_err().field();
        assert_eq!(field(&NetworkAvailable::new().poll(Duration::ZERO)), "poll");
        assert_eq!(field(&UserWants::new().and(RetryBudget::new(0, S(1)))), "capacity");
        assert_eq!(field(&RetryBudget::new(1, Duration::ZERO).or(UserWants::new())), "refill");
        let boxed: Box<dyn ReconnectionPolicy> = Box::new(RetryBudget::new(0, S(1)));
        assert_eq!(field(&boxed), "capacity", "in a box too");
        assert_eq!(format!("{boxed:?}"), "ReconnectionPolicy");
        let sound = RetryBudget::new(1, S(1)).and(NetworkAvailable::new()).or(UserWants::new());
        assert_eq!(sound.validate(), Ok(()));
    }
}
