//! The core's second part: what hints about network, sleep, lifecycle and the user's haste lead to.

use std::time::Instant;

use everwire_client::ConnectionState;
use everwire_netmon::{Hint, Lifecycle, NetworkStatus};

use super::{RecoveryCore, Slot};
use crate::{
    Cause, Decision, Notice, Output,
    path::{self, PathVerdict},
};

impl RecoveryCore {
    pub(super) fn handle_network(&mut self, now: Instant, status: NetworkStatus) {
        let old = std::mem::replace(&mut self.network, status);
        match self.network.hint {
            Hint::WokeUp { asleep } => self.woke_up(now, asleep > self.options.idle_limit),
            // The system kept the connection meanwhile: what the peer said of it waits to be read, and is not thrown
            // away unread.
            Hint::Continued { .. } => self.woke_up(now, false),
            Hint::ClockStepped => self.probe(now, Cause::Doubt),
            hint => {
                self.path_hint(now, &old, hint != Hint::Started);
            }
        }
        self.update_viability();
    }

    fn path_hint(&mut self, now: Instant, old: &NetworkStatus, news: bool) {
        let came_up = old.is_offline() && !self.network.is_offline();
        let moved = old.local_addr.is_some()
            && self.network.local_addr.is_some()
            && old.local_addr != self.network.local_addr;
        let local = if came_up { Cause::NetworkUp } else { Cause::PathChanged };
        if came_up || moved {
            // A hint that changed nothing (a bridge that came up somewhere) makes nobody dial sooner.
            self.nudge(now, local);
        }
        if self.client.state.is_connecting() && (came_up || moved) {
            // The attempt may be on the old path. It fails by itself if so, and then it was not the server.
            self.suspect(now, local);
        }
        let verdict = self.compare_path(now);
        match verdict {
            Some(PathVerdict::Moved | PathVerdict::Same) if news => self.probe(now, local),
            // Nothing says it is dead, and much says it may be: only the peer knows. If it does not answer, the path is why.
            Some(PathVerdict::Unreachable) if !old.is_offline() => self.probe(now, Cause::PathChanged),
            _ => {}
        }
    }

    /// Compares the live connection with the path of the moment, and disconnects what is certainly dead.
    fn compare_path(&mut self, now: Instant) -> Option<PathVerdict> {
        if !self.is_open() {
            return None;
        }
        let verdict = path::compare(self.client.local_addr.map(|addr| addr.ip()), &self.network);
        match verdict {
            PathVerdict::Gone => {
                self.suspect(now, Cause::PathChanged);
                self.disconnect(Cause::PathChanged);
            }
            PathVerdict::Moved => {
                self.suggest(true);
                self.consider_replacing(now, Cause::PathChanged, self.options.coalesce);
            }
            PathVerdict::Same => {
                self.suggest(false);
                self.path_is_back();
            }
            PathVerdict::Unreachable => {}
        }
        Some(verdict)
    }

    fn woke_up(&mut self, now: Instant, too_long: bool) {
        self.nudge(now, Cause::WokeUp);
        self.suspect(now, Cause::WokeUp);
        if self.compare_path(now) == Some(PathVerdict::Gone) {
            return;
        }
        if too_long {
            self.disconnect(Cause::WokeUp);
        } else {
            self.probe(now, Cause::WokeUp);
        }
    }

    pub(super) fn handle_lifecycle(&mut self, now: Instant, lifecycle: Lifecycle) {
        let old = std::mem::replace(&mut self.lifecycle, lifecycle);
        if lifecycle == Lifecycle::Background {
            if old != Lifecycle::Background {
                self.arm_background(now);
            }
        } else if old == Lifecycle::Background {
            self.background_at = None;
            self.nudge(now, Cause::Foreground);
            self.probe(now, Cause::Foreground);
        }
    }

    pub(super) fn arm_background(&mut self, now: Instant) {
        if self.lifecycle == Lifecycle::Background
            && !self.options.keep_alive_in_background
            && self.client.wanted
        {
            self.background_at = Some(now + self.options.background_grace);
        }
    }

    /// The user asks: the ladder, the limits, the refusals and even a `Retry-After` give way.
    pub(super) fn handle_retry_now(&mut self, now: Instant) {
        if matches!(self.slot, Slot::Waiting { .. } | Slot::Stopped { .. }) && self.is_retriable() {
            self.outage.rearm(now);
            self.outage.refusals = 0;
            self.ladder.start_fast(&self.options);
            self.fire(now, Cause::UserAsked, None);
        }
    }

    /// A local cause while an attempt is due: the ladder starts again, and the attempt is made soon. Signals
    /// that come together become one attempt.
    fn nudge(&mut self, now: Instant, cause: Cause) {
        let (at, told, was_local) = match self.slot {
            Slot::Waiting { at, cause, told } => (at, told, cause.is_local()),
            Slot::Stopped { reason, .. } if reason.is_limit() => (None, None, false),
            _ => return,
        };
        if !self.is_retriable() {
            return;
        }
        // A server that said when to come back is not asked sooner: our network is no news to it.
        let soon = (now + self.options.coalesce).max(told.unwrap_or(now));
        let due = at.map_or(soon, |at| at.min(soon));
        if was_local && at.is_some_and(|at| at <= soon) {
            return;
        }
        self.outage.rearm(now);
        self.ladder.start_fast(&self.options);
        self.wait(now, due.saturating_duration_since(now), cause, told);
    }

    /// Asks the peer for a sign of life, unless it is being asked already.
    pub(super) fn probe(&mut self, now: Instant, cause: Cause) {
        if !self.client.state.is_connected() || self.attempt.intent.is_some() {
            return;
        }
        if cause != Cause::Doubt {
            self.suspect(now, cause);
        }
        let deadline = self.options.probe_deadline;
        if self.attempt.probed.is_some_and(|at| now.duration_since(at) < deadline) {
            return;
        }
        self.attempt.probed = Some(now);
        self.decided(Decision::Probe { deadline, cause });
    }

    fn suspect(&mut self, now: Instant, cause: Cause) {
        // An attempt is ended by its own deadlines, which may be longer than any probe's.
        let until = (!self.client.state.is_connecting()).then(|| now + self.options.probe_deadline * 2);
        self.attempt.suspicion = Some((cause, until));
    }

    /// Asks to disconnect what is under way, once.
    pub(super) fn disconnect(&mut self, cause: Cause) {
        let under_way = self.client.state.is_connecting() || self.client.state.is_connected();
        if self.client.wanted && under_way && self.attempt.intent.is_none() {
            self.attempt.intent = Some(cause);
            self.decided(Decision::Disconnect { generation: self.client.generation, cause });
        }
    }

    pub(super) fn suggest(&mut self, suggested: bool) {
        if self.suggested != suggested {
            self.suggested = suggested;
            self.outputs.push_back(Output::Notice(Notice::ReconnectSuggested(suggested)));
        }
    }

    fn update_viability(&mut self) {
        if !self.client.state.is_connected() || !self.client.wanted {
            return;
        }
        let local = self.client.local_addr.map(|addr| addr.ip());
        let verdict = path::compare(local, &self.network);
        let viable = !matches!(verdict, PathVerdict::Gone | PathVerdict::Unreachable);
        self.set_viable(viable);
    }

    pub(super) fn set_viable(&mut self, viable: bool) {
        if self.viable != viable {
            self.viable = viable;
            self.outputs.push_back(Output::Notice(Notice::ViabilityChanged(viable)));
        }
    }

    fn is_open(&self) -> bool {
        self.client.wanted
            && matches!(self.client.state, ConnectionState::Authenticating | ConnectionState::Connected(_))
    }

    fn is_retriable(&self) -> bool {
        self.client.wanted && matches!(self.client.state, ConnectionState::Disconnected(_))
    }
}
