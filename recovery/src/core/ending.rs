//! The core's first part: what the client's snapshots tell, and what the end of an attempt leads to.

use std::time::{Instant, SystemTime};

use everwire_client::{AttemptStage, ConnectionState, DisconnectionSource, Replacement, Snapshot, Stage};
use everwire_netmon::Lifecycle;

use super::{Attempt, RecoveryCore, Slot, outage::Outage, replacing::Phase};
use crate::{Cause, Evidence, StopReason, Verdict};

impl RecoveryCore {
    pub(super) fn handle_snapshot(&mut self, now: Instant, snapshot: Snapshot, wall: SystemTime) {
        let wanted_before = std::mem::replace(&mut self.client, snapshot).wanted;
        // It may have come and gone between two looks.
        self.ever_connected |= self.client.ever_connected;
        if self.client.generation != self.attempt.generation {
            self.begin_generation(now);
        }
        if !self.client.wanted {
            // Whatever ends from now on ends as the user wants it; nothing is judged any more.
            self.attempt.judged = true;
            self.attempt.connected = None;
            self.background_at = None;
            self.replacing.phase = Phase::Idle;
            if wanted_before {
                self.stop(now, StopReason::UserDisconnected);
            }
            return;
        }
        if !wanted_before {
            self.slot = Slot::Idle;
            self.arm_background(now);
        }
        match &self.client.state {
            ConnectionState::Initialized | ConnectionState::Connecting => {}
            ConnectionState::Authenticating => self.note_opened(now),
            ConnectionState::Connected(_) => {
                self.note_connected(now);
                self.note_replacement(now, wall);
            }
            ConnectionState::Disconnecting(_) => self.note_closing(now),
            ConnectionState::Disconnected(_) => {
                self.note_closing(now);
                self.replacing.phase = Phase::Idle;
                self.judge(now, wall);
            }
        }
    }

    fn begin_generation(&mut self, now: Instant) {
        if self.replacing.is_asked() {
            // The successor has taken its place, or is what is left of both: a connection that lives proves nothing
            // yet, and what was counted goes on.
            if !self.client.state.is_connected() {
                self.outage.began.get_or_insert(now);
            }
        } else if !matches!(self.slot, Slot::Asked) {
            // Not our doing: the user connected by hand, which is as fresh a start as any local cause.
            self.forget_outage();
        }
        self.slot = Slot::Idle;
        self.replacing.begin_generation(self.client.generation);
        self.attempt = Attempt { generation: self.client.generation, began: Some(now), ..Attempt::default() };
        self.suggest(false);
    }

    fn note_opened(&mut self, now: Instant) {
        if !self.attempt.opened {
            self.attempt.opened = true;
            self.ladder.note_opened(now, &self.options);
        }
    }

    fn note_connected(&mut self, now: Instant) {
        self.note_opened(now);
        if self.attempt.connected.is_none() {
            self.attempt.connected = Some(now);
            self.ever_connected = true;
            // What the monitor said last may be older than this connection, which works: nothing is compared
            // until it speaks again. Only a path that changed while we dialled leaves a doubt.
            self.set_viable(true);
            if let Some((cause, _)) = self.attempt.suspicion {
                self.probe(now, cause);
            }
        }
    }

    fn note_closing(&mut self, now: Instant) {
        // The close handshake may take long; it proves nothing about the connection.
        if self.attempt.connected.is_some_and(|at| now.duration_since(at) >= self.options.stable_after) {
            self.note_stable();
        }
        self.attempt.connected = None;
    }

    pub(super) fn note_stable(&mut self) {
        if !self.attempt.stable {
            self.attempt.stable = true;
            self.forget_outage();
        }
    }

    fn forget_outage(&mut self) {
        self.outage = Outage::default();
        self.ladder.reset();
    }

    /// The end of an attempt or of a connection: decided once for each generation.
    fn judge(&mut self, now: Instant, wall: SystemTime) {
        let ConnectionState::Disconnected(source) = &self.client.state else { return };
        // A user who disconnected and wants again at once: their own attempt is about to begin.
        let superseded = matches!(source, DisconnectionSource::UserInitiated);
        if std::mem::replace(&mut self.attempt.judged, true) || superseded {
            return;
        }
        if !self.attempt.opened && was_opened(source) {
            self.attempt.opened = true;
            self.ladder.note_opened(now, &self.options);
        }
        self.outage.began.get_or_insert(now);
        if let Replacement::UnderWay { .. } = self.client.replacement {
            // It is the attempt that follows, and begins at once.
            self.outage.attempts += 1;
            self.slot = Slot::Asked;
            return;
        }
        let evidence =
            Evidence { source, refusals: self.outage.refusals, ever_connected: self.ever_connected, wall };
        match self.decide.decide(&evidence) {
            Verdict::Stop(reason) => self.stop(now, reason),
            Verdict::RenewCredentials => {
                self.outage.refusals += 1;
                self.plan(now, Cause::CredentialsRefused, None);
            }
            Verdict::Retry { cause, not_before } => {
                let cause = self.local_cause(now, cause);
                self.plan(now, cause, not_before);
            }
        }
    }

    /// A death that a local event explains is no fault of the server.
    fn local_cause(&self, now: Instant, cause: Cause) -> Cause {
        match cause {
            Cause::SystemInitiated => match self.attempt.intent {
                Some(Cause::Background) if self.lifecycle != Lifecycle::Background => Cause::Foreground,
                intent => intent.unwrap_or(cause),
            },
            Cause::NoPongReceived | Cause::ConnectionLost | Cause::DialFailed | Cause::ConnectTimeout => {
                match self.attempt.suspicion {
                    Some((local, until)) if until.is_none_or(|until| now <= until) => local,
                    _ => cause,
                }
            }
            _ => cause,
        }
    }
}

/// Whether the server had accepted the connection, for clients whose snapshots skipped that state.
fn was_opened(source: &DisconnectionSource) -> bool {
    match source {
        DisconnectionSource::NoPongReceived => true,
        DisconnectionSource::ConnectTimeout { stage } => {
            matches!(stage, AttemptStage::Authentication | AttemptStage::HealthCheck)
        }
        DisconnectionSource::ServerInitiated(reason) => {
            reason.close.is_some()
                || match &reason.engine_error {
                    Some(error) => error.stage() == Stage::Open,
                    None => reason.api_error.is_some(),
                }
        }
        _ => false,
    }
}
