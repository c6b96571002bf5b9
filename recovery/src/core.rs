//! The pure core: what happened goes in, decisions come out.

mod ending;
mod hints;
mod outage;
mod replacing;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use everwire_client::{ConnectionState, Snapshot};
use everwire_netmon::{Lifecycle, NetworkStatus};
use outage::Outage;
use replacing::{Phase, Replacing};

use crate::{
    Cause, Decide, Decision, Input, Moment, Output, ReconnectionPolicy, RecoveryOptions, RecoveryStatus,
    RetryStrategy, Rng, Ruling, Situation, StopReason, ladder::Ladder,
};

/// The state machine of [`ConnectionRecoveryHandler`](crate::ConnectionRecoveryHandler): pure, so that a
/// simulation of a million clients and a test without a runtime run the very code that a real client runs.
///
/// # Contract
/// - Tell it what happened with [`handle`](Self::handle), in the order in which it happened.
/// - After each `handle`, drain [`poll_output`](Self::poll_output) until `None` and carry the decisions out,
///   before the next `handle`.
/// - Then wait until [`poll_timeout`](Self::poll_timeout), or for something to happen. Late is fine.
///
/// # Promises
/// - One retry slot: at most one attempt is planned, whatever happens.
/// - The user wins: once `wanted` is false, nothing but the one [`Decision::Stop`] comes out.
/// - [`Decision::Connect`] comes only while the client is disconnected, [`Decision::Replace`] only while it is connected
///   and says that it can; one at a time.
/// - Every end of an attempt is judged once, by its generation; a stop always comes as a decision.
///
/// ```
/// use everwire_client::{ConnectionState, DisconnectionSource, Snapshot};
/// use everwire_recovery::{Decision, Input, Output, RecoveryCore, Rng};
/// use std::time::{Duration, Instant, SystemTime};
///
/// let mut core = RecoveryCore::new(Rng::seeded(7));
/// let t0 = Instant::now();
/// let lost = ConnectionState::Disconnected(DisconnectionSource::NoPongReceived);
/// core.handle(t0, Input::Snapshot { snapshot: Snapshot::new(lost, 1, true), wall: SystemTime::now() });
///
/// let Some(Output::Decision(Decision::ConnectAfter { delay, .. })) = core.poll_output() else { panic!() };
/// assert!(delay <= Duration::from_secs(2));
/// core.handle(t0 + delay, Input::Timeout);
/// assert!(matches!(core.poll_output(), Some(Output::Decision(Decision::Connect { attempt: 1, .. }))));
/// ```
pub struct RecoveryCore {
    options: Arc<RecoveryOptions>,
    decide: Box<dyn Decide>,
    policy: Box<dyn ReconnectionPolicy>,
    ladder: Ladder,

    client: Snapshot,
    network: NetworkStatus,
    lifecycle: Lifecycle,

    slot: Slot,
    outage: Outage,
    attempt: Attempt,
    replacing: Replacing,
    /// Whether the client was ever connected.
    ever_connected: bool,
    /// When the client is to be disconnected, since the application is in the background.
    background_at: Option<Instant>,
    suggested: bool,
    viable: bool,
    outputs: VecDeque<Output>,
}

/// A policy that never lets go but always says "soon" shall not spin.
const SOON: Duration = Duration::from_millis(100);

/// The one place of the next attempt.
#[derive(Clone, Copy, Debug)]
enum Slot {
    /// There is nothing to do.
    Idle,
    /// An attempt is planned; without a time it is held until something changes.
    Waiting { at: Option<Instant>, cause: Cause, told: Option<Instant> },
    /// The client was asked, and has not begun yet.
    Asked,
    /// Recovery has stopped.
    Stopped { reason: StopReason, elapsed: Duration },
}

/// The attempt or the connection of the current generation.
#[derive(Clone, Copy, Debug, Default)]
struct Attempt {
    generation: u64,
    began: Option<Instant>,
    /// The server accepted it.
    opened: bool,
    connected: Option<Instant>,
    stable: bool,
    /// Its end was judged.
    judged: bool,
    /// We asked to disconnect it, for this cause.
    intent: Option<Cause>,
    /// A local cause for which its death, until then, would be no fault of the server. Without a time: for which its
    /// failure would be none, however long it hangs before it fails.
    suspicion: Option<(Cause, Option<Instant>)>,
    probed: Option<Instant>,
}

impl RecoveryCore {
    /// A core with all defaults.
    pub fn new(rng: Rng) -> Self {
        let options = RecoveryOptions::usual();
        let policy = crate::default_policy(&options);
        Self::with(options, Box::new(crate::decision::Usual), Box::new(crate::strategy::Usual), policy, rng)
    }

    /// A core of its parts. The parts are not validated here; the builder of the handler does so. Options that many cores
    /// have in common are best given as one [`Arc`].
    pub fn with(
        options: impl Into<Arc<RecoveryOptions>>,
        decide: Box<dyn Decide>,
        strategy: Box<dyn RetryStrategy>,
        policy: Box<dyn ReconnectionPolicy>,
        rng: Rng,
    ) -> Self {
        Self {
            options: options.into(),
            decide,
            policy,
            ladder: Ladder::new(strategy, rng),
            client: Snapshot::initialized(),
            network: NetworkStatus::unknown(),
            lifecycle: Lifecycle::Unknown,
            slot: Slot::Idle,
            outage: Outage::default(),
            attempt: Attempt::default(),
            replacing: Replacing::default(),
            ever_connected: false,
            background_at: None,
            suggested: false,
            viable: true,
            outputs: VecDeque::new(),
        }
    }

    /// Something happened.
    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Snapshot { snapshot, wall } => self.handle_snapshot(now, snapshot, wall),
            Input::Network(status) => self.handle_network(now, status),
            Input::Lifecycle(lifecycle) => self.handle_lifecycle(now, lifecycle),
            Input::RetryNow => self.handle_retry_now(now),
            Input::ClientGone => {
                self.background_at = None;
                self.client.wanted = false;
                self.stop(now, StopReason::ClientGone);
            }
            Input::Timeout => self.handle_timeout(now),
        }
    }

    /// What follows; drain until `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if output.is_none() {
            // Hours may pass until the next one.
            self.outputs = VecDeque::new();
        }
        output
    }

    /// When to call [`handle`](Self::handle) with [`Input::Timeout`], if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let retry = match self.slot {
            Slot::Waiting { at, .. } => at,
            _ => None,
        };
        [retry, self.stable_at(), self.background_at, self.replacing.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    /// What recovery is doing.
    pub fn status(&self) -> RecoveryStatus {
        match self.slot {
            Slot::Idle => match self.replacing.phase {
                Phase::Idle | Phase::GivenUp(_) => RecoveryStatus::Idle,
                Phase::Planned { at, cause } => {
                    let attempt = self.replacing.attempts() + 1;
                    RecoveryStatus::Replacing { until: Some(at), cause, attempt }
                }
                Phase::Asked { cause } => {
                    RecoveryStatus::Replacing { until: None, cause, attempt: self.replacing.attempts() }
                }
            },
            Slot::Waiting { at, cause, .. } => {
                RecoveryStatus::Waiting { until: at, cause, attempt: self.outage.attempts + 1 }
            }
            Slot::Asked => RecoveryStatus::Connecting { attempt: self.outage.attempts },
            Slot::Stopped { reason, elapsed } => {
                RecoveryStatus::Stopped { reason, attempts: self.outage.attempts, elapsed }
            }
        }
    }

    fn stable_at(&self) -> Option<Instant> {
        match self.attempt {
            Attempt { connected: Some(at), stable: false, .. } => Some(at + self.options.stable_after),
            _ => None,
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.stable_at().is_some_and(|at| at <= now) {
            self.note_stable();
        }
        if self.background_at.is_some_and(|at| at <= now) {
            self.background_at = None;
            self.disconnect(Cause::Background);
        }
        self.handle_replacing_timeout(now);
        if let Slot::Waiting { at: Some(at), cause, told } = self.slot
            && at <= now
        {
            self.fire(now, cause, told);
        }
    }

    fn plan(&mut self, now: Instant, cause: Cause, not_before: Option<Duration>) {
        if cause.is_local() {
            self.outage.rearm(now);
        }
        let dropped = self.attempt.opened && !self.attempt.stable;
        let at_once = cause == Cause::CredentialsRefused && self.outage.refusals == 1;
        let delay = self.ladder.next(now, cause, not_before, dropped, at_once, &self.options);
        let told = match cause {
            Cause::ServerOverloaded => Some(now + *self.options.overload_delay.start()),
            _ => not_before.map(|told| now + told),
        };
        match self.policy.rule(&self.situation(now, cause, Moment::Planning)) {
            Ruling::Stop(reason) => self.stop(now, reason),
            Ruling::Wait(None) => self.hold(cause, told),
            Ruling::Wait(Some(wait)) => self.wait(now, delay.max(wait), cause, told),
            Ruling::Allow if delay.is_zero() => self.fire(now, cause, told),
            Ruling::Allow => self.wait(now, delay, cause, told),
        }
    }

    /// The timer has fired, or no timer was needed.
    fn fire(&mut self, now: Instant, cause: Cause, told: Option<Instant>) {
        if !matches!(self.client.state, ConnectionState::Disconnected(_)) || !self.client.wanted {
            self.slot = Slot::Idle;
            return;
        }
        match self.policy.rule(&self.situation(now, cause, Moment::Firing)) {
            Ruling::Allow => {
                self.outage.attempts += 1;
                self.slot = Slot::Asked;
                self.decided(Decision::Connect { cause, attempt: self.outage.attempts });
            }
            Ruling::Wait(Some(wait)) => self.wait(now, wait.max(SOON), cause, told),
            Ruling::Wait(None) => self.hold(cause, told),
            Ruling::Stop(reason) => self.stop(now, reason),
        }
    }

    fn wait(&mut self, now: Instant, delay: Duration, cause: Cause, told: Option<Instant>) {
        self.slot = Slot::Waiting { at: Some(now + delay), cause, told };
        self.decided(Decision::ConnectAfter { delay, cause, attempt: self.outage.attempts + 1 });
    }

    fn hold(&mut self, cause: Cause, told: Option<Instant>) {
        self.slot = Slot::Waiting { at: None, cause, told };
        self.decided(Decision::Hold { cause });
    }

    fn stop(&mut self, now: Instant, reason: StopReason) {
        let elapsed = self.outage.elapsed(now);
        self.slot = Slot::Stopped { reason, elapsed };
        self.decided(Decision::Stop { reason, attempts: self.outage.attempts, elapsed });
    }

    fn situation(&self, now: Instant, cause: Cause, moment: Moment) -> Situation<'_> {
        self.situation_of(&self.outage, now, cause, moment)
    }

    fn situation_of(&self, outage: &Outage, now: Instant, cause: Cause, moment: Moment) -> Situation<'_> {
        Situation {
            now,
            moment,
            cause,
            attempt: outage.attempts + 1,
            outage: outage.elapsed(now),
            since_last_attempt: self.attempt.began.map(|began| now.duration_since(began)),
            wanted: self.client.wanted,
            network: &self.network,
            lifecycle: self.lifecycle,
        }
    }

    fn decided(&mut self, decision: Decision) {
        self.outputs.push_back(Output::Decision(decision));
    }
}

impl fmt::Debug for RecoveryCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecoveryCore")
            .field("client", &self.client)
            .field("network", &self.network)
            .field("lifecycle", &self.lifecycle)
            .field("slot", &self.slot)
            .field("outage", &self.outage)
            .field("attempt", &self.attempt)
            .field("ladder", &self.ladder)
            .finish_non_exhaustive()
    }
}
