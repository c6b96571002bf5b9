//! The settings about health: what counts as connected, and what is sent as a ping.

use std::sync::Arc;

use everwire_engine::Message;
use everwire_ping::PingConfig;

use super::{BuildError, ClientBuilder, PingBuilder};
use crate::{HealthCheckInfo, decode::EventDecoder};

/// What makes a connection count as fully established.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ConnectedOn {
    /// The first health check that the server sends.
    #[default]
    HealthCheck,
    /// The open socket, once `on_connection_established` is done: for servers without health checks.
    Open,
}

/// What is sent as a ping.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum PingRequest {
    /// The basic health check event with the connection id; the server answers with a health check. Another
    /// event by [`ping_request_builder`](ClientBuilder::ping_request_builder).
    #[default]
    HealthCheck,
    /// A protocol ping ([RFC 6455 §5.5.2](https://www.rfc-editor.org/rfc/rfc6455#section-5.5.2)), which every
    /// server answers.
    Frame,
    /// Nothing: a dead connection is found only when the operating system finds it.
    Off,
}

impl<D: EventDecoder> ClientBuilder<D> {
    /// For servers that speak no health check of their own: connected when the socket is open, protocol pings.
    pub fn protocol_pings(self) -> Self {
        self.connected_on(ConnectedOn::Open).ping(PingRequest::Frame)
    }

    /// What makes a connection count as fully established. By default the first health check.
    pub fn connected_on(mut self, connected_on: ConnectedOn) -> Self {
        self.connected_on = connected_on;
        self
    }

    /// What is sent as a ping. By default the basic health check event.
    pub fn ping(mut self, ping: PingRequest) -> Self {
        self.ping_request = ping;
        self
    }

    /// How a ping looks for this server, given what the last health check told. Replaces the basic health check
    /// event. Whatever is sent, an event with health-check info is a pong, and so is a protocol pong.
    ///
    /// It is another answer to the question that [`ping`](Self::ping) answers: beside
    /// [`Frame`](PingRequest::Frame) or [`Off`](PingRequest::Off), and so beside
    /// [`protocol_pings`](Self::protocol_pings), it is refused when the client is built.
    ///
    /// ```
    /// use everwire_client::{Client, testing::Lines};
    ///
    /// let builder = Client::builder("wss://chat.example.org/live", Lines)
    ///     .ping_request_builder(|info| format!("ping {}", info.connection_id.as_deref().unwrap_or("?")));
    /// # drop(builder);
    /// ```
    pub fn ping_request_builder<F, M>(mut self, builder: F) -> Self
    where
        F: Fn(&HealthCheckInfo) -> M + Send + Sync + 'static,
        M: Into<Message>,
    {
        self.ping_request_builder = Some(Arc::new(move |info| Some(builder(info).into())));
        self
    }

    /// When to ping, and how long a pong may take. By default every 25 s and 3 s.
    pub fn ping_config(mut self, ping: PingConfig) -> Self {
        self.ping = ping;
        self
    }

    /// Refuses what contradicts itself.
    pub(super) fn check_pings(&self) -> Result<(), BuildError> {
        let raw = !self.decoder.knows_health_checks();
        if raw && self.connected_on == ConnectedOn::HealthCheck {
            let why = "the decoder knows no health check, so that the client could never be connected; use protocol_pings(), \
                       or connected_on(ConnectedOn::Open)";
            return Err(BuildError::new("connected_on", why, None));
        }
        let is_custom = self.ping_request_builder.is_some();
        if is_custom && self.ping_request != PingRequest::HealthCheck {
            let why = "there is a ping request of your own, and ping(Frame) or ping(Off), which protocol_pings() means too; \
                       leave one of them out";
            return Err(BuildError::new("ping_request_builder", why, None));
        }
        let is_heard = is_custom || self.ping.any_inbound_counts();
        if raw && self.ping_request == PingRequest::HealthCheck && !is_heard {
            let why = "the decoder knows no health check, so that no answer to one would be seen; use protocol_pings(), \
                       ping(PingRequest::Frame), or a ping_request_builder";
            return Err(BuildError::new("ping", why, None));
        }
        Ok(())
    }

    pub(super) fn ping_builder(&self) -> Result<PingBuilder, BuildError> {
        match (&self.ping_request_builder, self.ping_request) {
            (_, PingRequest::Off) => Ok(Arc::new(|_| None)),
            (Some(builder), _) => Ok(Arc::clone(builder)),
            (None, PingRequest::Frame) => Ok(Arc::new(|_| Some(Message::Ping(bytes::Bytes::new())))),
            (None, PingRequest::HealthCheck) => basic_health_check(),
        }
    }
}

#[cfg(feature = "json")]
#[expect(clippy::unnecessary_wraps, reason = "without the feature there is no basic health check")]
fn basic_health_check() -> Result<PingBuilder, BuildError> {
    Ok(Arc::new(|info| Some(crate::stream::health_check(info.connection_id.as_deref()))))
}

#[cfg(not(feature = "json"))]
fn basic_health_check() -> Result<PingBuilder, BuildError> {
    let why = "without the feature `json` there is no basic health check; give a ping_request_builder";
    Err(BuildError::new("ping_request_builder", why, None))
}
