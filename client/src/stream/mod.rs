//! Stream's wire protocol: what its chat and video edges speak over the socket, as JSON.
//!
//! ```text
//! client                                            server
//!   ── GET /connect?api_key=…&stream-auth-type=jwt ──>       connect_url
//!   ── {"products":[…],"token":…,"user_details":…} ──>       AuthenticationRequest
//!   <── {"type":"connection.ok","connection_id":…} ───       StreamEvent::ConnectionOk
//!   ── {"type":"health.check","client_id":…} ────────>       health_check
//!   <── {"type":"health.check","connection_id":…} ────       StreamEvent::HealthCheck
//!   <── {"type":"connection.error","error":{…}} ──────       StreamEvent::ConnectionError
//! ```
//!
//! Any other event is delivered with its type and its text, to be decoded by whoever is interested:
//! [`StreamEvent::Other`].

mod decoder;
mod error;
mod request;
mod timestamp;

use std::fmt;

use everwire_engine::{Message, Text};
use serde::de::DeserializeOwned;

pub use self::{
    decoder::StreamDecoder,
    request::{AuthType, AuthenticationRequest, UserDetails, connect_url},
    timestamp::Timestamp,
};
use crate::{
    decode::{DecodeError, WsEvent, redacted},
    state::{ApiError, HealthCheckInfo},
};

/// An event of Stream's protocol.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StreamEvent {
    /// `connection.ok`: the answer to the authentication, and its end.
    ConnectionOk {
        /// The server's name for the connection.
        connection_id: Option<String>,
        /// The id of the user who was authenticated.
        user_id: Option<String>,
        /// When the server sent it.
        created_at: Option<Timestamp>,
        /// The whole message.
        raw: RawJson,
    },
    /// `health.check`: the answer to a ping, or an unsolicited sign of life.
    HealthCheck {
        /// The server's name for the connection.
        connection_id: Option<String>,
        /// When the server sent it.
        created_at: Option<Timestamp>,
    },
    /// `connection.error`, or any other message with an error object. It is all that tells the reason: the
    /// close frame after it says 1000 as a rule.
    ConnectionError {
        /// The server's name for the connection.
        connection_id: Option<String>,
        /// What the server says.
        error: ApiError,
    },
    /// Any other event.
    Other {
        /// Its type, such as `message.new`.
        event_type: String,
        /// When the server sent it.
        created_at: Option<Timestamp>,
        /// The whole message.
        raw: RawJson,
    },
}

impl WsEvent for StreamEvent {
    fn health_check_info(&self) -> Option<HealthCheckInfo> {
        match self {
            Self::ConnectionOk { connection_id, .. } | Self::HealthCheck { connection_id, .. } => {
                Some(HealthCheckInfo { connection_id: connection_id.clone(), ..HealthCheckInfo::default() })
            }
            _ => None,
        }
    }

    fn error(&self) -> Option<ApiError> {
        match self {
            Self::ConnectionError { error, .. } => Some(error.clone()),
            _ => None,
        }
    }
}

/// The text of a message, known to be JSON. Its `Debug` shows the size only.
#[derive(Clone, Eq, PartialEq)]
pub struct RawJson(Text);

impl RawJson {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Decodes it into a type of one's own.
    ///
    /// # Errors
    /// It does not fit the type.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        serde_json::from_str(&self.0).map_err(|error| redacted(&error))
    }
}

impl fmt::Debug for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawJson({} bytes)", self.0.len())
    }
}

/// The ping of Stream's protocol: a health check with the name that the server gave to the connection.
///
/// ```
/// use everwire_client::stream::health_check;
/// assert_eq!(health_check(Some("conn-1")).as_text(), Some(r#"{"type":"health.check","client_id":"conn-1"}"#));
/// assert_eq!(health_check(None).as_text(), Some(r#"{"type":"health.check"}"#));
/// ```
pub fn health_check(connection_id: Option<&str>) -> Message {
    match connection_id {
        None => Message::from(r#"{"type":"health.check"}"#),
        Some(id) => {
            let id = serde_json::Value::from(id); // which escapes it
            format!(r#"{{"type":"health.check","client_id":{id}}}"#).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_7_the_health_check_omits_an_id_that_is_not_there_and_escapes_one_that_is() {
        assert_eq!(health_check(None), r#"{"type":"health.check"}"#.into());
        assert_eq!(
            health_check(Some("conn-health")),
            r#"{"type":"health.check","client_id":"conn-health"}"#.into()
        );
        assert_eq!(health_check(Some("a\"b\n")), r#"{"type":"health.check","client_id":"a\"b\n"}"#.into());
    }
}
