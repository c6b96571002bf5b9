//! What `watch` understands of the messages it shows.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use everwire_client::{ApiError, DecodeError, EventDecoder, HealthCheckInfo, Message, WsEvent};
use serde_json::Value;

use crate::tap::is_health_check;

/// A message, and what it means to the client.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) message: Message,
    /// It is the answer to a ping of ours, and shown as such.
    pub(super) answer: bool,
    health: Option<HealthCheckInfo>,
    error: Option<ApiError>,
}

impl WsEvent for Event {
    fn health_check_info(&self) -> Option<HealthCheckInfo> {
        self.health.clone()
    }

    fn error(&self) -> Option<ApiError> {
        self.error.clone()
    }
}

/// Takes every message. The three events of Stream's protocol mean something to the client: `connection.ok`
/// and `health.check` are health checks, `connection.error` is an error. Anything else is just shown, since
/// this program is for any endpoint.
#[derive(Debug)]
pub(super) struct Decoder {
    /// Set by the tap when the message that comes next answered a ping.
    pub(super) answered: Arc<AtomicBool>,
}

impl EventDecoder for Decoder {
    type Event = Event;

    fn decode(&mut self, message: &Message) -> Result<Option<Event>, DecodeError> {
        let mut event = Event { message: message.clone(), answer: false, health: None, error: None };
        let text = message.as_text().filter(|text| text.contains("connection.") || text.contains("health."));
        if let Some(object) = text.and_then(|text| serde_json::from_str::<Value>(text).ok()) {
            match object.get("type").and_then(Value::as_str) {
                Some("connection.ok" | "health.check") => {
                    let id = object.get("connection_id").and_then(Value::as_str);
                    event.health =
                        Some(id.map_or_else(HealthCheckInfo::default, HealthCheckInfo::with_connection_id));
                }
                Some("connection.error") => event.error = object.get("error").map(api_error),
                _ => {}
            }
        }
        event.answer = is_health_check(message) && self.answered.swap(false, Ordering::Relaxed);
        Ok(Some(event))
    }
}

/// Only the code is reliable; every other field may be missing or odd.
fn api_error(error: &Value) -> ApiError {
    let code = error.get("code").and_then(Value::as_i64).unwrap_or_default();
    let message = error.get("message").and_then(Value::as_str).unwrap_or_default();
    let mut api = ApiError::new(code, message);
    let status = error.get("StatusCode").and_then(Value::as_u64).and_then(|s| u16::try_from(s).ok());
    if let Some(status) = status.filter(|status| *status > 0) {
        api = api.with_status(status);
    }
    if error.get("unrecoverable").and_then(Value::as_bool) == Some(true) {
        api = api.unrecoverable();
    }
    api
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &str) -> Event {
        let mut decoder = Decoder { answered: Arc::default() };
        decoder.decode(&Message::text(text)).unwrap().unwrap()
    }

    #[test]
    fn the_three_events_mean_something() {
        let ok = decode(r#"{"type":"connection.ok","connection_id":"c-1"}"#);
        assert_eq!(ok.health_check_info().unwrap().connection_id.as_deref(), Some("c-1"));
        assert!(decode(r#"{"type":"health.check"}"#).health_check_info().is_some());
        let error = decode(r#"{"type":"connection.error","error":{"code":40,"StatusCode":401}}"#);
        assert_eq!(error.error().unwrap(), ApiError::new(40, "").with_status(401));
        let odd = decode(r#"{"type":"connection.error","error":{"code":2,"StatusCode":"x","message":7}}"#);
        assert_eq!(odd.error().unwrap(), ApiError::new(2, ""));
    }

    #[test]
    fn everything_else_is_just_shown() {
        for text in ["", "hello", "{", r#"{"error":{"code":1}}"#, r#"{"note":"health.check"}"#, "[1]"] {
            let event = decode(text);
            assert!(event.error().is_none() && event.health_check_info().is_none(), "{text}");
        }
    }
}
