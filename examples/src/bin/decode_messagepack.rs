//! A decoder for MessagePack, on rmp-serde.
//!
//! `cargo run -p everwire-examples --bin decode_messagepack`
//!
//! Any serde format goes the same way: say which messages it takes, decode, and tell syntax from shape in the
//! error, without a word of the payload.

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use everwire_client::{
    DecodeError, DecodeErrorKind, EventDecoder, HealthCheckInfo, Message, Reject, WsEvent,
};
use rmp_serde::decode::Error;
use serde::{Deserialize, Serialize};

/// What this server says.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    Welcome {
        connection_id: String,
    },
    Cursor {
        x: f32,
        y: f32,
    },
    /// Whatever is added to the protocol later.
    #[serde(other)]
    Unknown,
}

impl WsEvent for Event {
    fn health_check_info(&self) -> Option<HealthCheckInfo> {
        match self {
            Self::Welcome { connection_id } => Some(HealthCheckInfo::with_connection_id(connection_id)),
            _ => None,
        }
    }
}

#[derive(Debug, Default)]
struct MessagePackDecoder;

impl EventDecoder for MessagePackDecoder {
    type Event = Event;

    fn decode(&mut self, message: &Message) -> Result<Option<Event>, DecodeError> {
        let Message::Binary(payload) = message else {
            return Err(DecodeErrorKind::Unsupported.into());
        };
        match rmp_serde::from_slice(payload) {
            Ok(Event::Unknown) => Ok(None), // of no interest here; it could be delivered as well
            Ok(event) => Ok(Some(event)),
            // The error's own words may quote the payload, so only its kind is kept.
            Err(Error::InvalidMarkerRead(_) | Error::InvalidDataRead(_) | Error::Utf8Error(_)) => {
                Err(DecodeErrorKind::Syntax.into())
            }
            Err(_) => Err(DecodeErrorKind::Shape.into()),
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    #[derive(Serialize)]
    struct Later<'a> {
        r#type: &'a str,
    }
    let welcome = Event::Welcome { connection_id: "conn-1".to_owned() };
    let cursor = Event::Cursor { x: 0.5, y: 0.25 };
    let messages = [
        Message::binary(rmp_serde::to_vec_named(&welcome)?),
        Message::binary(rmp_serde::to_vec_named(&cursor)?),
        Message::binary(rmp_serde::to_vec_named(&Later { r#type: "not_invented_yet" })?),
        Message::binary(vec![0x81, 0xa4]), // cut short
        Message::from("text"),
    ];
    for message in &messages {
        match MessagePackDecoder.decode(message) {
            Ok(Some(event)) => println!("{event:?}, health check: {:?}", event.health_check_info()),
            Ok(None) => println!("skipped: {} bytes of no interest", message.len()),
            Err(error) => println!("{}", Reject::new(message, error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_go_round_and_garbage_is_rejected_by_kind() {
        let event = Event::Cursor { x: 1.0, y: 2.0 };
        let message = Message::binary(rmp_serde::to_vec_named(&event).unwrap());
        assert_eq!(MessagePackDecoder.decode(&message), Ok(Some(event)));
        let kind =
            |payload: Vec<u8>| MessagePackDecoder.decode(&payload.into()).map_err(|error| error.kind());
        assert_eq!(kind(vec![0x81, 0xa4]), Err(DecodeErrorKind::Syntax));
        assert_eq!(kind(vec![]), Err(DecodeErrorKind::Syntax));
        assert_eq!(kind(vec![0x07]), Err(DecodeErrorKind::Shape));
    }
}
