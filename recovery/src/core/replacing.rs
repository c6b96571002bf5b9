//! The core's third part: whether, when and why a connection that lives is replaced by one that is made beside it.

use std::time::{Duration, Instant, SystemTime};

use everwire_client::{DisconnectionSource, Replacement};

use super::{RecoveryCore, outage::Outage};
use crate::{Cause, Decision, Evidence, Moment, Notice, Output, Ruling, StopReason, Verdict};

/// What is known of replacements of the present connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Replacing {
    pub(super) phase: Phase,
    /// Its attempts and refusals, apart from those of an outage: the connection lives.
    outage: Outage,
    /// The generation of the last successor whose failure was judged.
    judged: u64,
    /// When a replacement was last asked for.
    asked_at: Option<Instant>,
    /// The server's announcement was heard.
    heard: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Phase {
    /// There is no reason for one.
    #[default]
    Idle,
    /// The client will be asked then.
    Planned { at: Instant, cause: Cause },
    /// The client was asked.
    Asked { cause: Cause },
    /// There will be no other for this connection, unless a local cause comes and it was a limit that stopped.
    GivenUp(StopReason),
}

impl Replacing {
    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Planned { at, .. } => Some(at),
            _ => None,
        }
    }

    pub(super) const fn attempts(&self) -> u32 {
        self.outage.attempts
    }

    pub(super) const fn is_asked(&self) -> bool {
        matches!(self.phase, Phase::Asked { .. })
    }

    /// All that decides what comes next, with instants as distances from `now`; the number of attempts is left out,
    /// as it is for an outage. The last is whether the failure of a generation is still to be judged.
    #[cfg(test)]
    pub(super) fn summary(
        &self,
        now: Instant,
        interval: Duration,
        failed: Option<u64>,
    ) -> impl Eq + std::hash::Hash + use<> {
        let phase = match self.phase {
            Phase::Idle => (0, None, None),
            Phase::Planned { at, cause } => (1, Some((at.saturating_duration_since(now), cause)), None),
            Phase::Asked { .. } => (2, None, None),
            Phase::GivenUp(reason) => (3, None, Some(reason)),
        };
        let asked = self.asked_at.map(|at| now.saturating_duration_since(at).min(interval));
        let judged = failed.is_none_or(|generation| generation <= self.judged);
        (phase, asked, self.heard, self.outage.refusals.min(1), judged)
    }

    /// Another connection, or none: only when the last one was asked for is remembered.
    pub(super) const fn begin_generation(&mut self, generation: u64) {
        let asked_at = self.asked_at;
        *self = Self {
            phase: Phase::Idle,
            outage: Outage { began: None, attempts: 0, refusals: 0 },
            judged: generation,
            asked_at,
            heard: false,
        };
    }
}

impl RecoveryCore {
    fn may_replace(&self) -> bool {
        self.options.make_before_break
            && self.client.can_replace
            && self.client.wanted
            && self.client.state.is_connected()
            && self.attempt.intent.is_none()
    }

    /// A reason for a replacement. Paths that flap and servers that announce again and again do not hurry it.
    pub(super) fn consider_replacing(&mut self, now: Instant, cause: Cause, delay: Duration) {
        if !self.may_replace() {
            return;
        }
        match self.replacing.phase {
            Phase::Idle => {}
            Phase::GivenUp(reason) if reason.is_limit() && cause.is_local() => {
                self.replacing.outage = Outage::default();
            }
            _ => return,
        }
        let earliest = self.replacing.asked_at.map_or(now, |at| at + self.options.replace_interval);
        let delay = delay.max(earliest.saturating_duration_since(now));
        self.plan_replacing(now, delay, cause);
    }

    fn plan_replacing(&mut self, now: Instant, delay: Duration, cause: Cause) {
        let situation = self.situation_of(&self.replacing.outage, now, cause, Moment::Planning);
        match self.policy.rule(&situation) {
            Ruling::Stop(reason) => self.give_up_replacing(reason),
            // What holds it, ends the reason for it: the connection lives on.
            Ruling::Wait(None) => self.replacing.phase = Phase::Idle,
            Ruling::Wait(Some(wait)) => self.wait_replacing(now, delay.max(wait), cause),
            Ruling::Allow if delay.is_zero() => self.fire_replacing(now, cause),
            Ruling::Allow => self.wait_replacing(now, delay, cause),
        }
    }

    fn wait_replacing(&mut self, now: Instant, delay: Duration, cause: Cause) {
        self.replacing.phase = Phase::Planned { at: now + delay, cause };
        let attempt = self.replacing.outage.attempts + 1;
        self.decided(Decision::ReplaceAfter { delay, cause, attempt });
    }

    fn give_up_replacing(&mut self, reason: StopReason) {
        self.replacing.phase = Phase::GivenUp(reason);
        self.outputs.push_back(Output::Notice(Notice::ReplacementGivenUp(reason)));
    }

    pub(super) fn handle_replacing_timeout(&mut self, now: Instant) {
        if let Phase::Planned { at, cause } = self.replacing.phase
            && at <= now
        {
            self.fire_replacing(now, cause);
        }
    }

    fn fire_replacing(&mut self, now: Instant, cause: Cause) {
        if !self.may_replace() {
            self.replacing.phase = Phase::Idle;
            return;
        }
        let situation = self.situation_of(&self.replacing.outage, now, cause, Moment::Firing);
        match self.policy.rule(&situation) {
            Ruling::Allow => {
                self.replacing.outage.attempts += 1;
                self.replacing.asked_at = Some(now);
                self.replacing.phase = Phase::Asked { cause };
                self.decided(Decision::Replace { cause, attempt: self.replacing.outage.attempts });
            }
            Ruling::Wait(Some(wait)) => self.wait_replacing(now, wait.max(super::SOON), cause),
            Ruling::Wait(None) => self.replacing.phase = Phase::Idle,
            Ruling::Stop(reason) => self.give_up_replacing(reason),
        }
    }

    /// The preferred path is the connection's own again.
    pub(super) fn path_is_back(&mut self) {
        if matches!(self.replacing.phase, Phase::Planned { cause: Cause::PathChanged, .. }) {
            self.replacing.phase = Phase::Idle;
        }
    }

    /// What a snapshot of a live connection tells.
    pub(super) fn note_replacement(&mut self, now: Instant, wall: SystemTime) {
        match self.client.replacement.clone() {
            Replacement::UnderWay { .. } if !self.replacing.is_asked() => {
                // Not our doing: the application asked for it.
                self.replacing.phase = Phase::Asked { cause: Cause::UserAsked };
            }
            Replacement::Failed { generation, source } if generation > self.replacing.judged => {
                self.replacing.judged = generation;
                self.judge_replacement(now, &source, wall);
            }
            _ => {}
        }
        if let Some(notice) = self.client.going_away
            && !std::mem::replace(&mut self.replacing.heard, true)
        {
            // All its clients were told at the same moment, so they are spread. Half of the time is left for the
            // dial and for what the server still has to say.
            let window = if notice.is_zero() {
                self.options.first_delay
            } else {
                (notice / 2).min(*self.options.restart_delay.end())
            };
            let delay = self.ladder.spread(window);
            self.consider_replacing(now, Cause::ServerLeaving, delay);
        }
    }

    /// The table, the ladder and the policies are those of an outage.
    fn judge_replacement(&mut self, now: Instant, source: &DisconnectionSource, wall: SystemTime) {
        self.replacing.phase = Phase::Idle;
        if !self.may_replace()
            || matches!(source, DisconnectionSource::UserInitiated | DisconnectionSource::SystemInitiated)
        {
            return;
        }
        let refusals = self.replacing.outage.refusals;
        self.replacing.outage.began.get_or_insert(now);
        let evidence = Evidence { source, refusals, ever_connected: true, wall };
        let (cause, not_before) = match self.decide.decide(&evidence) {
            Verdict::Stop(reason) => return self.give_up_replacing(reason),
            Verdict::RenewCredentials => {
                self.replacing.outage.refusals += 1;
                (Cause::CredentialsRefused, None)
            }
            Verdict::Retry { cause, not_before } => (cause, not_before),
        };
        let at_once = cause == Cause::CredentialsRefused && refusals == 0;
        let delay = self.ladder.next(now, cause, not_before, false, at_once, &self.options);
        self.plan_replacing(now, delay, cause);
    }
}
