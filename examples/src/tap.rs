//! An engine around an engine: it carries everything on, and tells what passed.
//!
//! A client shows an application its states and its own events. Who wants to see more (the upgrade's headers,
//! each protocol ping and pong, how long each pong took) need not ask the client for it: the engine is a
//! trait, so a wrapper of it sees every frame.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use everwire_engine::{ConnectRequest, Connection, Engine, EngineError, Handshake, Message};
use futures_util::{Sink, Stream};
use pin_project::pin_project;

use crate::clock;

/// What passed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Tapped {
    /// A connection was opened.
    Opened(Handshake),
    /// The peer sent a protocol ping.
    Ping(Bytes),
    /// The peer sent a protocol pong, solicited or not.
    Pong(Bytes),
    /// A ping of ours was answered: a protocol ping by a protocol pong, or an event by an event.
    Answered {
        /// After how long.
        rtt: Duration,
    },
}

/// Which messages are ping and pong, for the round trip.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum PingForm {
    /// Protocol pings and pongs.
    #[default]
    Frame,
    /// Events of the type `health.check`, both ways.
    HealthCheck,
}

impl PingForm {
    /// Whether this message, of ours, is a ping.
    fn is_ping(self, message: &Message) -> bool {
        match self {
            Self::Frame => matches!(message, Message::Ping(_)),
            Self::HealthCheck => is_health_check(message),
        }
    }

    /// Whether this message, of the peer's, is a pong.
    fn is_pong(self, message: &Message) -> bool {
        match self {
            Self::Frame => matches!(message, Message::Pong(_)),
            Self::HealthCheck => is_health_check(message),
        }
    }
}

/// Whether a message is an event of the type `health.check`.
pub fn is_health_check(message: &Message) -> bool {
    #[derive(serde::Deserialize)]
    struct Typed<'a> {
        #[serde(rename = "type", borrow)]
        kind: std::borrow::Cow<'a, str>,
    }
    // Most messages are something else; a search is cheaper than a parse.
    let text = message.as_text().filter(|text| text.contains("health.check"));
    text.and_then(|text| serde_json::from_str(text).ok()).is_some_and(|t: Typed<'_>| t.kind == "health.check")
}

type Tell = Arc<dyn Fn(Tapped) + Send + Sync>;

/// See the [module](self).
#[derive(Clone)]
pub struct Tap<E> {
    engine: E,
    form: PingForm,
    tell: Tell,
}

impl<E: Engine> Tap<E> {
    /// Taps an engine. `tell` is called inside the client's driver, so it must not block.
    pub fn new(engine: E, form: PingForm, tell: impl Fn(Tapped) + Send + Sync + 'static) -> Self {
        Self { engine, form, tell: Arc::new(tell) }
    }
}

impl<E: Engine> Engine for Tap<E> {
    type Connection = TapConnection<E::Connection>;

    async fn connect(&self, request: ConnectRequest) -> Result<Self::Connection, EngineError> {
        let connection = self.engine.connect(request).await?;
        (self.tell)(Tapped::Opened(connection.handshake().clone()));
        Ok(TapConnection { connection, form: self.form, tell: Arc::clone(&self.tell), asked: None })
    }
}

impl<E> fmt::Debug for Tap<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap").finish_non_exhaustive()
    }
}

/// A connection of a [`Tap`].
#[pin_project]
pub struct TapConnection<C> {
    #[pin]
    connection: C,
    form: PingForm,
    tell: Tell,
    /// Since when a ping of ours waits for its answer.
    asked: Option<Instant>,
}

impl<C: Connection> Connection for TapConnection<C> {
    fn handshake(&self) -> &Handshake {
        self.connection.handshake()
    }
}

impl<C: Connection> Stream for TapConnection<C> {
    type Item = Result<Message, EngineError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.project();
        let item = this.connection.poll_next(cx);
        if let Poll::Ready(Some(Ok(message))) = &item {
            if this.form.is_pong(message)
                && let Some(asked) = this.asked.take()
            {
                (this.tell)(Tapped::Answered { rtt: clock::now().saturating_duration_since(asked) });
            }
            match message {
                Message::Ping(payload) => (this.tell)(Tapped::Ping(payload.clone())),
                Message::Pong(payload) => (this.tell)(Tapped::Pong(payload.clone())),
                _ => {}
            }
        }
        item
    }
}

impl<C: Connection> Sink<Message> for TapConnection<C> {
    type Error = EngineError;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), EngineError>> {
        self.project().connection.poll_ready(cx)
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), EngineError> {
        let this = self.project();
        // A second ping before the answer does not make the answer younger.
        if this.asked.is_none() && this.form.is_ping(&message) {
            *this.asked = Some(clock::now());
        }
        this.connection.start_send(message)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), EngineError>> {
        self.project().connection.poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), EngineError>> {
        self.project().connection.poll_close(cx)
    }
}

impl<C> fmt::Debug for TapConnection<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TapConnection").field("form", &self.form).finish_non_exhaustive()
    }
}
