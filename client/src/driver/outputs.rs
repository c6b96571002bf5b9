//! What the core answers, done.

use everwire_engine::{Engine, Message};

use super::{
    Driver, now,
    span::{SpanStage, record_end, record_stage},
};
use crate::{
    ConnectionState, DisconnectionSource, Snapshot,
    client::Disconnection,
    core::{Closed, Output},
    decode::EventDecoder,
    delivery::ClientEvent,
};

impl<E: Engine, D: EventDecoder> Driver<E, D> {
    pub(super) fn drain_outputs(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Changed(snapshot) => {
                    self.record(&snapshot);
                    // A connection that ends of itself has a successor: what may wait waits for that one. Only
                    // the user's word, also one that overrides a close under way, stops the intake.
                    if let ConnectionState::Disconnecting(DisconnectionSource::UserInitiated) = snapshot.state
                    {
                        self.pump.stop_intake();
                    }
                    self.hub.push_with(|| ClientEvent::State(Box::new(snapshot.clone())));
                    self.snapshots.publish(snapshot);
                }
                Output::Noted(snapshot) => {
                    self.snapshots.publish(snapshot);
                }
                Output::Open { generation } => self.dial(generation),
                Output::Establish => self.begin_establish(),
                Output::Connected => self.connected(),
                Output::Pong => self.pong(),
                Output::Close { frame, flush } => {
                    self.closing = Some(frame);
                    self.ping.connection_state_changed(now(), false);
                    if !flush {
                        self.pump.set_open(false);
                    }
                    if let Some(connection) = &mut self.connection {
                        connection.drop_hooks();
                    }
                }
                Output::SendClose => {
                    self.pump.set_open(false);
                    if let Some(frame) = self.closing.take() {
                        self.pump.urgent(Message::Close(Some(frame)));
                    }
                }
                Output::Drop => self.drop_connection(),
                Output::Refused(source) => self.waiting.refuse(self.core.generation() + 1.., &source),
                Output::Closed(closed) => self.closed(closed),
                about_successor => self.carry_out(about_successor),
            }
        }
    }

    fn record(&self, snapshot: &Snapshot) {
        self.recorder.state_changed(now());
        match &snapshot.state {
            ConnectionState::Connecting => self.recorder.attempt(snapshot.generation, now()),
            ConnectionState::Connected(_) => self.recorder.connected(),
            ConnectionState::Disconnected(source) => self.recorder.disconnected(source.clone()),
            _ => {}
        }
    }

    /// Releases the socket, the dial and everything that was scoped to them.
    pub(super) fn drop_connection(&mut self) {
        self.dial = None;
        self.closing = None;
        self.ping.connection_state_changed(now(), false);
        if let Some(connection) = self.connection.take() {
            connection.end();
        }
        self.pump.connection_lost();
    }

    fn closed(&mut self, closed: Closed) {
        let Closed { generation, source, received } = closed;
        self.waiting.refuse(..=generation, &source);
        record_end(&self.span, &source);
        self.span = tracing::Span::none();
        if generation > 0 {
            self.previous = Some(source.clone());
            if self.previous_info.is_some() {
                // The gap counts from the loss, over all attempts that fail.
                self.lost_at.get_or_insert_with(now);
            }
        }
        self.waiting.disconnected(&Disconnection { generation, source, received });
    }

    fn connected(&mut self) {
        let ConnectionState::Connected(info) = self.core.state().clone() else { return };
        self.replacement_failed = None;
        record_stage(&self.span, SpanStage::Connected);
        self.ping.connection_state_changed(now(), self.settings.pings);
        self.waiting.connected(self.core.generation(), &info);
        self.begin_connected(info);
    }

    pub(super) fn pong(&mut self) {
        if let Some(rtt) = self.ping.pong_received(now()) {
            self.recorder.pong(rtt);
        }
    }
}
