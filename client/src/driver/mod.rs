//! The driver: one task per client, which owns the socket, the lifecycle and the timers.
//!
//! It decides nothing. A turn is: take what the user wants, move the attempt (dial, read, hooks, write), let
//! time pass; each fact becomes one input of the [`Lifecycle`], and every input is followed by a full drain of
//! its outputs before the next one. The task ends when the last handle is gone and the connection is closed.
//!
//! The poll is written by hand, since received messages are the hot path: they are read in a loop that reads no
//! clock, takes no lock and allocates nothing, and timers are looked at when the socket has nothing more.

mod attempt;
mod hook;
mod outputs;
mod read;
mod renew;
mod settle;
mod span;
mod successor;
mod timers;

use std::{
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use everwire_engine::{CloseFrame, Engine};
use everwire_ping::PingController;
use tokio::{sync::oneshot, task::yield_now};

use self::{attempt::Connection, read::Read, settle::Waiting, successor::Successor, timers::Timer};
use crate::{
    ConnectionState, Credentials, DisconnectionSource, HealthCheckInfo,
    attempt::CONNECT,
    builder::Settings,
    client::{Command, ConnectError, Inbox, Wish},
    core::{Input, Lifecycle},
    decode::EventDecoder,
    delivery::{ClientEvent, Hub},
    health::HealthRecorder,
    send::Pump,
    state::Publisher,
};

/// How many messages are read before the rest of the driver, and then other tasks, get their turn.
const READ_BATCH: usize = 64;
/// How many turns a poll may take before it yields to the runtime. It is one while somebody listens: what is handed over
/// shall be read while it is still in the processor's caches.
const TURNS: usize = 8;

/// See the module's documentation.
pub(crate) struct Driver<E: Engine, D: EventDecoder> {
    engine: Arc<E>,
    decoder: D,
    settings: Settings<D::Event>,

    core: Lifecycle,
    ping: PingController,
    pump: Pump,
    hub: Hub<D::Event>,
    recorder: HealthRecorder,

    /// The last handle is gone.
    orphaned: bool,
    inbox: Inbox,
    snapshots: Publisher,
    waiting: Waiting,

    dial: Option<attempt::Dial<E::Connection>>,
    /// A newer connection that is made beside the live one. Boxed, since it is rare and as large as a connection.
    successor: Option<Box<Successor<E::Connection, D::Event>>>,
    /// The event that made a successor the connection: delivered once that is announced.
    first: Option<Box<(u64, D::Event)>>,
    /// Why the latest successor of this connection failed, for the next one to know.
    replacement_failed: Option<DisconnectionSource>,
    connection: Option<Connection<E::Connection>>,
    /// The frame of the close handshake under way.
    closing: Option<CloseFrame>,
    timer: Timer,

    /// The credentials of the last attempt, to recognise a provider that returns refused ones.
    credentials: Option<Credentials>,
    /// Renewed ones that no server has seen yet: for the next attempt.
    unspent: Option<Credentials>,
    /// Why the next attempt begins, if it does.
    cause: &'static str,
    /// The span of the attempt.
    span: tracing::Span,
    /// How the last attempt ended, for the next one to know.
    previous: Option<DisconnectionSource>,
    /// The last health check of the last connection, for `resubscribe` to know.
    previous_info: Option<HealthCheckInfo>,
    /// Since when the last connection is gone.
    lost_at: Option<Instant>,
    /// The core was told something in this turn.
    told: bool,
    /// What is being decoded, while it is.
    decoding: Option<read::Decoding>,
}

/// What the handles and the driver share, the driver's ends.
pub(crate) struct Ends<Ev> {
    pub(crate) inbox: Inbox,
    pub(crate) snapshots: Publisher,
    pub(crate) pump: Pump,
    pub(crate) hub: Hub<Ev>,
    pub(crate) recorder: HealthRecorder,
}

impl<E: Engine, D: EventDecoder> Driver<E, D> {
    /// Boxed, for a task moves its future some six times, and this one is large.
    pub(crate) fn new(
        engine: E,
        decoder: D,
        settings: Settings<D::Event>,
        ends: Ends<D::Event>,
    ) -> Box<Self> {
        Box::new(Self {
            engine: Arc::new(engine),
            decoder,
            core: Lifecycle::new(settings.limits, settings.needs_health_check)
                .replaceable(settings.make_before_break),
            ping: PingController::new(settings.ping),
            settings,
            pump: ends.pump,
            hub: ends.hub,
            recorder: ends.recorder,
            orphaned: false,
            inbox: ends.inbox,
            snapshots: ends.snapshots,
            waiting: Waiting::default(),
            dial: None,
            successor: None,
            first: None,
            replacement_failed: None,
            connection: None,
            closing: None,
            timer: Timer::default(),
            credentials: None,
            unspent: None,
            cause: CONNECT,
            span: tracing::Span::none(),
            previous: None,
            previous_info: None,
            lost_at: None,
            told: false,
            decoding: None,
        })
    }

    /// Runs until the last handle is gone and the connection is closed. No `async fn`, whose future would hold the driver
    /// twice.
    pub(crate) fn run(mut self: Box<Self>) -> impl Future<Output = ()> + Send {
        poll_fn(move |cx| {
            let poll = self.poll(cx);
            #[cfg(feature = "metrics")]
            self.recorder.publish(self.pump.depth());
            if poll.is_ready() {
                self.pump.close();
                #[cfg(feature = "metrics")]
                self.recorder.end();
            }
            poll
        })
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..TURNS {
            self.told = false;
            // The user's word comes first: it interrupts whatever is under way.
            let mut moved = self.poll_commands(cx);
            moved |= self.poll_dial(cx);
            let read = self.poll_read(cx);
            moved |= self.poll_hooks(cx);
            moved |= self.poll_write(cx);
            moved |= self.poll_successor(cx);
            moved |= self.poll_timers(cx);
            self.hub.flush();
            let listened = self.hub.has_subscribers();
            if listened && (moved || read != Read::Nothing) {
                self.recorder.delivery_queue(self.hub.depth());
            }
            if self.orphaned && self.is_idle() {
                return Poll::Ready(());
            }
            // Messages that the lifecycle does not care for give nobody else something to do, and the socket wakes
            // the task when there are more: another turn would find nothing.
            if !moved && !self.told && read != Read::More {
                return Poll::Pending;
            }
            if listened {
                break;
            }
        }
        // There is more to do, but other tasks have a right to the thread.
        if self.hub.is_ahead() {
            // The future that a runtime was started with has its turn only after dozens of others, unless they wait for
            // the runtime as this does.
            let _ = pin!(yield_now()).poll(cx);
        } else {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn is_idle(&self) -> bool {
        matches!(self.core.state(), ConnectionState::Initialized | ConnectionState::Disconnected(_))
    }

    fn poll_commands(&mut self, cx: &Context<'_>) -> bool {
        let Some(asked) = self.inbox.poll(cx) else { return false };
        for command in asked.commands {
            match command {
                Command::Connect(waiter) => {
                    self.cause = CONNECT;
                    self.tell(Input::Connect);
                    self.wait_for_connection(waiter);
                }
                Command::Disconnect(waiter) => {
                    self.waiting.disconnect(waiter);
                    self.disconnect();
                }
            }
        }
        if asked.orphaned && !self.orphaned {
            self.orphaned = true;
            self.disconnect();
        }
        for wish in asked.wishes {
            self.handle_wish(wish);
        }
        true
    }

    fn wait_for_connection(&mut self, waiter: oneshot::Sender<Result<HealthCheckInfo, ConnectError>>) {
        let generation = self.core.generation();
        match self.core.state() {
            ConnectionState::Connected(info) => {
                self.waiting.connect(generation, waiter);
                self.waiting.connected(generation, &info.clone());
            }
            ConnectionState::Disconnecting(_) => self.waiting.connect(generation + 1, waiter),
            _ => self.waiting.connect(generation, waiter),
        }
    }

    fn disconnect(&mut self) {
        let frame = self.settings.close_frame(&DisconnectionSource::UserInitiated);
        self.tell(Input::Disconnect(frame));
    }

    fn handle_wish(&mut self, wish: Wish) {
        match wish {
            Wish::Reconnect(cause) => {
                if matches!(self.core.state(), ConnectionState::Disconnected(_)) {
                    self.cause = cause;
                }
                self.tell(Input::Reconnect);
            }
            Wish::Disconnect => {
                let frame = self.settings.close_frame(&DisconnectionSource::SystemInitiated);
                self.tell(Input::DisconnectSystem(frame));
            }
            Wish::Abandon(generation) => self.tell(Input::Abandon { generation }),
            Wish::Replace(cause) => {
                if self.core.state().is_connected() {
                    self.cause = cause;
                }
                self.tell(Input::Replace);
            }
            Wish::Probe(deadline) => self.ping.probe(now(), deadline),
            Wish::Notify(event) => self.hub.push(ClientEvent::from(event)),
        }
    }

    /// Tells the core one thing, and does all that it answers before anything else happens.
    fn tell(&mut self, input: Input) {
        // Rare enough: a message reaches this only when it means something to the lifecycle.
        let _inside = self.span.clone().entered();
        self.told = true;
        let stale = self.core.stale();
        self.core.handle(now(), input);
        if self.core.stale() != stale {
            self.recorder.late_event();
        }
        self.drain_outputs();
        if let Some((generation, event)) = self.first.take().map(|first| *first) {
            self.deliver_event(generation, event);
        }
    }
}

/// The driver's clock: that of the runtime, so that tests on paused time work.
#[expect(clippy::disallowed_methods, reason = "the driver is what reads the clock, for all pure cores")]
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
