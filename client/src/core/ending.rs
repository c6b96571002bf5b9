//! How an attempt ends.

use std::time::Instant;

use everwire_engine::{CloseFrame, EngineError, EngineErrorKind};

use super::{Closed, Closing, Lifecycle, Output};
use crate::{AttemptStage, ConnectionState, DisconnectionSource, ServerReason};

impl Lifecycle {
    /// Begins to close; where there is no open socket, also ends.
    pub(super) fn close(
        &mut self,
        now: Instant,
        source: DisconnectionSource,
        frame: CloseFrame,
        flush: bool,
    ) {
        let dialling = matches!(self.state, ConnectionState::Connecting);
        self.deadline = None;
        // Whatever the reason is now, the drain of what the server announced before is awaited no more.
        self.announced = None;
        self.enter(ConnectionState::Disconnecting(source.clone()));
        if dialling {
            self.outputs.push_back(Output::Drop);
            return self.end(now, source);
        }
        self.outputs.push_back(Output::Close { frame, flush });
        if flush {
            self.closing = Some(Closing::Flushing { until: now + self.limits.flush });
        } else {
            self.await_end(now);
        }
    }

    /// The close frame leaves; from now on its answer is due.
    pub(super) fn await_end(&mut self, now: Instant) {
        if matches!(self.closing, Some(Closing::AwaitingEnd { .. })) {
            return;
        }
        let limit = match self.state.source() {
            Some(DisconnectionSource::NoPongReceived | DisconnectionSource::SystemInitiated) => {
                self.limits.close_dead
            }
            _ => self.limits.close,
        };
        self.closing = Some(Closing::AwaitingEnd { until: now + limit });
        self.outputs.push_back(Output::SendClose);
    }

    /// Ends the attempt: the one place that enters `Disconnected`.
    pub(super) fn end(&mut self, now: Instant, source: DisconnectionSource) {
        self.deadline = None;
        self.closing = None;
        self.announced = None;
        self.going_away = None;
        self.addresses = (None, None);
        let reopen = std::mem::take(&mut self.connect_queued);
        self.enter(ConnectionState::Disconnected(source));
        self.failed = None;
        self.outputs.push_back(Output::Closed(self.closed()));
        if let Some(successor) = self.successor.take() {
            self.promote(*successor);
        } else if reopen {
            self.open(now);
        }
    }

    pub(super) fn closed(&self) -> Closed {
        Closed {
            generation: self.generation,
            source: self.state.source().cloned().unwrap_or(DisconnectionSource::UserInitiated),
            received: self.received.clone(),
        }
    }
}

/// A dial that exceeded a deadline of the engine is a timeout like ours.
pub(super) fn source_of_dial(error: EngineError) -> DisconnectionSource {
    if error.kind() == EngineErrorKind::Timeout {
        DisconnectionSource::ConnectTimeout { stage: AttemptStage::Engine(error.stage()) }
    } else {
        DisconnectionSource::from(ServerReason::engine_error(error))
    }
}
