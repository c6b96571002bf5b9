//! The room protocol as the client's events.

use everwire_client::{ApiError, DecodeError, EventDecoder, HealthCheckInfo, Message, WsEvent};

use super::Down;

/// A frame of the server, and what it means to the client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RoomEvent {
    /// A frame of the protocol.
    Frame(Down),
    /// A text that is no frame of the protocol.
    Text(String),
    /// A binary message: the protocol has none, so it is the application's.
    Binary(bytes::Bytes),
}

impl WsEvent for RoomEvent {
    fn health_check_info(&self) -> Option<HealthCheckInfo> {
        match self {
            Self::Frame(Down::ConnectionOk { connection_id, .. } | Down::HealthCheck { connection_id }) => {
                Some(HealthCheckInfo::with_connection_id(connection_id.as_str()))
            }
            _ => None,
        }
    }

    fn error(&self) -> Option<ApiError> {
        let Self::Frame(Down::ConnectionError { error, .. }) = self else { return None };
        let api = ApiError::new(error.code, error.message.as_str()).with_status(error.status);
        Some(if error.unrecoverable { api.unrecoverable() } else { api })
    }
}

/// Decodes the frames of the room protocol.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoomDecoder;

impl EventDecoder for RoomDecoder {
    type Event = RoomEvent;

    fn decode(&mut self, message: &Message) -> Result<Option<RoomEvent>, DecodeError> {
        match message {
            Message::Binary(payload) => Ok(Some(RoomEvent::Binary(payload.clone()))),
            other => {
                let text = other.as_text().unwrap_or_default();
                let frame = serde_json::from_str(text).map(RoomEvent::Frame);
                Ok(Some(frame.unwrap_or_else(|_| RoomEvent::Text(text.to_owned()))))
            }
        }
    }
}
