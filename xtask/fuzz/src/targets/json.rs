//! The JSON decoder: a typed event, with and without unknown types passed over.

use everwire_client::{ApiError, EventDecoder as _, HealthCheckInfo, JsonDecoder, Message, WsEvent};

#[derive(Clone, Debug, serde::Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    Hello { id: String },
    Said { text: String, at: u32 },
    Failed { code: i64 },
    Many { of: Vec<Self>, and: Option<Box<Self>> },
}

impl WsEvent for Event {
    fn health_check_info(&self) -> Option<HealthCheckInfo> {
        match self {
            Self::Hello { id } => Some(HealthCheckInfo::with_connection_id(id)),
            _ => None,
        }
    }

    fn error(&self) -> Option<ApiError> {
        match self {
            Self::Failed { code } => Some(ApiError::new(*code, "")),
            _ => None,
        }
    }
}

/// A marker that no word of ours contains: where a reject shows it, it quotes the message.
const SECRET: &str = "s3cr3t";

/// Strict and lenient agree on what decodes; what does not is told without a word of it.
pub(crate) fn json(bytes: &[u8]) {
    let message = Message::binary(bytes.to_vec());
    let strict = JsonDecoder::<Event>::new().decode(&message);
    let known = &["hello", "said", "failed", "many"];
    let lenient = JsonDecoder::<Event>::new().skip_unknown("type", known).decode(&message);
    match (&strict, &lenient) {
        (Ok(Some(one)), Ok(Some(other))) => {
            assert_eq!(format!("{one:?}"), format!("{other:?}"));
            let _ = (one.health_check_info(), one.error());
            if let Event::Said { text, at } = one {
                assert!(text.len() + usize::from(*at > 9) < bytes.len());
            }
            if let Event::Many { of, and } = one {
                assert!(of.len() + usize::from(and.is_some()) <= bytes.len());
            }
        }
        (Err(error), Err(_) | Ok(None)) => {
            let words = format!("{error} {error:?}");
            assert!(words.len() < 600 && !words.contains(SECRET), "a reject quotes the message: {words}");
        }
        (strict, lenient) => panic!("strict {strict:?}, lenient {lenient:?}"),
    }
}
