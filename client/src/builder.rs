//! How a client is assembled.

use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use everwire_engine::{CloseCode, CloseFrame, ConnectRequest, Engine, EngineError, Message, Text};
use everwire_ping::PingConfig;

use crate::{
    Client, DisconnectionSource, HealthCheckInfo, RequestProvider, Snapshot,
    attempt::{self, Requests},
    client::{Inbox, Shared, System, User},
    core::Limits,
    decode::EventDecoder,
    delivery::{Hub, Registry},
    driver::{Driver, Ends},
    health::HealthRecorder,
    hooks::{self, Authenticate, ConnectionScope, HandshakeHandle, OnConnected},
    send::{Pump, SendLimits},
    state::Publisher,
};

mod credentials;
mod error;
mod ping;

pub(crate) use credentials::CredentialSettings;
use credentials::CredentialSetup;
pub use error::BuildError;
pub use ping::{ConnectedOn, PingRequest};

pub(crate) type Handler<Ev> = Box<dyn FnMut(&Ev) + Send>;
pub(crate) type PingBuilder = Arc<dyn Fn(&HealthCheckInfo) -> Option<Message> + Send + Sync>;
pub(crate) type CloseFrames = Arc<dyn Fn(&DisconnectionSource) -> CloseFrame + Send + Sync>;

/// Everything that the driver needs to know, checked.
pub(crate) struct Settings<Ev> {
    pub(crate) limits: Limits,
    pub(crate) needs_health_check: bool,
    pub(crate) ping: PingConfig,
    /// Whether there are pings at all.
    pub(crate) pings: bool,
    pub(crate) ping_request: PingBuilder,
    pub(crate) write_timeout: Duration,
    pub(crate) requests: Requests,
    /// `None` without a provider.
    pub(crate) credentials: Option<CredentialSettings>,
    pub(crate) on_established: Option<Authenticate>,
    pub(crate) resubscribe: Option<OnConnected>,
    pub(crate) on_connected: Option<OnConnected>,
    pub(crate) handler: Option<Handler<Ev>>,
    pub(crate) close_frames: CloseFrames,
    pub(crate) make_before_break: bool,
}

impl<Ev> Settings<Ev> {
    /// What the application chose, unless it may not be sent: no engine would take it.
    pub(crate) fn close_frame(&self, source: &DisconnectionSource) -> CloseFrame {
        let frame = (self.close_frames)(source);
        match frame.check() {
            Ok(()) => frame,
            Err(error) => {
                tracing::warn!(%error, "what `close_codes` chose may not be sent; the default is");
                default_close_frame(source)
            }
        }
    }
}

/// Assembles a [`Client`]. Each setter names its default; [`build`](Self::build) checks everything and starts
/// the client's driver.
pub struct ClientBuilder<D: EventDecoder> {
    requests: Result<Requests, EngineError>,
    decoder: D,
    connected_on: ConnectedOn,
    ping_request: PingRequest,
    ping_request_builder: Option<PingBuilder>,
    ping: PingConfig,
    limits: Limits,
    write_timeout: Duration,
    send_limits: SendLimits,
    credentials: CredentialSetup,
    on_established: Option<Authenticate>,
    resubscribe: Option<OnConnected>,
    on_connected: Option<OnConnected>,
    handler: Option<Handler<D::Event>>,
    close_frames: CloseFrames,
    make_before_break: bool,
}

impl<D: EventDecoder> ClientBuilder<D> {
    pub(crate) fn new(url: &str, decoder: D) -> Self {
        Self::from_requests(ConnectRequest::new(url).map(attempt::erase), decoder)
    }

    /// Starts from a [`ConnectRequest`] (headers, subprotocols) or any other [`RequestProvider`], asked once per
    /// attempt.
    pub fn with_requests(requests: impl RequestProvider, decoder: D) -> Self {
        Self::from_requests(Ok(attempt::erase(requests)), decoder)
    }

    fn from_requests(requests: Result<Requests, EngineError>, decoder: D) -> Self {
        Self {
            requests,
            decoder,
            connected_on: ConnectedOn::default(),
            ping_request: PingRequest::default(),
            ping_request_builder: None,
            ping: PingConfig::default(),
            limits: Limits::DEFAULT,
            write_timeout: Duration::from_secs(10),
            send_limits: SendLimits::default(),
            credentials: CredentialSetup::default(),
            on_established: None,
            resubscribe: None,
            on_connected: None,
            handler: None,
            close_frames: Arc::new(default_close_frame),
            make_before_break: false,
        }
    }

    /// Called when the socket is open, before anything else may use it: send the authentication here, and read
    /// the answers to it if there is a challenge. An error ends the attempt with `AuthenticationFailed`; any error will
    /// do, by `?` too, and an [`AuthenticationError`](crate::AuthenticationError) keeps its kind.
    pub fn on_connection_established<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(HandshakeHandle) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Box<dyn StdError + Send + Sync>>> + Send + 'static,
    {
        self.on_established = Some(hooks::authenticate("on_connection_established", hook));
        self
    }

    /// Called when the connection is fully established, before queued messages flow: subscribe to everything
    /// again. Queued messages wait for it, at most as long as an authentication may take.
    pub fn resubscribe<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(ConnectionScope) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.resubscribe = Some(Arc::new(move |scope| Box::pin(hook(scope))));
        self
    }

    /// Called once per connection, when it is fully established. The work may last; it is dropped with its
    /// connection.
    pub fn on_connected<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(ConnectionScope) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.on_connected = Some(Arc::new(move |scope| Box::pin(hook(scope))));
        self
    }

    /// Called for every event, inside the driver: the fastest path, without a queue. **It must not block**: while
    /// it runs nothing is read, written or pinged. A panic is contained and reported.
    pub fn on_event(mut self, handler: impl FnMut(&D::Event) + Send + 'static) -> Self {
        self.handler = Some(Box::new(handler));
        self
    }

    /// How long an attempt may take until the socket is open, credentials and request included. By default 15 s. The
    /// engine has deadlines of its own for each of its stages. What was under way when it passes is the
    /// [`AttemptStage`](crate::AttemptStage) of the `ConnectTimeout`: `Credentials`, `Request` or `Dial`.
    pub fn open_timeout(mut self, timeout: Duration) -> Self {
        self.limits.connect = timeout;
        self
    }

    /// How long the authentication and the first health check may take. By default 10 s. When it passes, the
    /// [`AttemptStage`](crate::AttemptStage) of the `ConnectTimeout` is `Authentication` while
    /// [`on_connection_established`](Self::on_connection_established) runs, and `HealthCheck` after it.
    pub fn authentication_timeout(mut self, timeout: Duration) -> Self {
        self.limits.authenticate = timeout;
        self
    }

    /// How long queued messages may take to leave when the user disconnects. By default 2 s.
    pub fn flush_timeout(mut self, timeout: Duration) -> Self {
        self.limits.flush = timeout;
        self
    }

    /// How long the peer may take to answer a close frame; then the socket is dropped. By default 5 s, and at
    /// most 1 s when the peer or the path is believed dead.
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.limits.close = timeout;
        self.limits.close_dead = timeout.min(Duration::from_secs(1));
        self
    }

    /// How long a write may make no progress; then the connection counts as broken. By default 10 s.
    /// When a write fails, what has arrived is read before the connection ends, for this long at most.
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = timeout;
        self
    }

    /// The bounds of the send queue. By default 1,024 messages and 4 MiB.
    pub fn send_limits(mut self, limits: SendLimits) -> Self {
        self.send_limits = limits;
        self
    }

    /// Which close frame is sent for which reason. By default 1000 for the user, 4001 for a missing pong, 4000
    /// for the system, 4002 for a connection that was replaced, 1000 in answer to an error that the server announced. A
    /// frame that [may not be sent](CloseFrame::check) is traced, and the default one goes out.
    pub fn close_codes(
        mut self,
        frames: impl Fn(&DisconnectionSource) -> CloseFrame + Send + Sync + 'static,
    ) -> Self {
        self.close_frames = Arc::new(frames);
        self
    }

    /// Whether a newer connection may be made and authenticated beside the live one, to take its place without a
    /// gap: when a better path appears or the server announces that it goes away. By default not, since many
    /// protocols forbid two sessions of one user.
    ///
    /// The old connection works until the new one is authenticated. Then it gets no more messages, is closed with
    /// 4002 and read to its end; after that [`resubscribe`](Self::resubscribe) runs, what waits is sent, and the new
    /// one is read on. All of this takes no longer than the close deadline once the new one is ready. In the
    /// meantime the decoder sees messages of both.
    pub fn make_before_break(mut self, make_before_break: bool) -> Self {
        self.make_before_break = make_before_break;
        self
    }

    /// Checks everything, and starts the client on this engine. The client does not connect yet.
    ///
    /// # Errors
    /// [`BuildError`] names the setting that is wrong and says why; also when there is no tokio runtime here.
    pub fn build<E: Engine>(self, engine: E) -> Result<Client<D::Event>, BuildError> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|error| {
            BuildError::new("runtime", "there is no tokio runtime here", Some(Box::new(error)))
        })?;
        self.check()?;
        let ping_request = self.ping_builder()?;
        // What is wrong with it is among these words, and must not be looked for behind them.
        let requests = self.requests.map_err(|error| BuildError::new("url", error.to_string(), None))?;
        let settings = Settings {
            limits: self.limits,
            needs_health_check: self.connected_on == ConnectedOn::HealthCheck,
            ping: self.ping,
            pings: self.ping_request != PingRequest::Off,
            ping_request,
            write_timeout: self.write_timeout,
            requests,
            credentials: self.credentials.finish(),
            on_established: self.on_established,
            resubscribe: self.resubscribe,
            on_connected: self.on_connected,
            handler: self.handler,
            close_frames: self.close_frames,
            make_before_break: self.make_before_break,
        };

        let (snapshots_end, snapshots) = Publisher::new(Snapshot::initialized());
        let (outbox, pump) = Pump::new(self.send_limits);
        let registry = Registry::new();
        let hub = Hub::new(registry.clone());
        let recorder = HealthRecorder::default();
        let system = Arc::new(System::default());
        let user = Arc::new(User(Arc::clone(&system)));
        let shared = Shared {
            snapshots,
            outbox,
            registry,
            system: Arc::clone(&system),
            health: recorder.clone(),
            user: Arc::downgrade(&user),
        };
        let ends = Ends { inbox: Inbox(system), snapshots: snapshots_end, pump, hub, recorder };
        runtime.spawn(Driver::new(engine, self.decoder, settings, ends).run());
        Ok(Client::new(Arc::new(shared), user))
    }

    fn check(&self) -> Result<(), BuildError> {
        self.check_pings()?;
        self.credentials.check()?;
        for (field, duration, why) in [
            ("open_timeout", self.limits.connect, "no attempt could ever succeed"),
            ("authentication_timeout", self.limits.authenticate, "no connection could ever be authenticated"),
            ("close_timeout", self.limits.close, "no peer could ever answer a close frame"),
            (
                "write_timeout",
                self.write_timeout,
                "the first write that has to wait would end the connection",
            ),
        ] {
            if duration.is_zero() {
                return Err(BuildError::new(field, format!("it is zero, so that {why}"), None));
            }
        }
        if self.send_limits.messages() == 0 {
            return Err(BuildError::new("send_limits", "no message could ever be queued", None));
        }
        Ok(())
    }
}

fn default_close_frame(source: &DisconnectionSource) -> CloseFrame {
    let (code, reason) = match source {
        DisconnectionSource::NoPongReceived => (CloseCode::NO_PONG, "no pong received"),
        DisconnectionSource::SystemInitiated => (CloseCode::SYSTEM, "reconnecting"),
        DisconnectionSource::Replaced => (CloseCode::REPLACED, "replaced"),
        _ => (CloseCode::NORMAL, ""),
    };
    CloseFrame { code, reason: Text::from_static(reason) }
}

impl<D: EventDecoder> fmt::Debug for ClientBuilder<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("connected_on", &self.connected_on)
            .field("ping", &self.ping)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
