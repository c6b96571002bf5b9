//! Make before break: a successor is dialled and authenticated beside a connection that lives, then takes its place.
//!
//! ```text
//! Dialling ─open─> Authenticating ─health check─> Flushing ─flushed─> Draining ─the old one ends─> Connected
//! ```
//!
//! Until `Flushing` the old connection works as ever; if it ends, the successor is the attempt under way. From
//! `Flushing` on there is no way back but the user's or the system's disconnect: the old connection gets no more
//! messages, then its close frame, and is read until the peer's answer. That answer says that the peer has read
//! all that it was sent (RFC 6455 §5.5.1), which is why nothing is sent on the successor before it.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use super::{Closing, Input, Lifecycle, Output, ending::source_of_dial};
use crate::{
    ApiError, AttemptStage, ConnectionState, DisconnectionSource, HealthCheckInfo, Replacement, ServerReason,
};

/// The newer connection in the making.
#[derive(Clone, Debug)]
pub(super) struct Successor {
    pub(super) generation: u64,
    pub(super) phase: Phase,
    /// What it waits for while it dials or authenticates.
    stage: AttemptStage,
    /// The server announced an error on it; what it has sent already is read before it is given up.
    announced: Option<ApiError>,
    addresses: (Option<SocketAddr>, Option<SocketAddr>),
}

/// How far the hand-over is.
#[derive(Clone, Debug)]
pub(super) enum Phase {
    Dialling {
        until: Instant,
    },
    Authenticating {
        until: Instant,
    },
    /// The successor is ready. What the old connection was given is flushed, until then; the whole hand-over ends
    /// by `end`.
    Flushing {
        until: Instant,
        end: Instant,
        info: HealthCheckInfo,
    },
    /// The old connection's close frame is out; it is read to its end, until then.
    Draining {
        until: Instant,
        info: HealthCheckInfo,
    },
}

impl Successor {
    pub(super) const fn until(&self) -> Instant {
        match self.phase {
            Phase::Dialling { until }
            | Phase::Authenticating { until }
            | Phase::Flushing { until, .. }
            | Phase::Draining { until, .. } => until,
        }
    }

    /// All that decides what comes next.
    #[cfg(feature = "model")]
    pub(super) fn summary(&self) -> (u8, Instant, Option<i64>, AttemptStage) {
        let phase = match self.phase {
            Phase::Dialling { .. } => 0,
            Phase::Authenticating { .. } => 1,
            Phase::Flushing { .. } => 2,
            Phase::Draining { .. } => 3,
        };
        (phase, self.until(), self.announced.as_ref().map(|error| error.code), self.stage)
    }

    const fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Flushing { .. } | Phase::Draining { .. })
    }
}

impl Lifecycle {
    /// What is known of the latest try to replace the connection.
    pub(super) fn replacement(&self) -> Replacement {
        match (&self.successor, &self.failed) {
            (Some(successor), _) => Replacement::UnderWay { generation: successor.generation },
            (None, Some((generation, source))) => {
                Replacement::Failed { generation: *generation, source: Arc::clone(source) }
            }
            (None, None) => Replacement::None,
        }
    }

    /// Whether the error that the server announced on the successor waits for [`Input::Drained`].
    pub(crate) fn successor_awaits_drain(&self) -> bool {
        self.successor.as_ref().is_some_and(|successor| successor.announced.is_some())
    }

    /// Whether the successor still dials or authenticates: then it is read.
    pub(crate) fn successor_is_made(&self) -> bool {
        self.successor.as_ref().is_some_and(|successor| !successor.is_ready())
    }

    /// Whether the connection is read to its end, since its successor is ready.
    pub(crate) fn drains_replaced(&self) -> bool {
        matches!(self.successor.as_deref(), Some(Successor { phase: Phase::Draining { .. }, .. }))
    }

    /// Whether [`Input::Flushed`] is awaited.
    pub(crate) fn awaits_flush(&self) -> bool {
        matches!(self.successor.as_deref(), Some(Successor { phase: Phase::Flushing { .. }, .. }))
            || matches!(self.closing, Some(Closing::Flushing { .. }))
    }

    pub(super) fn open_successor(&mut self, now: Instant) {
        self.latest += 1;
        let generation = self.latest;
        self.failed = None;
        self.successor = Some(Box::new(Successor {
            generation,
            phase: Phase::Dialling { until: now + self.limits.connect },
            stage: AttemptStage::Dial,
            announced: None,
            addresses: (None, None),
        }));
        tracing::debug!(generation = self.generation, successor = generation, "a successor is dialled");
        self.outputs.push_back(Output::Noted(self.snapshot()));
        self.outputs.push_back(Output::OpenSuccessor { generation });
    }

    /// Takes an input about the successor.
    pub(super) fn handle_successor(&mut self, now: Instant, input: Input) {
        use Phase as P;

        let authenticate = now + self.limits.authenticate;
        let needs_health_check = self.needs_health_check;
        let Some(successor) = &mut self.successor else { return };
        let doomed = successor.announced.is_some();
        match (&successor.phase, input) {
            // The connection works: it makes no room for one that is about to be closed.
            (P::Authenticating { .. }, Input::Established { .. } | Input::HealthCheck { .. }) if doomed => {}
            (P::Dialling { .. }, Input::Reached { stage, .. }) => successor.stage = stage,
            (P::Dialling { .. }, Input::Opened { local_addr, peer_addr, .. }) => {
                successor.addresses = (local_addr, peer_addr);
                successor.phase = P::Authenticating { until: authenticate };
                successor.stage = AttemptStage::Authentication;
                self.outputs.push_back(Output::EstablishSuccessor);
            }
            (P::Dialling { .. }, Input::OpenFailed { error, .. }) => {
                self.fail_successor(source_of_dial(error));
            }
            (P::Dialling { .. } | P::Authenticating { .. }, Input::AuthenticationFailed { error, .. }) => {
                self.fail_successor(error.into());
            }
            (P::Authenticating { .. }, Input::Established { .. }) if !needs_health_check => {
                self.hand_over(now, HealthCheckInfo::default());
            }
            (P::Authenticating { .. }, Input::Established { .. }) => {
                successor.stage = AttemptStage::HealthCheck;
            }
            (P::Authenticating { .. }, Input::HealthCheck { info, .. }) => self.hand_over(now, info),
            (P::Authenticating { .. }, Input::ErrorAnnounced { error, .. }) => {
                successor.announced.get_or_insert(error);
            }
            (P::Authenticating { .. }, Input::Drained { .. }) => {
                if let Some(error) = successor.announced.take() {
                    self.fail_successor(DisconnectionSource::from(ServerReason::api_error(error)));
                }
            }
            (P::Authenticating { .. }, Input::Ended { close, error, .. }) => {
                let api_error = successor.announced.take();
                let reason = ServerReason { close, api_error, engine_error: error };
                self.fail_successor(reason.into());
            }
            (phase, input) => tracing::trace!(?phase, ?input, "ignored by the successor"),
        }
    }

    pub(super) fn handle_successor_timeout(&mut self, now: Instant) {
        let Some(successor) = &self.successor else { return };
        let stage = match successor.phase {
            Phase::Dialling { .. } | Phase::Authenticating { .. } => successor.stage,
            Phase::Flushing { .. } => return self.drain(),
            Phase::Draining { .. } => return self.switch(),
        };
        tracing::debug!(successor = successor.generation, ?now, "the successor has exceeded a deadline");
        self.fail_successor(DisconnectionSource::ConnectTimeout { stage });
    }

    /// What an input about the connection means when there is a successor. Returns what means the same as ever.
    pub(super) fn handle_beside_successor(&mut self, now: Instant, input: Input) -> Option<Input> {
        let Some(successor) = &self.successor else { return Some(input) };
        let ready = successor.is_ready();
        match input {
            Input::Replace => return None,
            Input::Disconnect(frame) => {
                return self.give_up(frame, DisconnectionSource::UserInitiated).map(Input::Disconnect);
            }
            Input::DisconnectSystem(frame) => {
                let source = DisconnectionSource::SystemInitiated;
                return self.give_up(frame, source).map(Input::DisconnectSystem);
            }
            // The connection is over, or as good as. Its successor takes its place, ready or not.
            Input::Abandon { .. } | Input::NoPong { .. } | Input::Ended { .. } if ready => self.switch(),
            Input::Abandon { .. } => self.succeed(now, DisconnectionSource::SystemInitiated),
            Input::NoPong { .. } => self.succeed(now, DisconnectionSource::NoPongReceived),
            Input::Ended { close, error, .. } => {
                let reason = ServerReason { close, api_error: self.announced.take(), engine_error: error };
                self.succeed(now, reason.into());
            }
            // It ends anyway.
            Input::ErrorAnnounced { .. } | Input::Drained { .. } if ready => {}
            Input::Drained { .. } => {
                if let Some(error) = self.announced.take() {
                    let reason = ServerReason::api_error(error);
                    self.succeed(now, reason.into());
                }
            }
            Input::Flushed { .. } => {
                if self.awaits_flush() {
                    self.drain();
                }
            }
            other => return Some(other),
        }
        None
    }

    /// The successor is ready: the connection gets no more messages.
    fn hand_over(&mut self, now: Instant, info: HealthCheckInfo) {
        let Some(successor) = &mut self.successor else { return };
        successor.phase = Phase::Flushing {
            until: now + self.limits.flush.min(self.limits.close),
            end: now + self.limits.close,
            info,
        };
        self.announced = None;
        self.outputs.push_back(Output::HoldQueue);
    }

    /// What the connection was given is flushed, or has had its time: now it is closed and read to its end.
    fn drain(&mut self) {
        let Some(successor) = &mut self.successor else { return };
        if let Phase::Flushing { end, info, .. } = &successor.phase {
            successor.phase = Phase::Draining { until: *end, info: info.clone() };
            self.outputs.push_back(Output::CloseReplaced);
        }
    }

    /// The connection is drained, or has had its time: the successor is the connection.
    fn switch(&mut self) {
        let Some(successor) = self.successor.take() else { return };
        let Successor { generation, phase, addresses, .. } = *successor;
        let (Phase::Flushing { info, .. } | Phase::Draining { info, .. }) = phase else { return };
        self.outputs.push_back(Output::Switched { old: self.generation, new: generation });
        self.generation = generation;
        self.going_away = None;
        self.failed = None;
        self.addresses = addresses;
        self.connected(info);
    }

    /// The connection is over before its successor was ready: the successor is the attempt under way.
    fn succeed(&mut self, now: Instant, source: DisconnectionSource) {
        self.outputs.push_back(Output::Drop);
        self.end(now, source);
    }

    /// The second half of [`succeed`](Self::succeed), after the end of the connection was told.
    pub(super) fn promote(&mut self, successor: Successor) {
        self.generation = successor.generation;
        self.received = None;
        self.deadline = Some(successor.until());
        self.stage = successor.stage;
        self.announced = successor.announced;
        self.outputs.push_back(Output::Promoted);
        self.enter(ConnectionState::Connecting);
        if !matches!(successor.phase, Phase::Dialling { .. }) {
            self.addresses = successor.addresses;
            self.enter(ConnectionState::Authenticating);
        }
    }

    /// A disconnect ends both at once. Returns the frame if the connection is still to be closed with it.
    fn give_up(
        &mut self,
        frame: everwire_engine::CloseFrame,
        source: DisconnectionSource,
    ) -> Option<everwire_engine::CloseFrame> {
        let phase = self.successor.as_ref().map(|successor| successor.phase.clone());
        self.fail_successor(source.clone());
        match phase {
            Some(Phase::Draining { until, .. }) => {
                // Its close frame is out: the end is only read under another name.
                self.wanted &= !matches!(source, DisconnectionSource::UserInitiated);
                self.closing = Some(Closing::AwaitingEnd { until });
                self.enter(ConnectionState::Disconnecting(source));
                self.outputs.push_back(Output::Close { frame, flush: false });
                None
            }
            Some(Phase::Flushing { .. }) => {
                self.outputs.push_back(Output::ResumeQueue);
                Some(frame)
            }
            _ => Some(frame),
        }
    }

    /// The successor has ended; the connection is not concerned.
    fn fail_successor(&mut self, source: DisconnectionSource) {
        let Some(successor) = self.successor.take() else { return };
        let generation = successor.generation;
        tracing::debug!(generation = self.generation, successor = generation, %source, "the successor has failed");
        self.failed = Some((generation, Arc::new(source.clone())));
        self.outputs.push_back(Output::DropSuccessor);
        self.outputs.push_back(Output::Noted(self.snapshot()));
        self.outputs.push_back(Output::ReplacementFailed { generation, source });
    }
}
