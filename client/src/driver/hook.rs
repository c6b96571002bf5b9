//! The hooks' futures, polled inside the driver and contained: a panic ends the hook, not the driver.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Poll},
    time::Duration,
};

use everwire_engine::{Engine, Message};
use futures_core::future::BoxFuture;

use super::{
    Driver,
    attempt::{Connection, words},
    now,
};
use crate::{
    AuthenticationError, AuthenticationErrorKind, HealthCheckInfo,
    core::Input,
    decode::EventDecoder,
    delivery::ClientEvent,
    hooks::{Authenticate, ConnectionScope, HandshakeHandle, LANE, Lane},
    send::{Gate, Pump},
};

/// A hook's future has ended: with its value, or by a panic.
pub(super) type Ended<T> = Result<T, ()>;

impl<E: Engine, D: EventDecoder> Driver<E, D> {
    pub(super) fn begin_establish(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.establish(self.settings.on_established.as_ref());
        }
    }

    pub(super) fn begin_connected(&mut self, info: HealthCheckInfo) {
        let Some(connection) = &mut self.connection else { return };
        self.pump.set_connection(connection.generation);
        let previous = self.previous_info.replace(info.clone());
        let gap = match self.lost_at.take() {
            Some(lost_at) => Some(now().saturating_duration_since(lost_at)),
            // It took the place of one that lived until now.
            None => connection.attempt.as_ref().and_then(|attempt| attempt.replaces).map(|_| Duration::ZERO),
        };
        if let Some(gap) = gap {
            self.hub.push(ClientEvent::Reconnected {
                old_connection_id: previous.as_ref().and_then(|info| info.connection_id.clone()),
                new_connection_id: info.connection_id.clone(),
                gap,
            });
        }
        let attempt = connection.attempt.take();
        let hooks = (&self.settings.resubscribe, &self.settings.on_connected);
        if let (None, None) = hooks {
            self.pump.set_open(true);
        } else {
            let generation = connection.generation;
            let scope = ConnectionScope { generation, info, previous, lane: connection.lane() };
            match hooks.0 {
                Some(hook) => {
                    let until = now() + self.settings.limits.authenticate;
                    connection.resubscribing = Some((begin(|| hook(scope.clone()), || ()), until));
                    self.pump.set_gate(Gate::Held);
                }
                None => self.pump.set_open(true),
            }
            if let Some(hook) = hooks.1 {
                connection.connected = Some(begin(|| hook(scope), || ()));
            }
        }
        if let Some(attempt) = attempt {
            self.begin_renewal(attempt);
        }
    }

    pub(super) fn poll_hooks(&mut self, cx: &mut Context<'_>) -> bool {
        let renewed = self.poll_renewal(cx);
        let Some(connection) = &mut self.connection else { return renewed };

        let established = connection.poll_establishing(cx);
        let resubscribed = contained(cx, connection.resubscribing.as_mut().map(|(hook, _)| hook));
        if resubscribed.is_some() {
            connection.resubscribing = None;
        }
        if contained(cx, connection.connected.as_mut()).is_some() {
            connection.connected = None;
        }
        // Before anything else may be sent: what the hooks have sent.
        let sent = connection.take_sent(cx, &mut self.pump);

        if resubscribed.is_some() {
            self.pump.set_open(true);
        }
        let moved = renewed || sent || established.is_some() || resubscribed.is_some();
        if let Some(input) = established {
            self.tell(input);
        }
        moved
    }
}

impl<C> Connection<C> {
    pub(super) fn establish(&mut self, hook: Option<&Authenticate>) {
        self.establishing = Some(match (hook, self.attempt.clone()) {
            (Some(hook), Some(attempt)) => {
                let handle = HandshakeHandle { attempt, lane: self.lane() };
                Some(begin(|| hook(handle), || Err(panicked())))
            }
            _ => None,
        });
    }

    /// The hooks' way to the driver.
    fn lane(&mut self) -> Lane {
        self.lane.get_or_insert_default().clone()
    }

    /// Shows a received message to a hook that authenticates.
    #[inline]
    pub(super) fn show_hook(&self, message: &Message) {
        if let (Some(_), Some(lane)) = (&self.establishing, &self.lane) {
            lane.deliver(message);
        }
    }

    /// What the core is told once the hook that authenticates has ended.
    pub(super) fn poll_establishing(&mut self, cx: &mut Context<'_>) -> Option<Input> {
        let generation = self.generation;
        let ended = match self.establishing.as_mut()? {
            Some(hook) => contained(cx, Some(hook))?,
            None => Ok(Ok(())),
        };
        self.establishing = None;
        Some(match ended.unwrap_or_else(|()| Err(panicked())) {
            Ok(()) => Input::Established { generation },
            Err(error) => Input::AuthenticationFailed { generation, error },
        })
    }

    /// Takes what the hooks have sent, as far as there is room. Returns whether it was anything.
    pub(super) fn take_sent(&mut self, cx: &Context<'_>, pump: &mut Pump) -> bool {
        let Some(lane) = &self.lane else { return false };
        let mut sent = false;
        let room = LANE.saturating_sub(pump.urgent_len());
        // Asked for first, for what is sent between the two is taken, too.
        let forsaken = lane.is_forsaken();
        let left = lane.drain(cx.waker(), room, |message| {
            pump.urgent(message);
            sent = true;
        });
        if forsaken && left == 0 {
            self.lane = None;
        }
        sent
    }
}

/// Calls a hook; one that panics before it has a future yields `otherwise`.
pub(super) fn begin<T: Send + 'static>(
    hook: impl FnOnce() -> BoxFuture<'static, T>,
    otherwise: impl FnOnce() -> T,
) -> BoxFuture<'static, T> {
    match catch_unwind(AssertUnwindSafe(hook)) {
        Ok(future) => future,
        Err(panic) => {
            tracing::error!(panic = words(&*panic), "a hook panicked");
            Box::pin(std::future::ready(otherwise()))
        }
    }
}

pub(super) fn contained<T>(
    cx: &mut Context<'_>,
    hook: Option<&mut BoxFuture<'static, T>>,
) -> Option<Ended<T>> {
    let hook = hook?;
    match catch_unwind(AssertUnwindSafe(|| hook.as_mut().poll(cx))) {
        Ok(Poll::Ready(value)) => Some(Ok(value)),
        Ok(Poll::Pending) => None,
        Err(panic) => {
            tracing::error!(panic = words(&*panic), "a hook panicked");
            Some(Err(()))
        }
    }
}

pub(super) const fn panicked() -> AuthenticationError {
    AuthenticationError::new(AuthenticationErrorKind::Panicked)
}
