//! A video-chat session: the five boxes assembled for one application.
//!
//! [`VideoChatSession::start`] connects and enters a room, [`send`](VideoChatSession::send) says something there,
//! [`end`](VideoChatSession::end) leaves. Whatever happens in between, the session comes back to its room, and
//! what was said arrives once and in order.

mod pilot;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use everwire_client::{
    Client, ClientBuilder, ConnectRequest, Credentials, Message, Snapshot, credentials_fn,
};
use everwire_engine::TungsteniteEngine;
use everwire_netmon::NetworkMonitor;
use everwire_ping::PingConfig;
use everwire_recovery::{ConnectionRecoveryHandler, Decision, Exponential, RecoveryOptions};
use http::HeaderMap;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::{
    room::{RoomDecoder, Signal, Up},
    tap::{PingForm, Tap, Tapped},
};

/// Everything a session tells. The first ten are those that a delegate of a classic WebSocket library gets.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SessionEvent {
    /// The socket is open. From the engine: the answer to the upgrade.
    Connected {
        /// The headers of that answer.
        headers: HeaderMap,
    },
    /// The connection is gone. From the client: its state `Disconnected`.
    Disconnected {
        /// The source, in words.
        reason: String,
        /// The close code, where there is one; 1006 for an end without a close frame.
        code: Option<u16>,
    },
    /// A text message that is no frame of the protocol. From the client: an event.
    Text(String),
    /// A binary message. From the client: an event.
    Binary(Bytes),
    /// A protocol ping, answered already. From the engine.
    Ping,
    /// The answer to a ping of ours, protocol or health check. From the engine, by the ping controller's wish.
    Pong {
        /// After how long.
        rtt: Duration,
    },
    /// Something failed: the server's error, or the engine's. From the client: what a disconnection carries.
    Error(String),
    /// Whether the path can carry anything. From recovery, by what the network monitor says.
    ViabilityChanged(bool),
    /// A better path is there, or the server goes away. From recovery or from the decoder.
    ReconnectSuggested,
    /// The session was ended by its user. From the client: the source `UserInitiated`.
    Cancelled,
    /// Somebody said something, for the first time and in its order.
    Signal {
        /// Who.
        from: String,
        /// What.
        signal: Signal,
    },
    /// The session is in its room, for the first time or again.
    InRoom {
        /// How many posts were sent again.
        replayed: usize,
    },
    /// The client's state changed.
    State(Snapshot),
    /// Recovery decided something.
    Decision(Decision),
}

/// How a session is set up.
pub struct SessionConfig<M> {
    /// Where the server is.
    pub url: String,
    /// The authority to trust, in PEM.
    pub ca_pem: String,
    /// The room.
    pub room: String,
    /// A new token, when the old one will not do.
    pub token: Arc<dyn Fn() -> String + Send + Sync>,
    /// What is known of the network.
    pub monitor: M,
    /// When to ping.
    pub ping: PingConfig,
    /// The durations of recovery.
    pub recovery: RecoveryOptions,
    /// The formula of the delays.
    pub strategy: Exponential,
    /// The seed of the delays.
    pub seed: u64,
}

impl<M> fmt::Debug for SessionConfig<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionConfig")
            .field("room", &self.room)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// A running session.
#[derive(Debug)]
pub struct VideoChatSession {
    posts: mpsc::Sender<Signal>,
    end: oneshot::Sender<()>,
    pilot: JoinHandle<Summary>,
}

/// What became of a session's posts.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Summary {
    /// Posts that the server has confirmed.
    pub confirmed: u64,
    /// Posts whose fate is not known.
    pub unconfirmed: usize,
    /// Deliveries that came again and were dropped.
    pub duplicates: u64,
}

type Problem = Box<dyn std::error::Error + Send + Sync>;

impl VideoChatSession {
    /// Assembles the boxes, connects, and enters the room. The events come in the order in which they happen;
    /// when nobody reads them the session waits.
    ///
    /// They are boxed, for a channel of tokio keeps room for 64 items once 32 have gone through it: of events as they
    /// are that would be 14 KiB in each of a session's channels, half of it only after minutes.
    ///
    /// # Errors
    /// When the URL, the authority or an interval cannot work.
    pub fn start<M: NetworkMonitor>(
        config: SessionConfig<M>,
    ) -> Result<(Self, mpsc::Receiver<Box<SessionEvent>>), Problem> {
        let (taps, tapped) = mpsc::channel(64);
        let engine = TungsteniteEngine::builder()
            .add_root_certificate_pem(&config.ca_pem)
            .only_added_root_certificates()
            .build()?;
        let engine = Tap::new(engine, PingForm::HealthCheck, move |passed| {
            // What the application has no room for is only for information.
            let _ = taps.try_send(Box::new(match passed {
                Tapped::Opened(handshake) => SessionEvent::Connected { headers: handshake.headers },
                Tapped::Ping(_) => SessionEvent::Ping,
                Tapped::Answered { rtt } => SessionEvent::Pong { rtt },
                Tapped::Pong(_) => return,
            }));
        });
        let token = Arc::clone(&config.token);
        let cached = Arc::new(std::sync::Mutex::new(None::<String>));
        let client: Client<_> = ClientBuilder::with_requests(ConnectRequest::new(&config.url)?, RoomDecoder)
            .ping_config(config.ping)
            .credentials(credentials_fn(move |attempt| {
                let mut cached = cached.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                // Renewed on evidence only.
                let secret = match cached.take().filter(|_| attempt.refused.is_none()) {
                    Some(secret) => secret,
                    None => token(),
                };
                *cached = Some(secret.clone());
                async move { Ok(Credentials::new(secret)) }
            }))
            .on_connection_established(|handshake| {
                let token = handshake.credentials().map(|c| c.secret().to_owned()).unwrap_or_default();
                handshake.send(text(&Up::Auth { token }));
                async { Ok(()) }
            })
            .build(engine)?;
        let subscription = client.subscribe();
        let recovery = ConnectionRecoveryHandler::builder(client.clone().into_background())
            .monitor(config.monitor)
            .strategy(config.strategy)
            .options(config.recovery)
            .seed(config.seed)
            .spawn()?;
        let (events, receiver) = mpsc::channel(256);
        let (posts, posted) = mpsc::channel(64);
        let (end, ended) = oneshot::channel();
        let pilot = pilot::Pilot::new(client, config.room, events);
        let pilot = tokio::spawn(pilot.run(subscription, recovery, tapped, posted, ended));
        Ok((Self { posts, end, pilot }, receiver))
    }

    /// Says something in the room. It arrives once and in order, across any number of drops.
    ///
    /// Waits when very much is waiting already. `false` when the session has ended.
    pub async fn send(&self, signal: Signal) -> bool {
        self.posts.send(signal).await.is_ok()
    }

    /// A way to send from elsewhere.
    pub fn sender(&self) -> mpsc::Sender<Signal> {
        self.posts.clone()
    }

    /// Leaves the room and closes with code 1000. What was said and is not confirmed gets 5 s to be, across a reconnect
    /// too; [`Summary::unconfirmed`] tells what was not.
    pub async fn end(self) -> Summary {
        // The pilot may have ended already.
        let _ = self.end.send(());
        self.pilot.await.unwrap_or_default()
    }
}

/// A frame as a message.
fn text(up: &Up) -> Message {
    Message::text(serde_json::to_string(up).expect("frames always serialize"))
}
