//! A decoder for protobuf, on prost: the SFU variant of Stream's protocol.
//!
//! `cargo run -p everwire-examples --bin decode_protobuf`
//!
//! An SFU (the server that forwards a call's media) speaks binary messages, sends no authentication frame, and
//! answers a health check with how many participate, without an id for the connection. The ping is built by
//! hand, which is what a client's `ping_request_builder` is for. The types below are the part of its schema
//! that is needed here; `prost-build` would make all of them from the `.proto` files.

#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::time::Duration;

use everwire_client::{
    ApiError, DecodeError, DecodeErrorKind, EventDecoder, HealthCheckInfo, Message, Reject, WsEvent,
};
use prost::Message as _;

#[derive(Clone, PartialEq, prost::Message)]
struct SfuRequest {
    #[prost(oneof = "Request", tags = "2")]
    payload: Option<Request>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Request {
    #[prost(message, tag = "2")]
    HealthCheck(Empty),
}

#[derive(Clone, PartialEq, prost::Message)]
struct SfuEvent {
    #[prost(oneof = "Event", tags = "14, 18, 20")]
    payload: Option<Event>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Event {
    #[prost(message, tag = "14")]
    HealthCheck(HealthCheck),
    #[prost(message, tag = "18")]
    Error(SfuError),
    #[prost(message, tag = "20")]
    GoAway(Empty),
}

#[derive(Clone, PartialEq, prost::Message)]
struct Empty {}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheck {
    #[prost(message, optional, tag = "1")]
    participants: Option<Participants>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Participants {
    #[prost(uint32, tag = "1")]
    total: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SfuError {
    #[prost(message, optional, tag = "4")]
    error: Option<ErrorDetails>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ErrorDetails {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(bool, tag = "3")]
    should_retry: bool,
}

impl WsEvent for Event {
    fn health_check_info(&self) -> Option<HealthCheckInfo> {
        let Self::HealthCheck(health_check) = self else { return None };
        let mut info = HealthCheckInfo::default();
        info.participant_count = health_check.participants.as_ref().map(|participants| participants.total);
        Some(info)
    }

    fn error(&self) -> Option<ApiError> {
        let Self::Error(SfuError { error }) = self else { return None };
        let details = error.clone().unwrap_or_default();
        let error = ApiError::new(details.code.into(), details.message);
        Some(if details.should_retry { error } else { error.unrecoverable() })
    }

    fn going_away(&self) -> Option<Duration> {
        // It does not say when.
        matches!(self, Self::GoAway(_)).then_some(Duration::ZERO)
    }
}

#[derive(Debug, Default)]
struct SfuDecoder;

impl EventDecoder for SfuDecoder {
    type Event = Event;

    fn decode(&mut self, message: &Message) -> Result<Option<Event>, DecodeError> {
        let Message::Binary(payload) = message else {
            return Err(DecodeErrorKind::Unsupported.into());
        };
        // An event whose field is not in the schema above reads as none: it is skipped.
        let event = SfuEvent::decode(payload.clone())
            .map_err(|error| DecodeError::new(DecodeErrorKind::Syntax).with_source(error))?;
        Ok(event.payload)
    }
}

/// What the client sends as its ping.
fn ping() -> Message {
    Message::binary(SfuRequest { payload: Some(Request::HealthCheck(Empty {})) }.encode_to_vec())
}

fn main() {
    let event = |event| Message::binary(SfuEvent { payload: Some(event) }.encode_to_vec());
    let health_check = HealthCheck { participants: Some(Participants { total: 3 }) };
    let details = ErrorDetails { code: 300, message: "the call is full".to_owned(), should_retry: false };
    let messages = [
        event(Event::HealthCheck(health_check)),
        event(Event::GoAway(Empty {})),
        event(Event::Error(SfuError { error: Some(details) })),
        Message::binary(vec![0x52, 0x00]), // participant_joined, which is not in the schema above
        Message::binary(vec![0x72, 0x7f]), // cut short
    ];
    println!("the ping: {:?}", ping());
    for message in &messages {
        match SfuDecoder.decode(message) {
            Ok(Some(event)) => println!(
                "{event:?}: health check {:?}, error {:?}, going away {:?}",
                event.health_check_info(),
                event.error(),
                event.going_away()
            ),
            Ok(None) => println!("skipped: {} bytes of no interest", message.len()),
            Err(error) => println!("{}", Reject::new(message, error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_7_the_ping_of_an_sfu_is_an_empty_health_check_request() {
        assert_eq!(ping(), Message::binary(vec![0x12, 0x00]));
    }

    #[test]
    fn rule_7_its_answer_carries_a_participant_count_and_no_connection_id() {
        let event = SfuDecoder.decode(&Message::binary(vec![0x72, 0x04, 0x0a, 0x02, 0x08, 0x03])).unwrap();
        let info = event.unwrap().health_check_info().unwrap();
        assert_eq!((info.participant_count, info.connection_id), (Some(3), None));
    }

    #[test]
    fn unknown_events_are_skipped_and_garbage_is_rejected() {
        assert_eq!(SfuDecoder.decode(&Message::binary(vec![0x52, 0x00])), Ok(None));
        let error = SfuDecoder.decode(&Message::binary(vec![0x72, 0x7f])).unwrap_err();
        assert_eq!(error.kind(), DecodeErrorKind::Syntax);
    }
}
