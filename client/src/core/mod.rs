//! The lifecycle of a client as a pure state machine: inputs and `now` in, outputs out.
//!
//! No clock, no socket, no runtime. The driver calls [`Lifecycle::handle`], then drains
//! [`Lifecycle::poll_output`] to the end before the next input: no mutation happens between two drains.
//!
//! Every attempt has a generation. An input of another generation than the current one changes nothing and is
//! counted in [`Lifecycle::stale`].

mod ending;
mod input;
mod successor;
#[cfg(feature = "model")]
mod summary;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use everwire_engine::CloseFrame;

pub(crate) use self::input::{Closed, Input, Output};
use self::{ending::source_of_dial, successor::Successor};
use crate::{
    ApiError, AttemptStage, ConnectionState, DisconnectionSource, HealthCheckInfo, ServerReason, Snapshot,
};

/// The limits of a lifecycle; each is a duration from the moment that the state in question is entered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The whole of `Connecting`.
    pub(crate) connect: Duration,
    /// The whole of `Authenticating`.
    pub(crate) authenticate: Duration,
    /// How long queued messages may take to leave when the user disconnects.
    pub(crate) flush: Duration,
    /// The close handshake with a peer that is believed alive.
    pub(crate) close: Duration,
    /// The close handshake with a peer, or over a path, that is believed dead.
    pub(crate) close_dead: Duration,
}

impl Limits {
    /// Those of §1.
    pub(crate) const DEFAULT: Self = Self {
        connect: Duration::from_secs(15),
        authenticate: Duration::from_secs(10),
        flush: Duration::from_secs(2),
        close: Duration::from_secs(5),
        close_dead: Duration::from_secs(1),
    };
}

/// How far a closing connection is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Closing {
    /// What is queued leaves, until then.
    Flushing { until: Instant },
    /// Our close frame is out; the peer's answer is awaited, until then.
    AwaitingEnd { until: Instant },
}

/// The pure core of a client.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "two settings, two wishes and a memory, which have nothing in common"
)]
pub(crate) struct Lifecycle {
    limits: Limits,
    /// Whether `Connected` waits for a health check; otherwise the end of the authentication is enough.
    needs_health_check: bool,
    state: ConnectionState,
    generation: u64,
    /// The user's intent, apart from the state: a disconnect during a back-off must cancel the retry.
    wanted: bool,
    ever_connected: bool,
    /// `connect` was called while the old connection closes.
    connect_queued: bool,
    /// When the current `Connecting` or `Authenticating` has lasted too long.
    deadline: Option<Instant>,
    /// What it waits for.
    stage: AttemptStage,
    closing: Option<Closing>,
    /// The server announced an error; what it has sent already is read before we close.
    announced: Option<ApiError>,
    /// The server announced that it will end the connection.
    going_away: Option<Duration>,
    /// Whether a connection may be replaced by one that is made beside it.
    can_replace: bool,
    /// The newer connection in the making. Only while `Connected`. Boxed, since it is rare.
    successor: Option<Box<Successor>>,
    /// The latest successor of the connection that failed.
    failed: Option<(u64, Arc<DisconnectionSource>)>,
    /// The latest generation that was given to an attempt.
    latest: u64,
    /// What the peer said in its close frame while we were closing.
    received: Option<CloseFrame>,
    addresses: (Option<std::net::SocketAddr>, Option<std::net::SocketAddr>),
    stale: u64,
    outputs: VecDeque<Output>,
}

impl Lifecycle {
    pub(crate) fn new(limits: Limits, needs_health_check: bool) -> Self {
        Self {
            limits,
            needs_health_check,
            state: ConnectionState::Initialized,
            generation: 0,
            wanted: false,
            ever_connected: false,
            connect_queued: false,
            deadline: None,
            stage: AttemptStage::Dial,
            closing: None,
            announced: None,
            going_away: None,
            can_replace: false,
            successor: None,
            failed: None,
            latest: 0,
            received: None,
            addresses: (None, None),
            stale: 0,
            outputs: VecDeque::new(),
        }
    }

    /// Whether a connection may be replaced by one that is made beside it. By default not.
    pub(crate) const fn replaceable(mut self, can_replace: bool) -> Self {
        self.can_replace = can_replace;
        self
    }

    /// Whether it may.
    pub(crate) const fn can_replace(&self) -> bool {
        self.can_replace
    }

    /// What is to be done next; to be drained after every input.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if output.is_none() && !self.is_on_its_way() {
            // Hours may pass until the next one.
            self.outputs = VecDeque::new();
        }
        output
    }

    /// Whether more is about to happen.
    const fn is_on_its_way(&self) -> bool {
        use ConnectionState as S;

        matches!(self.state, S::Connecting | S::Authenticating | S::Disconnecting(_))
    }

    /// When [`Input::Timeout`] is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if let Some(successor) = &self.successor {
            return Some(successor.until());
        }
        match self.closing {
            Some(Closing::Flushing { until } | Closing::AwaitingEnd { until }) => Some(until),
            None => self.deadline,
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            state: self.state.clone(),
            generation: self.generation,
            wanted: self.wanted,
            ever_connected: self.ever_connected,
            local_addr: self.addresses.0,
            peer_addr: self.addresses.1,
            can_replace: self.can_replace,
            going_away: self.going_away,
            replacement: self.replacement(),
        }
    }

    pub(crate) const fn state(&self) -> &ConnectionState {
        &self.state
    }

    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    /// How many inputs of old generations came and changed nothing.
    pub(crate) const fn stale(&self) -> u64 {
        self.stale
    }

    /// Whether the error that the server announced waits for [`Input::Drained`].
    pub(crate) const fn awaits_drain(&self) -> bool {
        self.announced.is_some()
    }

    /// Takes one input. Every transition is named here; what is not, changes nothing.
    pub(crate) fn handle(&mut self, now: Instant, input: Input) {
        use ConnectionState as S;

        if let (Some(generation), Some(successor)) = (input.generation(), &self.successor)
            && generation == successor.generation
        {
            return self.handle_successor(now, input);
        }
        if input.generation().is_some_and(|generation| generation != self.generation) {
            self.stale += 1;
            tracing::trace!(?input, current = self.generation, "late event of an old attempt ignored");
            return;
        }
        let Some(input) = self.handle_beside_successor(now, input) else { return };
        match (&self.state, input) {
            // What the user wants.
            (S::Initialized | S::Disconnected(_), Input::Connect) => self.open(now),
            (S::Disconnecting(_), Input::Connect) => {
                self.connect_queued = true;
                self.set_wanted(true);
            }
            (S::Connecting | S::Authenticating | S::Connected(_), Input::Connect) => self.set_wanted(true),

            (S::Initialized | S::Disconnected(_), Input::Disconnect(_)) => {
                self.set_wanted(false);
                self.outputs.push_back(Output::Closed(self.closed()));
            }
            (S::Connecting | S::Authenticating | S::Connected(_), Input::Disconnect(frame)) => {
                self.wanted = false;
                let flush = self.state.is_connected();
                self.close(now, DisconnectionSource::UserInitiated, frame, flush);
            }
            (S::Disconnecting(source), Input::Disconnect(_)) => {
                if matches!(source, DisconnectionSource::UserInitiated) {
                    // No change of state, and still to be known: a wish may have come in between.
                    self.set_wanted(false);
                } else {
                    self.wanted = false;
                    self.enter(S::Disconnecting(DisconnectionSource::UserInitiated));
                }
                if std::mem::take(&mut self.connect_queued) {
                    self.outputs.push_back(Output::Refused(DisconnectionSource::UserInitiated));
                }
            }

            // What recovery wants; never against the user.
            (S::Disconnected(_), Input::Reconnect) if self.wanted => self.open(now),
            (S::Connecting | S::Authenticating | S::Connected(_), Input::DisconnectSystem(frame)) => {
                self.close(now, DisconnectionSource::SystemInitiated, frame, false);
            }

            (S::Connecting | S::Authenticating | S::Connected(_), Input::Abandon { .. }) => {
                let source = DisconnectionSource::SystemInitiated;
                self.enter(S::Disconnecting(source.clone()));
                self.outputs.push_back(Output::Drop);
                self.end(now, source);
            }

            (S::Connected(_), Input::Replace) if self.can_replace => self.open_successor(now),

            // The dial.
            (S::Connecting, Input::Reached { stage, .. }) => self.stage = stage,
            (S::Connecting, Input::Opened { local_addr, peer_addr, .. }) => {
                self.addresses = (local_addr, peer_addr);
                self.deadline = Some(now + self.limits.authenticate);
                self.stage = AttemptStage::Authentication;
                self.enter(S::Authenticating);
                self.outputs.push_back(Output::Establish);
            }
            (S::Connecting, Input::OpenFailed { error, .. }) => self.end(now, source_of_dial(error)),
            (S::Connecting | S::Authenticating, Input::AuthenticationFailed { error, .. }) => {
                self.outputs.push_back(Output::Drop);
                self.end(now, error.into());
            }
            (S::Authenticating, Input::Established { .. }) if !self.needs_health_check => {
                self.connected(HealthCheckInfo::default());
            }
            (S::Authenticating, Input::Established { .. }) => self.stage = AttemptStage::HealthCheck,

            // What the server says.
            (S::Authenticating, Input::HealthCheck { info, .. }) => self.connected(info),
            (S::Connected(_), Input::HealthCheck { .. }) => self.outputs.push_back(Output::Pong),
            (S::Authenticating | S::Connected(_), Input::ErrorAnnounced { error, .. }) => {
                // The first error is the reason; later ones are consequences.
                self.announced.get_or_insert(error);
            }
            (S::Authenticating | S::Connected(_), Input::GoingAway { notice, .. }) => {
                self.going_away = Some(notice);
                self.outputs.push_back(Output::Noted(self.snapshot()));
            }
            (S::Authenticating | S::Connected(_), Input::Drained { frame, .. }) => {
                if let Some(error) = self.announced.take() {
                    let source = DisconnectionSource::from(ServerReason::api_error(error));
                    self.close(now, source, frame, false);
                }
            }

            // How it ends.
            (S::Authenticating | S::Connected(_), Input::Ended { close, error, .. }) => {
                let reason = ServerReason { close, api_error: self.announced.take(), engine_error: error };
                self.outputs.push_back(Output::Drop);
                self.end(now, reason.into());
            }
            (S::Disconnecting(source), Input::Ended { close, .. }) => {
                let source = source.clone();
                self.received = close;
                self.outputs.push_back(Output::Drop);
                self.end(now, source);
            }
            (S::Connected(_), Input::NoPong { frame, .. }) => {
                self.close(now, DisconnectionSource::NoPongReceived, frame, false);
            }
            (S::Disconnecting(_), Input::Flushed { .. }) => self.await_end(now),
            (_, Input::Timeout) => self.handle_timeout(now),

            (state, input) => tracing::trace!(state = state.name(), ?input, "ignored"),
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        use ConnectionState as S;

        if self.poll_timeout().is_none_or(|at| now < at) {
            return;
        }
        if self.successor.is_some() {
            return self.handle_successor_timeout(now);
        }
        match (&self.state, self.closing) {
            (_, Some(Closing::Flushing { .. })) => self.await_end(now),
            (S::Disconnecting(source), Some(Closing::AwaitingEnd { .. })) => {
                let source = source.clone();
                self.outputs.push_back(Output::Drop);
                self.end(now, source);
            }
            (S::Connecting | S::Authenticating, None) => {
                self.outputs.push_back(Output::Drop);
                self.end(now, DisconnectionSource::ConnectTimeout { stage: self.stage });
            }
            _ => self.deadline = None,
        }
    }

    fn open(&mut self, now: Instant) {
        self.latest += 1;
        self.generation = self.latest;
        self.wanted = true;
        self.announced = None;
        self.received = None;
        self.addresses = (None, None);
        self.deadline = Some(now + self.limits.connect);
        self.stage = AttemptStage::Dial;
        self.enter(ConnectionState::Connecting);
        self.outputs.push_back(Output::Open { generation: self.generation });
    }

    fn connected(&mut self, info: HealthCheckInfo) {
        self.deadline = None;
        self.ever_connected = true;
        self.enter(ConnectionState::Connected(info));
        self.outputs.push_back(Output::Connected);
    }

    /// The one place that writes the state: the state is stored before it is announced, and cause and
    /// announcement cannot part.
    fn enter(&mut self, state: ConnectionState) {
        tracing::debug!(
            generation = self.generation,
            from = self.state.name(),
            to = state.name(),
            source = state.source().map(tracing::field::display),
            "state"
        );
        self.state = state;
        self.outputs.push_back(Output::Changed(self.snapshot()));
    }

    /// A change of intent alone: to be known, but no change of state.
    fn set_wanted(&mut self, wanted: bool) {
        if self.wanted != wanted {
            self.wanted = wanted;
            self.outputs.push_back(Output::Noted(self.snapshot()));
        }
    }
}
