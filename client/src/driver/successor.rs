//! The driver's side of make before break: a second connection, polled beside the live one until it takes its place.
//!
//! Until then it is read only for its authentication. What comes after its first health check stays in its socket
//! until the old connection is drained, so that the application sees one order.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use everwire_engine::{CloseCode, CloseFrame, Connection as _, Engine, EngineError, Message, Text};
use futures_core::Stream as _;
use futures_sink::Sink as _;

use super::{
    Driver, READ_BATCH,
    attempt::{Connection, Dial, DialError},
    now,
    span::{SpanStage, record_end, record_stage},
};
use crate::{
    Attempt, DisconnectionSource, ServerReason,
    core::{Input, Output},
    decode::{EventDecoder, WsEvent as _},
    delivery::ClientEvent,
    hooks::LANE,
    send::{Gate, Pump, SendLimits},
};

/// See the module's documentation.
pub(super) struct Successor<C, Ev> {
    generation: u64,
    dial: Option<Dial<C>>,
    connection: Option<Connection<C>>,
    /// For what its hook sends; no message of the application goes through it.
    pump: Pump,
    span: tracing::Span,
    /// The event that ended its authentication.
    first: Option<Ev>,
}

impl<E: Engine, D: EventDecoder> Driver<E, D> {
    /// What the core answers about a successor, done.
    pub(super) fn carry_out(&mut self, output: Output) {
        match output {
            Output::OpenSuccessor { generation } => self.dial_successor(generation),
            Output::EstablishSuccessor => {
                if let Some(connection) = self.successor.as_mut().and_then(|of| of.connection.as_mut()) {
                    connection.establish(self.settings.on_established.as_ref());
                }
            }
            // The failure is told in the next output but one; the span ends with it.
            Output::DropSuccessor => {
                if let Some(connection) = self.successor.as_mut().and_then(|of| of.connection.take()) {
                    connection.end();
                }
            }
            Output::ReplacementFailed { generation, source } => {
                if let Some(successor) = self.successor.take() {
                    record_end(&successor.span, &source);
                }
                self.recorder.replaced(false);
                self.replaced_for_renewal(Some(&source));
                self.replacement_failed = Some(source.clone());
                self.hub.push(ClientEvent::ReplacementFailed { generation, source: Box::new(source) });
            }
            Output::HoldQueue => {
                if let Some(connection) = &mut self.connection {
                    connection.resubscribing = None;
                }
                self.pump.set_gate(Gate::Held);
            }
            Output::ResumeQueue => self.pump.set_open(true),
            Output::CloseReplaced => {
                self.replaced_for_renewal(None);
                self.ping.connection_state_changed(now(), false);
                if let Some(connection) = &mut self.connection {
                    // What its hooks have sent goes before the close frame.
                    let pump = &mut self.pump;
                    if let Some(lane) = &connection.lane {
                        lane.drain(std::task::Waker::noop(), LANE, |message| pump.urgent(message));
                    }
                    connection.drop_hooks();
                }
                let frame = self.settings.close_frame(&DisconnectionSource::Replaced);
                self.pump.urgent(Message::Close(Some(frame)));
            }
            Output::Switched { old, new } => {
                self.replaced_for_renewal(None);
                self.ping.connection_state_changed(now(), false);
                if let Some(connection) = self.connection.take() {
                    connection.end();
                }
                record_end(&self.span, &DisconnectionSource::Replaced);
                self.pump.connection_replaced();
                self.take_over();
                self.previous = None;
                self.recorder.replaced(true);
                self.hub.push(ClientEvent::Replaced { old, new });
            }
            Output::Promoted => self.take_over(),
            other => tracing::error!(?other, "an output has nobody who carries it out; this is a bug"),
        }
    }

    fn dial_successor(&mut self, generation: u64) {
        let mut attempt = Attempt::after(generation, self.cause, self.replacement_failed.clone());
        attempt.replaces = Some(self.core.generation());
        let (dial, span) = self.begin_dial(attempt);
        self.recorder.attempt(generation, now());
        self.successor = Some(Box::new(Successor {
            generation,
            dial: Some(dial),
            connection: None,
            pump: Pump::new(SendLimits::default()).1,
            span,
            first: None,
        }));
    }

    /// The successor is the connection, or the attempt under way.
    fn take_over(&mut self) {
        let Some(successor) = self.successor.take().map(|successor| *successor) else { return };
        self.dial = successor.dial;
        self.connection = successor.connection;
        self.pump.adopt(successor.pump);
        self.span = successor.span;
        self.first = successor.first.map(|event| Box::new((successor.generation, event)));
    }

    pub(super) fn poll_successor(&mut self, cx: &mut Context<'_>) -> bool {
        if self.successor.is_none() {
            return false;
        }
        let mut moved = self.poll_successor_dial(cx);
        moved |= self.poll_successor_read(cx);
        moved |= self.poll_successor_hook(cx);
        moved |= self.poll_successor_write(cx);
        moved
    }

    fn poll_successor_dial(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(successor) = self.successor.as_deref_mut() else { return false };
        let generation = successor.generation;
        let dialled = match successor.dial.as_mut().map(|dial| dial.poll(cx)) {
            Some(Ok(dialled)) => dialled,
            Some(Err(Some(stage))) => {
                self.tell(Input::Reached { generation, stage });
                return false;
            }
            Some(Err(None)) | None => return false,
        };
        successor.dial = None;
        match dialled {
            Ok((socket, attempt)) => {
                let handshake = socket.handshake();
                let (local_addr, peer_addr) = (handshake.local_addr, handshake.peer_addr);
                self.credentials.clone_from(&attempt.credentials);
                record_stage(&successor.span, SpanStage::Authentication);
                successor.connection = Some(Connection::new(socket, attempt));
                self.tell(Input::Opened { generation, local_addr, peer_addr });
            }
            Err(DialError::Engine(error)) => self.tell(Input::OpenFailed { generation, error }),
            Err(DialError::Authentication(error)) => {
                self.tell(Input::AuthenticationFailed { generation, error });
            }
        }
        true
    }

    fn poll_successor_read(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        for _ in 0..READ_BATCH {
            // Once it is ready it is read no more; and what the application has no room for stays where it is.
            if !self.core.successor_is_made()
                || (self.hub.has_subscribers() && self.hub.poll_room(cx).is_pending())
            {
                break;
            }
            let Some(Successor { generation, connection: Some(connection), .. }) =
                self.successor.as_deref_mut()
            else {
                break;
            };
            let generation = *generation;
            match Pin::new(&mut connection.socket).poll_next(cx) {
                Poll::Pending => {
                    if let Some(error) = connection.write_error.take() {
                        self.successor_ended(generation, None, Some(error));
                        moved = true;
                    } else if self.core.successor_awaits_drain() {
                        let source = DisconnectionSource::from(ServerReason::default());
                        let frame = self.settings.close_frame(&source);
                        self.tell(Input::Drained { generation, frame });
                        moved = true;
                    }
                    break;
                }
                Poll::Ready(item) => {
                    moved = true;
                    match item {
                        Some(Ok(message)) => self.successor_received(cx, generation, message),
                        Some(Err(error)) => self.successor_ended(generation, None, Some(error)),
                        None => self.successor_ended(generation, None, None),
                    }
                }
            }
        }
        moved
    }

    fn successor_ended(&mut self, generation: u64, close: Option<CloseFrame>, error: Option<EngineError>) {
        self.tell(Input::Ended { generation, close, error });
    }

    fn successor_received(&mut self, cx: &mut Context<'_>, generation: u64, message: Message) {
        let Some(Successor { connection: Some(connection), .. }) = self.successor.as_deref_mut() else {
            return;
        };
        self.recorder.received(1, message.len() as u64);
        match message {
            Message::Text(_) | Message::Binary(_) => {
                connection.show_hook(&message);
                match catch_unwind(AssertUnwindSafe(|| self.decode_event(generation, message))) {
                    Ok(Some(event)) => self.successor_event(generation, event),
                    Ok(None) => {}
                    Err(panic) => self.decoder_panicked(panic),
                }
            }
            Message::Ping(_) | Message::Pong(_) => {}
            Message::Close(frame) => {
                let _ = Pin::new(&mut connection.socket).poll_flush(cx);
                let no_status = || CloseFrame { code: CloseCode::NO_STATUS, reason: Text::default() };
                self.successor_ended(generation, Some(frame.unwrap_or_else(no_status)), None);
            }
        }
    }

    fn successor_event(&mut self, generation: u64, event: D::Event) {
        let Some(info) = event.health_check_info() else { return self.deliver_event(generation, event) };
        let Some(successor) = self.successor.as_deref_mut() else { return };
        // It is delivered after the switch, when the connection that it belongs to has been announced.
        successor.first = Some(event);
        self.tell(Input::HealthCheck { generation, info });
    }

    fn poll_successor_hook(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(Successor { connection: Some(connection), pump, .. }) = self.successor.as_deref_mut() else {
            return false;
        };
        let established = connection.poll_establishing(cx);
        let sent = connection.take_sent(cx, pump);
        let moved = sent || established.is_some();
        if let Some(input) = established {
            self.tell(input);
        }
        moved
    }

    fn poll_successor_write(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(Successor { connection: Some(connection), pump, .. }) = self.successor.as_deref_mut() else {
            return false;
        };
        if connection.write_error.is_some() {
            return false;
        }
        let before = pump.progress();
        match pump.poll(cx, &mut connection.socket) {
            Ok(_) => {
                let (messages, bytes) = pump.take_sent();
                if messages > 0 {
                    self.recorder.sent(messages, bytes);
                }
                pump.progress() != before
            }
            Err(error) => {
                // What the peer said before it went away is read first.
                connection.write_error = Some(error);
                true
            }
        }
    }
}
