//! The lifecycle for a model checker: the very core, told facts without payloads that a model has no use for.
//!
//! No part of the public interface: it may change with any release.

use std::{
    hash::Hash,
    net::SocketAddr,
    time::{Duration, Instant},
};

use everwire_engine::{CloseCode, CloseFrame, EngineError, Text};

use crate::{
    ApiError, AuthenticationError, HealthCheckInfo, Snapshot,
    core::{self, Input, Limits, Output},
};

/// The core of a client with the limits of the builder.
#[derive(Clone, Debug)]
pub struct Lifecycle(core::Lifecycle);

/// What a lifecycle is told; see the core's inputs.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "a model tells all that there is")]
#[expect(missing_docs, reason = "the names are those of the core, which explains them")]
pub enum Fact {
    Connect,
    Disconnect,
    Reconnect,
    DisconnectSystem,
    Abandon,
    Replace,
    Opened(Option<SocketAddr>),
    OpenFailed(EngineError),
    AuthenticationFailed(AuthenticationError),
    Established,
    HealthCheck,
    ErrorAnnounced(ApiError),
    GoingAway(Duration),
    Drained,
    Flushed,
    Ended(Option<CloseCode>, Option<EngineError>),
    NoPong,
    Timeout,
}

/// What a lifecycle answers; see the core's outputs.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "a model carries out all that there is")]
#[expect(missing_docs, reason = "the names are those of the core, which explains them")]
pub enum Effect {
    Changed(Snapshot),
    Noted(Snapshot),
    Open { generation: u64 },
    Establish,
    Connected,
    Pong,
    Close { flush: bool },
    SendClose,
    Drop,
    Refused,
    Closed { generation: u64 },
    OpenSuccessor { generation: u64 },
    EstablishSuccessor,
    DropSuccessor,
    ReplacementFailed { generation: u64 },
    HoldQueue,
    CloseReplaced,
    ResumeQueue,
    Switched { old: u64, new: u64 },
    Promoted,
}

impl Lifecycle {
    /// A client that was never connected.
    pub fn new(needs_health_check: bool) -> Self {
        Self(core::Lifecycle::new(Limits::DEFAULT, needs_health_check))
    }

    /// One whose connection may be replaced by another that is made beside it.
    #[must_use]
    pub fn replaceable(self) -> Self {
        Self(self.0.replaceable(true))
    }

    /// Tells one fact. Those of a connection are about the attempt that was current `age` attempts ago.
    pub fn handle(&mut self, now: Instant, fact: Fact, age: u64) {
        let generation = self.0.generation().saturating_sub(age);
        self.0.handle(now, input(fact, generation));
    }

    /// Tells one fact about the newest attempt: the successor where there is one, also one that has ended.
    pub fn handle_newest(&mut self, now: Instant, fact: Fact) {
        let generation = self.0.latest();
        self.0.handle(now, input(fact, generation));
    }

    /// What is to be done next; to be drained after every fact.
    pub fn poll_output(&mut self) -> Option<Effect> {
        self.0.poll_output().map(effect)
    }

    /// When [`Fact::Timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.0.poll_timeout()
    }

    /// What the client is now.
    pub fn snapshot(&self) -> Snapshot {
        self.0.snapshot()
    }

    /// How many facts of old attempts came.
    pub const fn stale(&self) -> u64 {
        self.0.stale()
    }

    /// Whether [`Fact::Drained`] is awaited.
    pub const fn awaits_drain(&self) -> bool {
        self.0.awaits_drain()
    }

    /// Whether [`Fact::Drained`] is awaited for the successor.
    pub fn successor_awaits_drain(&self) -> bool {
        self.0.successor_awaits_drain()
    }

    /// Whether there is a successor that dials or authenticates.
    pub fn successor_is_made(&self) -> bool {
        self.0.successor_is_made()
    }

    /// Whether the connection is read to its end, since its successor is ready.
    pub fn drains_replaced(&self) -> bool {
        self.0.drains_replaced()
    }

    /// All that decides what comes next, with instants as distances from `now` and without the number of the
    /// attempt: two lifecycles whose summaries are equal will never differ again.
    pub fn summary(&self, now: Instant) -> impl Eq + Hash + use<> {
        self.0.summary(now)
    }
}

fn frame(code: CloseCode) -> CloseFrame {
    CloseFrame { code, reason: Text::default() }
}

fn input(fact: Fact, generation: u64) -> Input {
    match fact {
        Fact::Connect => Input::Connect,
        Fact::Disconnect => Input::Disconnect(frame(CloseCode::NORMAL)),
        Fact::Reconnect => Input::Reconnect,
        Fact::DisconnectSystem => Input::DisconnectSystem(frame(CloseCode::SYSTEM)),
        Fact::Abandon => Input::Abandon { generation },
        Fact::Replace => Input::Replace,
        Fact::Opened(local_addr) => Input::Opened { generation, local_addr, peer_addr: None },
        Fact::OpenFailed(error) => Input::OpenFailed { generation, error },
        Fact::AuthenticationFailed(error) => Input::AuthenticationFailed { generation, error },
        Fact::Established => Input::Established { generation },
        Fact::HealthCheck => Input::HealthCheck { generation, info: HealthCheckInfo::default() },
        Fact::ErrorAnnounced(error) => Input::ErrorAnnounced { generation, error },
        Fact::GoingAway(notice) => Input::GoingAway { generation, notice },
        Fact::Drained => Input::Drained { generation, frame: frame(CloseCode::NORMAL) },
        Fact::Flushed => Input::Flushed { generation },
        Fact::Ended(code, error) => Input::Ended { generation, close: code.map(frame), error },
        Fact::NoPong => Input::NoPong { generation, frame: frame(CloseCode::NO_PONG) },
        Fact::Timeout => Input::Timeout,
    }
}

fn effect(output: Output) -> Effect {
    match output {
        Output::Changed(snapshot) => Effect::Changed(snapshot),
        Output::Noted(snapshot) => Effect::Noted(snapshot),
        Output::Open { generation } => Effect::Open { generation },
        Output::Establish => Effect::Establish,
        Output::Connected => Effect::Connected,
        Output::Pong => Effect::Pong,
        Output::Close { flush, .. } => Effect::Close { flush },
        Output::SendClose => Effect::SendClose,
        Output::Drop => Effect::Drop,
        Output::Refused(_) => Effect::Refused,
        Output::Closed(closed) => Effect::Closed { generation: closed.generation },
        Output::OpenSuccessor { generation } => Effect::OpenSuccessor { generation },
        Output::EstablishSuccessor => Effect::EstablishSuccessor,
        Output::DropSuccessor => Effect::DropSuccessor,
        Output::ReplacementFailed { generation, .. } => Effect::ReplacementFailed { generation },
        Output::HoldQueue => Effect::HoldQueue,
        Output::CloseReplaced => Effect::CloseReplaced,
        Output::ResumeQueue => Effect::ResumeQueue,
        Output::Switched { old, new } => Effect::Switched { old, new },
        Output::Promoted => Effect::Promoted,
    }
}
