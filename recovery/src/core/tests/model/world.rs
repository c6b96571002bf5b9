//! The world of the model: the three cores, what their drivers do with their outputs, and what is on its way
//! between them.

use std::{
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard},
};

use everwire_client::{
    Replacement,
    model::{Effect, Fact, Lifecycle as ClientCore},
};
use everwire_ping::{PingClient, PingConfig, PingController};
use futures_core::Stream;

use super::{super::*, bugs::Bug, replacing::Beside};
use crate::{RecoverableClient, driver};

/// What recovery asked of the client and the client has not looked at yet.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Wish {
    Reconnect,
    Disconnect,
    /// The connection of this generation.
    Abandon(u64),
    Replace,
    Probe(Duration),
}

/// A rule that did not hold.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Fault {
    /// An attempt went another way than the one way round, or ended twice.
    Way,
    /// Something opened against the user's word.
    User,
    /// A dial began beside a dial or a socket; a successor, beside another or without a connection.
    Second,
    /// Recovery asked the client to connect although it saw it connected or unwanted, or to replace a connection
    /// that it did not see.
    Order,
    /// A timer fired and is still due.
    Spin,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and a model multiplies them")]
pub(super) struct World {
    pub(super) client: ClientCore,
    pub(super) ping: PingController,
    /// A checker's threads share worlds, and the parts of the core promise `Send` alone.
    recovery: Mutex<RecoveryCore>,
    pub(super) now: Instant,
    pub(super) needs_health_check: bool,
    /// Every draw of the ladder depends on it alone.
    pub(super) luck: u64,
    bug: Option<Bug>,

    /// The client's snapshot as its handles see it, and whether recovery has yet to look at it.
    pub(super) stored: Snapshot,
    pub(super) unseen: bool,
    pub(super) wishes: VecDeque<Wish>,
    pub(super) dialling: bool,
    pub(super) socket: bool,
    /// The successor of the connection, and what it has left behind.
    pub(super) beside: Beside,
    /// The close handshake, or the hand-over: what is queued leaves first; then the frame is out.
    pub(super) flushing: bool,
    /// A message was accepted and its sender waits for the outcome.
    pub(super) message: bool,
    /// Somebody waits for the attempt of this generation; somebody waits for the end.
    pub(super) connects: Option<u64>,
    pub(super) disconnects: bool,

    /// The user's last word.
    pub(super) wants: bool,
    /// An attempt began and has not ended.
    pub(super) attempt: bool,
    /// The last thing that recovery decided was a stop.
    pub(super) told_stop: bool,
    pub(super) fault: Option<Fault>,
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "a starting point; only differences to it matter")]
    pub(super) fn new(needs_health_check: bool, luck: u64, bug: Option<Bug>) -> Self {
        Self {
            client: ClientCore::new(needs_health_check),
            ping: PingController::new(PingConfig::default()),
            recovery: Mutex::new(RecoveryCore::new(Rng::seeded(luck))),
            now: Instant::now(),
            needs_health_check,
            luck,
            bug,
            stored: Snapshot::initialized(),
            unseen: false,
            wishes: VecDeque::new(),
            dialling: false,
            socket: false,
            beside: Beside::default(),
            flushing: false,
            message: false,
            connects: None,
            disconnects: false,
            wants: false,
            attempt: false,
            told_stop: false,
            fault: None,
        }
    }

    /// The same with a client whose connection may be replaced.
    pub(super) fn replaceable(mut self) -> Self {
        self.client = self.client.replaceable();
        self.stored = self.client.snapshot();
        self
    }

    pub(super) fn recovery(&self) -> MutexGuard<'_, RecoveryCore> {
        self.recovery.lock().unwrap()
    }

    pub(super) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    pub(super) const fn state(&self) -> &ConnectionState {
        &self.stored.state
    }

    pub(super) const fn is_idle(&self) -> bool {
        matches!(self.stored.state, ConnectionState::Initialized | ConnectionState::Disconnected(_))
    }

    pub(super) fn is_stopped(&self) -> bool {
        matches!(self.recovery().slot, Slot::Stopped { .. })
    }

    pub(super) fn is_background(&self) -> bool {
        self.recovery().lifecycle == Lifecycle::Background
    }

    /// When the client's task wants to be called.
    pub(super) fn client_timer(&self) -> Option<Instant> {
        [self.client.poll_timeout(), self.ping.next_timeout()].into_iter().flatten().min()
    }

    /// When recovery's task wants to be called.
    pub(super) fn recovery_timer(&self) -> Option<Instant> {
        let recovery = self.recovery();
        let lost = self.has(Bug::HintIsALock) && recovery.network.is_offline();
        recovery.poll_timeout().filter(|_| !lost)
    }

    /// Tells the client's core one thing, and does all that it answers.
    pub(super) fn tell(&mut self, fact: Fact) {
        self.client.handle(self.now, fact, 0);
        self.drain_client();
    }

    pub(super) fn drain_client(&mut self) {
        while let Some(effect) = self.client.poll_output() {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Changed(snapshot) => self.enter(snapshot),
            Effect::Noted(snapshot) => self.store(snapshot),
            Effect::Open { .. } => {
                if !self.wants {
                    self.fault.get_or_insert(Fault::User);
                }
                if self.dialling || self.socket {
                    self.fault.get_or_insert(Fault::Second);
                }
                self.dialling = true;
            }
            Effect::Establish => {}
            Effect::SendClose => self.flushing = false,
            Effect::Connected => {
                self.ping.connection_state_changed(self.now, true);
                if self.connects.is_some_and(|of| of <= self.stored.generation) {
                    self.connects = None;
                }
            }
            Effect::Pong => {
                self.ping.pong_received(self.now);
            }
            Effect::Close { flush } => {
                self.flushing = flush;
                if !self.has(Bug::PingOutlivesTheConnection) {
                    self.ping.connection_state_changed(self.now, false);
                }
            }
            Effect::Drop => {
                (self.dialling, self.socket, self.flushing) = (false, false, false);
                if !self.has(Bug::PingOutlivesTheConnection) {
                    self.ping.connection_state_changed(self.now, false);
                }
                // What was handed over is MaybeSent, what was not is NotSent.
                self.message = self.message && self.has(Bug::MessageDroppedInSilence);
            }
            Effect::Refused => self.connects = None,
            Effect::Closed { generation } => {
                if self.connects.is_some_and(|of| of <= generation) {
                    self.connects = None;
                }
                self.disconnects = false;
            }
            about_successor => self.carry_out_beside(about_successor),
        }
    }

    fn enter(&mut self, snapshot: Snapshot) {
        use ConnectionState as S;

        let legal = match (&self.stored.state, &snapshot.state) {
            (S::Initialized | S::Disconnected(_), S::Connecting) => {
                !std::mem::replace(&mut self.attempt, true)
            }
            (S::Connecting, S::Authenticating)
            | (S::Authenticating, S::Connected(_))
            | (
                S::Connecting | S::Authenticating | S::Connected(_) | S::Disconnecting(_),
                S::Disconnecting(_),
            ) => self.attempt,
            (S::Connected(_), S::Connected(_)) => {
                self.attempt && self.beside.switches_to(snapshot.generation)
            }
            (
                S::Connecting | S::Authenticating | S::Connected(_) | S::Disconnecting(_),
                S::Disconnected(_),
            ) => std::mem::replace(&mut self.attempt, false),
            _ => false,
        };
        if !legal {
            self.fault.get_or_insert(Fault::Way);
        }
        self.store(snapshot);
    }

    fn store(&mut self, snapshot: Snapshot) {
        let ended = matches!(snapshot.state, ConnectionState::Disconnected(_));
        let failed = matches!(snapshot.replacement, Replacement::Failed { .. });
        let lost = (self.has(Bug::EndIsNotTold) && ended)
            || (self.has(Bug::FailedSuccessorIsNotTold) && failed && !ended);
        self.stored = snapshot;
        self.unseen |= !lost;
    }

    /// Tells recovery's core one thing, and does all that it answers.
    pub(super) fn advise(&mut self, input: Input) {
        let silent = self.has(Bug::StopIsSilent);
        let core = self.recovery.get_mut().unwrap();
        core.ladder = core.ladder.fork(self.luck);
        core.handle(self.now, input);
        let asks = Asks::default();
        while let Some(output) = core.poll_output() {
            let Output::Decision(decision) = output else { continue };
            self.told_stop = matches!(decision, Decision::Stop { .. }) && !silent;
            let may = core.client.wanted && matches!(core.client.state, ConnectionState::Disconnected(_));
            if matches!(decision, Decision::Connect { .. }) && !may {
                self.fault.get_or_insert(Fault::Order);
            }
            let may = core.client.wanted && core.client.can_replace && core.client.state.is_connected();
            if matches!(decision, Decision::Replace { .. }) && !may {
                self.fault.get_or_insert(Fault::Order);
            }
            driver::carry_out(&asks, decision);
        }
        for wish in asks.take() {
            self.wish(wish);
        }
    }

    /// As the client does: the latest of a kind counts.
    pub(super) fn wish(&mut self, wish: Wish) {
        self.wishes.retain(|other| std::mem::discriminant(other) != std::mem::discriminant(&wish));
        self.wishes.push_back(wish);
    }

    /// The client looks at what recovery asked for.
    pub(super) fn grant(&mut self) {
        match self.wishes.pop_front() {
            Some(Wish::Reconnect) if self.has(Bug::RetryRevivesAWithdrawnWish) => self.tell(Fact::Connect),
            Some(Wish::Reconnect) => self.tell(Fact::Reconnect),
            Some(Wish::Disconnect) => self.tell(Fact::DisconnectSystem),
            Some(Wish::Abandon(generation)) => {
                self.client.handle(self.now, Fact::Abandon, self.stored.generation - generation);
                self.drain_client();
            }
            Some(Wish::Replace) => self.tell(Fact::Replace),
            Some(Wish::Probe(deadline)) => self.ping.probe(self.now, deadline),
            None => {}
        }
    }

    pub(super) fn fire_client(&mut self) {
        self.now = self.now.max(self.client_timer().unwrap_or(self.now));
        self.tell(Fact::Timeout);
        let mut asked = Asked::default();
        self.ping.handle_timeout(self.now, &mut asked);
        if asked.disconnect && self.socket {
            self.tell(Fact::NoPong);
        }
        if self.client_timer().is_some_and(|at| at <= self.now) {
            self.fault.get_or_insert(Fault::Spin);
        }
    }

    pub(super) fn fire_recovery(&mut self) {
        self.now = self.now.max(self.recovery_timer().unwrap_or(self.now));
        self.advise(Input::Timeout);
        if self.recovery_timer().is_some_and(|at| at <= self.now) {
            self.fault.get_or_insert(Fault::Spin);
        }
    }
}

/// Two worlds are one if they differ only in when they happen, and in counters on which nothing depends.
impl Hash for World {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.client.summary(self.now).hash(hasher);
        self.ping.relative_to(self.now).hash(hasher);
        let failed = match self.stored.replacement {
            Replacement::Failed { generation, .. } => Some(generation),
            _ => None,
        };
        self.recovery().summary(self.now, failed).hash(hasher);
        (self.needs_health_check, self.luck, self.unseen, self.wishes.len()).hash(hasher);
        for wish in &self.wishes {
            match *wish {
                Wish::Abandon(generation) => Wish::Abandon((self.stored.generation - generation).min(2)),
                other => other,
            }
            .hash(hasher);
        }
        (self.dialling, self.socket, self.flushing, self.message).hash(hasher);
        self.beside.summary().hash(hasher);
        let generation = self.stored.generation;
        let behind = generation - self.recovery().client.generation;
        (self.connects.map(|of| of > generation), self.disconnects, behind.min(2)).hash(hasher);
        (self.wants, self.attempt, self.told_stop, self.fault).hash(hasher);
    }
}

impl PartialEq for World {
    fn eq(&self, other: &Self) -> bool {
        let [this, other] = [self, other].map(|world| {
            let mut hasher = std::hash::DefaultHasher::new();
            world.hash(&mut hasher);
            hasher.finish()
        });
        this == other
    }
}

impl Clone for World {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
            ping: self.ping.clone(),
            recovery: Mutex::new(self.recovery().clone()),
            stored: self.stored.clone(),
            wishes: self.wishes.clone(),
            ..*self
        }
    }
}

/// For the story of a rule that does not hold.
impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.recovery().status();
        write!(f, "{} wanted {} unseen {}", self.stored.state.name(), self.stored.wanted, self.unseen)?;
        write!(f, " dial {} socket {} beside {:?}", self.dialling, self.socket, self.beside)?;
        write!(f, " wishes {:?} fault {:?} recovery {status:?}", self.wishes, self.fault)
    }
}

/// What the ping controller asked for.
#[derive(Default)]
struct Asked {
    disconnect: bool,
}

impl PingClient for Asked {
    fn send_ping(&mut self) {}

    fn disconnect_no_pong_received(&mut self) {
        self.disconnect = true;
    }
}

/// Collects what recovery's own driver asks of a client.
#[derive(Clone, Default)]
struct Asks(Arc<Mutex<Vec<Wish>>>);

impl Asks {
    fn ask(&self, wish: Wish) {
        self.0.lock().unwrap().push(wish);
    }

    fn take(&self) -> Vec<Wish> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl RecoverableClient for Asks {
    fn snapshots(&self) -> impl Stream<Item = Snapshot> + Send + Unpin + 'static {
        futures_util::stream::pending()
    }

    fn reconnect(&self) {
        self.ask(Wish::Reconnect);
    }

    fn disconnect_system(&self) {
        self.ask(Wish::Disconnect);
    }

    fn abandon(&self, generation: u64) {
        self.ask(Wish::Abandon(generation));
    }

    fn replace(&self) {
        self.ask(Wish::Replace);
    }

    fn probe(&self, deadline: Duration) {
        self.ask(Wish::Probe(deadline));
    }
}

/// A copy with the parts of the start, which have no state of their own.
impl Clone for RecoveryCore {
    fn clone(&self) -> Self {
        Self {
            options: self.options.clone(),
            decide: Box::new(DecisionTable::default()),
            policy: crate::default_policy(&self.options),
            ladder: self.ladder.fork(0),
            client: self.client.clone(),
            network: self.network.clone(),
            outputs: self.outputs.clone(),
            ..*self
        }
    }
}

impl RecoveryCore {
    /// All that decides what comes next, with instants as distances from `now`; distances beyond which nothing
    /// depends on them are cut.
    fn summary(&self, now: Instant, failed: Option<u64>) -> impl Eq + Hash + use<> {
        let options = &self.options;
        let until = |at: Instant| at.saturating_duration_since(now);
        let since = |at: Instant, limit: Duration| now.saturating_duration_since(at).min(limit);
        let slot = match self.slot {
            Slot::Idle => (0, None, None, None, None),
            Slot::Waiting { at, cause, told } => (1, at.map(until), Some(cause), told.map(until), None),
            Slot::Asked => (2, None, None, None, None),
            Slot::Stopped { reason, .. } => (3, None, None, None, Some(reason)),
        };
        let attempt = self.attempt;
        let flags = (attempt.opened, attempt.stable, attempt.judged, attempt.intent, self.ever_connected);
        let times = (
            attempt.began.map(|at| since(at, options.offline_poll)),
            attempt.connected.map(|at| since(at, options.stable_after)),
            attempt.probed.map(|at| since(at, options.probe_deadline)),
            attempt
                .suspicion
                .filter(|(_, until)| until.is_none_or(|until| until >= now))
                .map(|(cause, at)| (cause, at.map(until))),
            self.background_at.map(until),
        );
        let client = (self.client.state.name(), self.client.wanted, self.client.local_addr);
        let network = (self.network.reachability, self.network.local_addr, self.network.addresses.clone());
        let said = (self.suggested, self.viable, self.lifecycle, self.outage.refusals.min(1));
        let known = (client, network, said, self.ladder.summary(now, options));
        let replacing = self.replacing.summary(now, options.replace_interval, failed);
        (slot, flags, times, known, self.outage.began.is_some(), replacing)
    }
}
