//! From messages to Stream's events, forgiving in everything but the type.

use everwire_engine::{Message, Text};
use serde::Deserialize;
use serde_json::Value;

use super::{RawJson, StreamEvent, Timestamp};
use crate::{
    decode::{DecodeError, DecodeErrorKind, EventDecoder, redacted},
    state::ApiError,
};

/// Decodes Stream's protocol. Fields that are missing or odd read as `None`; a message without a type and
/// without an error object is rejected.
///
/// ```
/// use everwire_client::{EventDecoder, stream::{StreamDecoder, StreamEvent}};
/// let event = StreamDecoder.decode(&r#"{"type":"message.new","cid":"messaging:1"}"#.into())?;
/// let Some(StreamEvent::Other { event_type, raw, .. }) = event else { panic!() };
/// assert_eq!(event_type, "message.new");
/// # Ok::<(), everwire_client::DecodeError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct StreamDecoder;

/// What all messages may have. `Value` where a field may be odd; only small and rare ones are.
#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type", default)]
    event_type: Value,
    #[serde(default)]
    connection_id: Value,
    #[serde(default)]
    created_at: Value,
    #[serde(default)]
    error: Value,
}

#[derive(Deserialize)]
struct WithMe {
    #[serde(default)]
    me: Value,
}

impl EventDecoder for StreamDecoder {
    type Event = StreamEvent;

    fn decode(&mut self, message: &Message) -> Result<Option<StreamEvent>, DecodeError> {
        let text = match message {
            Message::Text(text) => text.clone(),
            Message::Binary(payload) => Text::try_from(payload.clone())
                .map_err(|_| DecodeError::new(DecodeErrorKind::Syntax).with_detail("it is not UTF-8"))?,
            _ => return Err(DecodeErrorKind::Unsupported.into()),
        };
        let envelope: Envelope = serde_json::from_str(&text).map_err(|error| redacted(&error))?;
        let created_at = timestamp(&envelope.created_at);
        let connection_id = string(envelope.connection_id);
        if envelope.error.is_object() {
            let error = ApiError::from_value(&envelope.error);
            return Ok(Some(StreamEvent::ConnectionError { connection_id, error }));
        }
        let Some(event_type) = string(envelope.event_type) else {
            return Err(DecodeError::new(DecodeErrorKind::Shape).with_detail("it has no type"));
        };
        Ok(Some(match event_type.as_str() {
            "connection.ok" => {
                let me: WithMe = serde_json::from_str(&text).map_err(|error| redacted(&error))?;
                let user_id = me.me.get("id").cloned().and_then(string);
                StreamEvent::ConnectionOk { connection_id, user_id, created_at, raw: RawJson(text) }
            }
            "health.check" => StreamEvent::HealthCheck { connection_id, created_at },
            // An error without a word about it is an error all the same.
            "connection.error" => StreamEvent::ConnectionError { connection_id, error: ApiError::default() },
            _ => StreamEvent::Other { event_type, created_at, raw: RawJson(text) },
        }))
    }
}

fn string(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

fn timestamp(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => Timestamp::parse(text),
        Value::Number(number) => number.as_i64().map(|nanos| Timestamp::from_unix_nanos(nanos.into())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HealthCheckInfo, WsEvent};

    fn decode(text: &'static str) -> Result<StreamEvent, DecodeError> {
        StreamDecoder.decode(&text.into()).map(|event| event.expect("nothing is skipped"))
    }

    #[test]
    fn rule_7_a_control_frame_is_no_event() {
        let ping = Message::Ping(bytes::Bytes::from_static(b"{}"));
        assert_eq!(StreamDecoder.decode(&ping).unwrap_err().kind(), DecodeErrorKind::Unsupported);
    }

    #[test]
    fn rule_7_connection_ok_is_the_health_check_that_ends_the_authentication() {
        let event = decode(
            r#"{"type":"connection.ok","connection_id":"conn-xyz","me":{"id":"user-42","role":"admin"},"created_at":"2026-01-02T03:04:05.123456789Z"}"#,
        )
        .unwrap();
        assert_eq!(event.health_check_info(), Some(HealthCheckInfo::with_connection_id("conn-xyz")));
        assert_eq!(event.error(), None);
        let StreamEvent::ConnectionOk { user_id, created_at, raw, .. } = event else { panic!("{event:?}") };
        assert_eq!(user_id.as_deref(), Some("user-42"));
        assert_eq!(created_at.unwrap().unix_nanos(), 1_767_323_045_123_456_789);
        assert!(raw.decode::<Value>().unwrap()["me"]["role"] == "admin");
        assert!(!format!("{raw:?}").contains("admin"));
    }

    #[test]
    fn rule_7_a_health_check_names_the_connection() {
        let event =
            decode(r#"{"type":"health.check","connection_id":"conn-health","created_at":7}"#).unwrap();
        assert_eq!(event.health_check_info(), Some(HealthCheckInfo::with_connection_id("conn-health")));
        let StreamEvent::HealthCheck { created_at, .. } = event else { panic!("{event:?}") };
        assert_eq!(created_at.unwrap().unix_nanos(), 7);
        // Odd fields are no reason to miss a sign of life.
        let event = decode(r#"{"type":"health.check","connection_id":7,"created_at":{}}"#).unwrap();
        assert_eq!(event.health_check_info(), Some(HealthCheckInfo::default()));
    }

    #[test]
    fn rule_7_the_error_frame_tells_code_status_and_words() {
        let event = decode(
            r#"{"type":"connection.error","connection_id":"c","error":{"code":40,"StatusCode":401,"message":"token expired","duration":"5ms","more_info":"…","details":[],"unrecoverable":false,"exception_fields":{}}}"#,
        )
        .unwrap();
        let expected = ApiError::new(40, "token expired").with_status(401);
        assert_eq!(event.error(), Some(expected));
        assert_eq!(event.health_check_info(), None);
    }

    #[test]
    fn rule_7_any_frame_with_an_error_object_counts_and_only_the_code_is_relied_on() {
        for (text, code) in [
            (r#"{"error":{"code":43}}"#, 43),
            (r#"{"type":"health.check","error":{"code":9,"StatusCode":"x","message":5}}"#, 9),
            (r#"{"type":"connection.error","error":{"code":2,"details":{"a":[1]},"unrecoverable":"no"}}"#, 2),
            (r#"{"type":"connection.error","error":{"code":"17"}}"#, 17),
            (r#"{"type":"connection.error","error":{}}"#, 0),
            (r#"{"type":"connection.error"}"#, 0),
        ] {
            let event = decode(text).unwrap();
            assert_eq!(event.error().map(|error| error.code), Some(code), "{text}");
            assert_eq!(event.health_check_info(), None, "{text}");
        }
        // A field of that name that is no object is the event's own business.
        assert_eq!(decode(r#"{"type":"call.ended","error":null}"#).unwrap().error(), None);
    }

    #[test]
    fn rule_7_unknown_types_are_delivered_as_they_are() {
        let event = decode(r#"{"type":"message.new","message":{"text":"hi"}}"#).unwrap();
        let StreamEvent::Other { event_type, raw, .. } = event else { panic!("{event:?}") };
        assert_eq!(event_type, "message.new");
        assert!(raw.as_str().contains(r#""text":"hi""#));
    }

    #[test]
    fn garbage_is_rejected_and_named() {
        for (text, kind) in [
            ("", DecodeErrorKind::Syntax),
            ("{", DecodeErrorKind::Syntax),
            ("7", DecodeErrorKind::Shape),
            (r#"{"type":7}"#, DecodeErrorKind::Shape),
            (r#"{"connection_id":"c"}"#, DecodeErrorKind::Shape),
        ] {
            assert_eq!(decode(text).map(|_| ()).map_err(|error| error.kind()), Err(kind), "{text}");
        }
        let binary = Message::binary(vec![0xff]);
        assert_eq!(StreamDecoder.decode(&binary).unwrap_err().kind(), DecodeErrorKind::Syntax);
    }
}
