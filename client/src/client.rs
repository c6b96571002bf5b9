//! The handle that an application holds.

mod system;

use std::{
    error::Error as StdError,
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use everwire_engine::{CloseFrame, Message};
use futures_core::Stream;
use tokio::sync::oneshot;

pub(crate) use self::system::{Inbox, System, User, Wish};
use crate::{
    ConnectionState, DisconnectionSource, HealthCheckInfo, Snapshot,
    builder::ClientBuilder,
    decode::EventDecoder,
    delivery::{ClientEvent, DEFAULT_CAPACITY, Registry, SubscriberPolicy, Subscription},
    health::{Health, HealthRecorder},
    send::{Outbox, Receipt, SendClass, SendOutcome, TrySendError},
    state::Watch,
};

/// A WebSocket client: the handle to its driver. Cheap to clone; all clones are the same client.
///
/// The client *just disconnects when there is an error; it never reconnects by itself*: that is the part of
/// `everwire-recovery`, which is created beside it.
///
/// Dropping the last handle disconnects as [`disconnect`](Self::disconnect) does, in the background, within the
/// close deadline; no task is left.
pub struct Client<Ev> {
    shared: Arc<Shared<Ev>>,
    /// Keeps the client wanted; a background handle, as recovery holds one, has none.
    user: Option<Arc<User>>,
}

pub(crate) struct Shared<Ev> {
    pub(crate) snapshots: Watch,
    pub(crate) outbox: Outbox,
    pub(crate) registry: Registry<Ev>,
    pub(crate) system: Arc<System>,
    pub(crate) health: HealthRecorder,
    pub(crate) user: Weak<User>,
}

impl<Ev> Client<Ev> {
    /// Starts to build a client for a URL, `ws://` or `wss://`; `event_decoder` maps messages to your events. A bad URL
    /// is reported by [`build`](ClientBuilder::build).
    ///
    /// With headers or subprotocols, start from a [`ConnectRequest`](crate::ConnectRequest), and with a URL that is
    /// another one for each attempt from a [`RequestProvider`](crate::RequestProvider), both by
    /// [`ClientBuilder::with_requests`]:
    ///
    /// ```
    /// use everwire_client::{ClientBuilder, ConnectRequest, RawDecoder};
    ///
    /// let request = ConnectRequest::new("wss://chat.example.org/live")?.subprotocol("chat.v2")?;
    /// let builder = ClientBuilder::with_requests(request, RawDecoder).protocol_pings();
    /// # drop(builder);
    /// # Ok::<(), everwire_client::EngineError>(())
    /// ```
    pub fn builder<D: EventDecoder<Event = Ev>>(url: &str, event_decoder: D) -> ClientBuilder<D> {
        ClientBuilder::new(url, event_decoder)
    }

    pub(crate) const fn new(shared: Arc<Shared<Ev>>, user: Arc<User>) -> Self {
        Self { shared, user: Some(user) }
    }

    /// Connects, and waits for the outcome of this attempt.
    ///
    /// While an attempt is under way it joins that attempt; when connected it returns at once; while the old
    /// connection closes it is queued behind the close. The attempt goes on when the future is dropped.
    ///
    /// # Errors
    /// [`ConnectError`] with the source of the disconnection when this very attempt fails. Recovery may well
    /// begin another one; watch [`snapshots`](Self::snapshots) to see it.
    pub async fn connect(&self) -> Result<HealthCheckInfo, ConnectError> {
        let (waiter, settled) = oneshot::channel();
        if let Some(user) = self.user()
            && user.command(Command::Connect(waiter))
            && let Ok(outcome) = settled.await
        {
            return outcome;
        }
        Err(ConnectError { generation: self.state().generation, source: DisconnectionSource::UserInitiated })
    }

    /// Disconnects, for good: it works in every state, interrupts a dial and an authentication at once, and
    /// cancels a pending retry of recovery.
    ///
    /// Queued messages leave within the flush budget (2 s by default), then the close frame goes out with code
    /// 1000 and its answer is read within the close deadline (5 s by default). Idempotent. The disconnect goes
    /// on when the future is dropped after its first poll.
    ///
    /// Messages that are [held](Outgoing::hold) and did not leave go on waiting until their time to live ends, for the
    /// next [`connect`](Self::connect). Where that may be another user's, drop this client and build another one: that
    /// settles them.
    pub async fn disconnect(&self) -> Disconnection {
        let (waiter, settled) = oneshot::channel();
        if let Some(user) = self.user()
            && user.command(Command::Disconnect(waiter))
            && let Ok(disconnection) = settled.await
        {
            return disconnection;
        }
        let generation = self.state().generation;
        Disconnection { generation, source: DisconnectionSource::UserInitiated, received: None }
    }

    /// What the client is now.
    pub fn state(&self) -> Snapshot {
        self.shared.snapshots.latest()
    }

    /// The current snapshot, then the latest after each change; intermediate ones may be skipped. For every
    /// change in order with the events, [`subscribe`](Self::subscribe).
    pub fn snapshots(&self) -> Snapshots {
        Snapshots(self.shared.snapshots.clone())
    }

    /// Waits until the client is connected: now, or after recovery has done its work. `None` when the client
    /// ends before. Cancel-safe.
    pub async fn connected(&self) -> Option<HealthCheckInfo> {
        let mut watch = self.shared.snapshots.clone();
        while let Some(snapshot) = poll_fn(|cx| watch.poll_next(cx)).await {
            if let ConnectionState::Connected(info) = snapshot.state {
                return Some(info);
            }
        }
        None
    }

    /// All events and state changes from now on, in one order. The queue holds 256 items; when it is full,
    /// reading from the socket pauses until there is room.
    pub fn subscribe(&self) -> Subscription<Ev> {
        self.subscribe_with(DEFAULT_CAPACITY, SubscriberPolicy::BackPressure)
    }

    /// As [`subscribe`](Self::subscribe), with a capacity and a policy of your own.
    pub fn subscribe_with(&self, capacity: usize, policy: SubscriberPolicy) -> Subscription<Ev> {
        self.shared.registry.subscribe(capacity, policy)
    }

    /// Sends a message and waits for its outcome: first for room in the queue, then until it is flushed or
    /// known not to be.
    ///
    /// By default a message fails fast while the client is not connected; see [`Outgoing`] for the other
    /// classes. One that may not be sent at all, or is a close frame, is refused at once, and the connection stays
    /// ([`Invalid`](crate::NotSentReason::Invalid), [`CloseFrame`](crate::NotSentReason::CloseFrame)). Dropping the future before it has found room withdraws the message; after that it is sent all
    /// the same.
    pub async fn send(&self, message: impl Into<Outgoing>) -> SendOutcome {
        self.queue(message).await.await
    }

    /// Queues a message, waiting for room, and returns the receipt that resolves to its outcome. For many
    /// messages in flight at once: they leave with one flush.
    pub fn queue(&self, message: impl Into<Outgoing>) -> impl Future<Output = Receipt> + Send {
        let Outgoing { message, class } = message.into();
        self.shared.outbox.push(message, class)
    }

    /// Queues a message if there is room now.
    ///
    /// # Errors
    /// [`TrySendError`] gives the message back and says why: the queue is full, the client is not connected or is
    /// disconnecting, the message was for another connection or may not be sent at all, or the client has ended.
    pub fn try_send(&self, message: impl Into<Outgoing>) -> Result<Receipt, TrySendError> {
        let Outgoing { message, class } = message.into();
        self.shared.outbox.try_push(message, class)
    }

    /// The figures of this client's health, for a dashboard.
    pub fn health(&self) -> Health {
        self.shared.health.read(crate::driver::now(), self.shared.outbox.depth())
    }

    /// Connects again if the user still wants a connection and there is none: for recovery. A user's
    /// `disconnect` that came before wins.
    pub fn reconnect(&self) {
        self.reconnect_because("reconnect");
    }

    /// As [`reconnect`](Self::reconnect), with a short word that says why: [`Attempt::cause`](crate::Attempt::cause)
    /// and the attempt's span have it.
    pub fn reconnect_because(&self, cause: &'static str) {
        self.shared.system.wish(Wish::Reconnect(cause));
    }

    /// Disconnects with the source `SystemInitiated`, never overriding the user: for recovery.
    pub fn disconnect_system(&self) {
        self.shared.system.wish(Wish::Disconnect);
    }

    /// Drops the connection of this generation, or the attempt, with the source `SystemInitiated` and without a close
    /// handshake: for recovery, when its path is known to be dead. Does nothing when another one has taken its place in
    /// the meantime.
    pub fn abandon(&self, generation: u64) {
        self.shared.system.wish(Wish::Abandon(generation));
    }

    /// Makes a newer connection beside the live one and puts it in its place: for recovery, and for an
    /// application that knows of a better path. Does nothing unless the client is connected, is
    /// [able to](crate::ClientBuilder::make_before_break), and is not at it already.
    ///
    /// The outcome comes as [`ClientEvent::Replaced`] or [`ClientEvent::ReplacementFailed`]; in the latter case the
    /// connection is the old one still.
    pub fn replace(&self) {
        self.replace_because("replace");
    }

    /// As [`replace`](Self::replace), with a short word that says why: [`Attempt::cause`](crate::Attempt::cause) and
    /// the attempt's span have it.
    pub fn replace_because(&self, cause: &'static str) {
        self.shared.system.wish(Wish::Replace(cause));
    }

    /// Sends a ping at once, whose pong is due within `deadline`; otherwise the client disconnects with
    /// `NoPongReceived`. Does nothing unless connected.
    pub fn probe(&self, deadline: Duration) {
        self.shared.system.wish(Wish::Probe(deadline));
    }

    /// Tells subscribers what recovery has found out.
    pub fn notify(&self, notice: PathNotice) {
        self.shared.system.wish(Wish::Notify(notice));
    }

    /// A handle that does not keep the client wanted: the client ends when the last other handle is dropped.
    /// For what works beside the application, such as recovery.
    #[must_use]
    pub fn into_background(self) -> Self {
        Self { shared: self.shared, user: None }
    }

    /// The way to the driver; from a background handle only while there is another one.
    fn user(&self) -> Option<Arc<User>> {
        self.user.clone().or_else(|| self.shared.user.upgrade())
    }
}

impl<Ev> Clone for Client<Ev> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), user: self.user.clone() }
    }
}

impl<Ev> fmt::Debug for Client<Ev> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshot = self.state();
        f.debug_struct("Client")
            .field("state", &snapshot.state.name())
            .field("generation", &snapshot.generation)
            .finish_non_exhaustive()
    }
}

/// See [`Client::snapshots`]. Ends when the client has ended.
pub struct Snapshots(Watch);

impl Stream for Snapshots {
    type Item = Snapshot;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Snapshot>> {
        self.0.poll_next(cx)
    }
}

impl fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshots").finish_non_exhaustive()
    }
}

/// A message and what is to become of it while there is no connection. Every message is one, with the class
/// [`FailFast`](SendClass::FailFast).
///
/// ```
/// use everwire_client::Outgoing;
/// use std::time::Duration;
///
/// // Waits for a connection, for a minute at most.
/// let patient = Outgoing::from("hello").hold(Duration::from_secs(60));
/// // May arrive twice: sent again when its connection died before it was certainly flushed.
/// let idempotent = Outgoing::from("mark-read 17").idempotent(Duration::from_secs(60));
/// // The answer to what came on connection 3; the server of connection 4 would not understand it.
/// let answer = Outgoing::from("present").on_connection(3);
/// ```
#[derive(Clone, Debug)]
pub struct Outgoing {
    message: Message,
    class: SendClass,
}

impl Outgoing {
    /// Sent on the connection of this generation or not at all: for the answer to what came on it.
    #[must_use]
    pub const fn on_connection(mut self, generation: u64) -> Self {
        self.class = SendClass::OnConnection { generation };
        self
    }

    /// Held until the client is connected, for at most `ttl`; once it is queued, a `disconnect` of the user's does not
    /// end that. While that disconnect is under way nothing is accepted.
    #[must_use]
    pub const fn hold(mut self, ttl: Duration) -> Self {
        self.class = SendClass::Hold { ttl };
        self
    }

    /// Held as with [`hold`](Self::hold), and sent again when its connection died unconfirmed.
    #[must_use]
    pub const fn idempotent(mut self, ttl: Duration) -> Self {
        self.class = SendClass::Idempotent { ttl };
        self
    }
}

impl<M: Into<Message>> From<M> for Outgoing {
    fn from(message: M) -> Self {
        Self { message: message.into(), class: SendClass::FailFast }
    }
}

/// Why an attempt did not lead to a connection: `Display` says all that is known, on one line, and
/// [`source`](StdError::source) is the error beneath it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectError {
    /// Which attempt.
    pub generation: u64,
    /// How it ended.
    pub source: DisconnectionSource,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "attempt {} ended with {}", self.generation, self.source)
    }
}

impl StdError for ConnectError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.source {
            DisconnectionSource::ServerInitiated(reason) => {
                reason.engine_error.as_ref().and_then(StdError::source)
            }
            DisconnectionSource::AuthenticationFailed(error) => error.source(),
            _ => None,
        }
    }
}

/// How a connection ended, as [`Client::disconnect`] returns it: who closed, and with what.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Disconnection {
    /// Which attempt; 0 when there was none.
    pub generation: u64,
    /// Who closed, and why.
    pub source: DisconnectionSource,
    /// The close frame with which the peer answered ours; `None` when it did not within the deadline.
    pub received: Option<CloseFrame>,
}

/// What recovery tells the application of the connection's path, through the client's subscriptions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PathNotice {
    /// The connection still works, and a new one would be better.
    ReconnectSuggested,
    /// Whether the connection can still carry anything, as far as the system tells.
    ViabilityChanged(bool),
}

impl<Ev> From<PathNotice> for ClientEvent<Ev> {
    fn from(notice: PathNotice) -> Self {
        match notice {
            PathNotice::ReconnectSuggested => Self::ReconnectSuggested,
            PathNotice::ViabilityChanged(viable) => Self::ViabilityChanged(viable),
        }
    }
}

/// What the user asks of the driver.
#[derive(Debug)]
pub(crate) enum Command {
    Connect(oneshot::Sender<Result<HealthCheckInfo, ConnectError>>),
    Disconnect(oneshot::Sender<Disconnection>),
}
