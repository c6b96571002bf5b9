//! Writing and time: the pump, the write deadline, and the one timer for all deadlines.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use everwire_engine::{Engine, EngineError, Stage};
use everwire_ping::PingClient;
use tokio::time::Sleep;

use super::{Driver, now, renew::Renewing};
use crate::{ConnectionState, DisconnectionSource, core::Input, decode::EventDecoder, send::PumpState};

/// One timer of the runtime, set to the earliest deadline of all.
#[derive(Default)]
pub(super) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    at: Option<Instant>,
}

impl Timer {
    /// Ready when the deadline has passed. The runtime's timer is touched only when the deadline is another one.
    fn poll(&mut self, cx: &mut Context<'_>, at: Option<Instant>) -> Poll<()> {
        let Some(at) = at else {
            self.at = None;
            return Poll::Pending;
        };
        let deadline = tokio::time::Instant::from_std(at);
        let sleep = match &mut self.sleep {
            Some(sleep) => {
                if self.at != Some(at) {
                    sleep.as_mut().reset(deadline);
                }
                sleep
            }
            None => self.sleep.insert(Box::pin(tokio::time::sleep_until(deadline))),
        };
        self.at = Some(at);
        let poll = sleep.as_mut().poll(cx);
        if poll.is_ready() {
            // A timer that has fired must be set again before it is polled again.
            self.at = None;
            self.sleep = None;
        }
        poll
    }
}

/// What the ping controller asked for.
#[derive(Debug, Default)]
struct Asked {
    ping: bool,
    disconnect: bool,
}

impl PingClient for Asked {
    fn send_ping(&mut self) {
        self.ping = true;
    }

    fn disconnect_no_pong_received(&mut self) {
        self.disconnect = true;
    }
}

impl<E: Engine, D: EventDecoder> Driver<E, D> {
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(connection) = &mut self.connection else {
            self.pump.poll_closed(cx);
            return false;
        };
        if connection.write_error.is_some() {
            // There is more to read. An application that lets it wait must not hold up the end for ever.
            if connection.stalled.is_none() {
                connection.stalled = Some((self.pump.progress(), now() + self.settings.write_timeout));
            }
            return false;
        }
        let before = self.pump.progress();
        match self.pump.poll(cx, &mut connection.socket) {
            Ok(PumpState::Idle) => connection.stalled = None,
            Ok(PumpState::Blocked) => match connection.stalled {
                Some((progress, _)) if progress == self.pump.progress() => {}
                _ => {
                    let until = now() + self.settings.write_timeout;
                    connection.stalled = Some((self.pump.progress(), until));
                }
            },
            Err(error) => {
                // What the peer said before it went away, its close frame perhaps, is read first.
                connection.write_error = Some(error);
                return true;
            }
        }
        let generation = connection.generation;
        let (messages, bytes) = self.pump.take_sent();
        if messages > 0 {
            self.recorder.sent(messages, bytes);
        }
        let mut moved = self.pump.progress() != before;
        if self.core.awaits_flush() && self.pump.drained() {
            self.tell(Input::Flushed { generation });
            moved = true;
        }
        moved
    }

    pub(super) fn poll_timers(&mut self, cx: &mut Context<'_>) -> bool {
        let next = self.next_deadline();
        if self.timer.poll(cx, next).is_pending() {
            return false;
        }
        let now = now();
        self.pump.expire(now);
        if self.lifecycle_deadline().is_some_and(|at| at <= now) {
            self.tell(Input::Timeout);
        }
        self.handle_write_deadline(now);
        self.handle_resubscribe_deadline(now);
        self.handle_renewal(now);
        self.handle_ping(now);
        true
    }

    fn next_deadline(&self) -> Option<Instant> {
        let connection = self.connection.as_ref();
        [
            self.lifecycle_deadline(),
            self.ping_deadline(),
            self.pump.next_expiry(),
            self.write_deadline(),
            connection.and_then(|connection| connection.resubscribing.as_ref()).map(|(_, until)| *until),
            connection.and_then(|connection| connection.renewing.as_deref()).and_then(Renewing::poll_timeout),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// A replaced connection is not cut off while what has arrived on it waits for the application, nor before a
    /// process that was stopped has had its time to read it: nothing shall be lost.
    fn lifecycle_deadline(&self) -> Option<Instant> {
        let at = self.core.poll_timeout()?;
        match &self.connection {
            Some(connection) if self.core.drains_replaced() && connection.paused => None,
            Some(connection) if self.core.drains_replaced() && !connection.read_dry => {
                Some(at + self.settings.limits.close)
            }
            _ => Some(at),
        }
    }

    /// A replaced connection has the deadline of its hand-over instead.
    fn write_deadline(&self) -> Option<Instant> {
        let (_, until) = self.connection.as_ref()?.stalled?;
        (!self.core.drains_replaced()).then_some(until)
    }

    /// The verdict on a missing pong waits until what has arrived is read: a process that was stopped and goes
    /// on must not condemn a healthy peer.
    fn ping_deadline(&self) -> Option<Instant> {
        let dry = self.connection.as_ref().is_some_and(|connection| connection.read_dry);
        if self.ping.is_awaiting_pong() && !dry { None } else { self.ping.next_timeout() }
    }

    fn handle_ping(&mut self, now: Instant) {
        if self.ping_deadline().is_none_or(|at| now < at) {
            return;
        }
        let mut asked = Asked::default();
        self.ping.handle_timeout(now, &mut asked);
        if asked.ping
            && let ConnectionState::Connected(info) = self.core.state()
        {
            let ping = (self.settings.ping_request)(info);
            if let Some(ping) = ping {
                self.recorder.ping();
                self.pump.urgent(ping);
            }
        }
        if asked.disconnect
            && let Some(connection) = &self.connection
        {
            self.recorder.missed_pong();
            let generation = connection.generation;
            let frame = self.settings.close_frame(&DisconnectionSource::NoPongReceived);
            self.tell(Input::NoPong { generation, frame });
        }
    }

    fn handle_write_deadline(&mut self, now: Instant) {
        if self.write_deadline().is_none_or(|until| now < until) {
            return;
        }
        if let Some(connection) = &mut self.connection {
            let generation = connection.generation;
            let error = connection.write_error.take().unwrap_or_else(|| {
                EngineError::timeout(Stage::Open, self.settings.write_timeout)
                    .with_detail("the peer takes nothing more")
            });
            self.tell(Input::Ended { generation, close: None, error: Some(error) });
        }
    }

    fn handle_resubscribe_deadline(&mut self, now: Instant) {
        let Some(connection) = &mut self.connection else { return };
        if connection.resubscribing.as_ref().is_some_and(|(_, until)| *until <= now) {
            tracing::warn!("resubscribe takes too long; queued messages go out without it");
            connection.resubscribing = None;
            self.pump.set_open(true);
        }
    }
}
