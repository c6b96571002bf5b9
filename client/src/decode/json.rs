//! The decoder for JSON, on serde.

use std::{borrow::Cow, fmt, marker::PhantomData};

use everwire_engine::Message;
use serde::{
    Deserializer as _,
    de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor},
};
use serde_json::error::Category;

use super::{DecodeError, DecodeErrorKind, EventDecoder, WsEvent};

/// Decodes each message as one JSON value of the type `T`.
///
/// Text messages are decoded from their checked text; binary ones are taken for JSON too, as some servers
/// send it. For speed, make `T` a struct or an adjacently tagged enum: an internally tagged one is buffered
/// by serde and costs 1.7 times as much.
///
/// # Unknown event types
/// A server adds event types over time. Either `T` has a variant for them, which then is delivered:
///
/// ```
/// # use everwire_client::{EventDecoder, JsonDecoder, WsEvent};
/// #[derive(Clone, Debug, PartialEq, serde::Deserialize)]
/// #[serde(tag = "type", rename_all = "snake_case")]
/// enum Event {
///     Said { text: String },
///     #[serde(other)]
///     Unknown,
/// }
/// # impl WsEvent for Event {}
/// # let mut decoder = JsonDecoder::<Event>::new();
/// # assert_eq!(decoder.decode(&r#"{"type":"new","x":1}"#.into())?, Some(Event::Unknown));
/// # Ok::<(), everwire_client::DecodeError>(())
/// ```
///
/// or the decoder knows the known ones, and skips the others: [`skip_unknown`](Self::skip_unknown).
pub struct JsonDecoder<T> {
    known: Option<(&'static str, &'static [&'static str])>,
    _event: PhantomData<fn() -> T>,
}

impl<T> JsonDecoder<T> {
    /// A decoder that rejects whatever does not fit `T`.
    pub const fn new() -> Self {
        Self { known: None, _event: PhantomData }
    }

    /// Skips a message that does not fit `T` and whose string field `field` is none of `known`. One whose
    /// type is known and that does not fit all the same is still rejected.
    ///
    /// It costs nothing as long as messages fit: the field is looked for only afterwards.
    ///
    /// ```
    /// # use everwire_client::{EventDecoder, JsonDecoder, WsEvent};
    /// # #[derive(Clone, Debug, PartialEq, serde::Deserialize)]
    /// # #[serde(tag = "type", rename_all = "snake_case")]
    /// # enum Event { Said { text: String } }
    /// # impl WsEvent for Event {}
    /// let mut decoder = JsonDecoder::<Event>::new().skip_unknown("type", &["said"]);
    /// assert_eq!(decoder.decode(&r#"{"type":"new"}"#.into()), Ok(None));
    /// assert!(decoder.decode(&r#"{"type":"said"}"#.into()).is_err()); // has no text
    /// ```
    #[must_use]
    pub const fn skip_unknown(mut self, field: &'static str, known: &'static [&'static str]) -> Self {
        self.known = Some((field, known));
        self
    }

    #[cold]
    fn refuse(&self, error: &serde_json::Error, payload: &[u8]) -> Result<Option<T>, DecodeError> {
        if error.is_data() && self.is_unknown(payload) { Ok(None) } else { Err(redacted(error)) }
    }

    fn is_unknown(&self, payload: &[u8]) -> bool {
        let Some((field, known)) = self.known else { return false };
        let mut json = serde_json::Deserializer::from_slice(payload);
        let found = json.deserialize_map(Tag(field)).ok().flatten();
        found.is_some_and(|tag| !known.contains(&&*tag))
    }
}

impl<T> EventDecoder for JsonDecoder<T>
where
    T: DeserializeOwned + WsEvent + Clone + Send + 'static,
{
    type Event = T;

    #[inline]
    fn decode(&mut self, message: &Message) -> Result<Option<T>, DecodeError> {
        // A large event is moved by each step between serde and its subscriber, so there are few.
        match message {
            Message::Text(text) => match serde_json::from_str(text) {
                Ok(event) => Ok(Some(event)),
                Err(error) => self.refuse(&error, text.as_bytes()),
            },
            Message::Binary(payload) => match serde_json::from_slice(payload) {
                Ok(event) => Ok(Some(event)),
                Err(error) => self.refuse(&error, payload),
            },
            _ => Err(DecodeErrorKind::Unsupported.into()),
        }
    }
}

impl<T> Clone for JsonDecoder<T> {
    fn clone(&self) -> Self {
        Self { known: self.known, _event: PhantomData }
    }
}

impl<T> Default for JsonDecoder<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for JsonDecoder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonDecoder").field("known", &self.known).finish()
    }
}

/// Reads one string field of an object and passes over the rest.
struct Tag(&'static str);

impl<'de> Visitor<'de> for Tag {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if key == self.0 {
                return map.next_value::<Cow<'de, str>>().map(Some);
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(None)
    }
}

/// serde's own words quote what they found in the payload, a token perhaps. Kept are the place, and what was
/// expected there: these words come from the program.
pub(crate) fn redacted(error: &serde_json::Error) -> DecodeError {
    let kind = match error.classify() {
        Category::Syntax | Category::Eof => DecodeErrorKind::Syntax,
        Category::Data => DecodeErrorKind::Shape,
        Category::Io => DecodeErrorKind::Other,
    };
    let (line, column) = (error.line(), error.column());
    // What serde keeps before it looks at it, as the fields of a tagged enum, has lost its place.
    let place = (line > 0).then(|| format!("line {line} column {column}"));
    let words = error.to_string();
    let words = match &place {
        Some(place) => words.strip_suffix(&format!(" at {place}")).unwrap_or(&words),
        None => &words,
    };
    let expected = expectation(words).filter(|_| kind == DecodeErrorKind::Shape);
    match (expected, place) {
        (Some(expected), Some(place)) => DecodeError::new(kind).with_detail(format!("{expected} at {place}")),
        (Some(expected), None) => DecodeError::new(kind).with_detail(expected.to_owned()),
        (None, Some(place)) => DecodeError::new(kind).with_detail(place),
        (None, None) => kind.into(),
    }
}

/// The part of serde's words for a shape error that does not stem from the payload.
fn expectation(words: &str) -> Option<&str> {
    const QUOTING: [&str; 5] =
        ["invalid type: ", "invalid value: ", "invalid length ", "unknown variant `", "unknown field `"];
    if words.starts_with("missing field `") || words.starts_with("duplicate field `") {
        return Some(words);
    }
    // The last one: an earlier one may be part of what is quoted. Where nothing was expected, serde says so
    // at the end, and then the last one is part of the quotation.
    if !QUOTING.iter().any(|start| words.starts_with(start)) || words.contains("`, there are no ") {
        return None;
    }
    words.rfind(", expected ").map(|at| &words[at + 2..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq, serde::Deserialize)]
    #[serde(tag = "type", rename_all = "snake_case")]
    enum Event {
        Said { text: String, at: u32 },
        Left,
    }
    impl WsEvent for Event {}

    fn error(text: &'static str) -> DecodeError {
        JsonDecoder::<Event>::new().decode(&text.into()).expect_err("shall not decode")
    }

    #[test]
    fn a_clone_skips_what_its_original_skips_and_by_default_nothing_is() {
        let decoder = JsonDecoder::<Event>::new().skip_unknown("type", &["said"]);
        let new = Message::from(r#"{"type":"new"}"#);
        assert_eq!(decoder.clone().decode(&new), Ok(None));
        assert_eq!(JsonDecoder::<Event>::default().decode(&new).unwrap_err().kind(), DecodeErrorKind::Shape);
        assert_eq!(format!("{decoder:?}"), r#"JsonDecoder { known: Some(("type", ["said"])) }"#);
    }

    #[test]
    fn text_and_binary_messages_decode_alike() {
        let json = r#"{"type":"said","text":"grüezi \ud83d\ude00","at":7}"#;
        let mut decoder = JsonDecoder::<Event>::new();
        let from_text = decoder.decode(&json.into()).unwrap();
        assert_eq!(from_text, Some(Event::Said { text: "grüezi 😀".to_owned(), at: 7 }));
        let binary = |json: &str| Message::binary(json.as_bytes().to_vec());
        assert_eq!(decoder.decode(&binary(json)).unwrap(), from_text);
        let truncated = &json[..json.len() - 1];
        let from_text = decoder.decode(&truncated.into()).unwrap_err();
        assert_eq!(from_text.kind(), DecodeErrorKind::Syntax);
        assert_eq!(decoder.decode(&binary(truncated)).unwrap_err().to_string(), from_text.to_string());
        assert_eq!(
            decoder.decode(&Message::Ping(bytes::Bytes::new())).unwrap_err().kind(),
            DecodeErrorKind::Unsupported
        );
    }

    #[test]
    fn what_is_no_json_is_a_syntax_error_with_its_place() {
        for text in ["", "{", "hello", "{\"type\":\"left\"} more", "{\"type\":", "\u{0}"] {
            assert_eq!(error(text).kind(), DecodeErrorKind::Syntax, "{text:?}");
        }
        assert!(error("{\n  nope").to_string().ends_with("line 2 column 3"), "{}", error("{\n  nope"));
    }

    #[test]
    fn what_does_not_fit_tells_what_was_expected_and_never_what_was_found() {
        for (text, words) in [
            (r#"{"type":"said","text":"s3cret"}"#, "missing field `at`"),
            (r#"{"type":"said","text":"s3cret","at":"s3cret"}"#, "expected u32"),
            (r#"{"type":"said","text":"a","at":"x, expected s3cret"}"#, "expected u32"),
            (r#"{"type":"s3cret"}"#, "expected `said` or `left`"),
            (r#""s3cret""#, "expected internally tagged enum Event"),
        ] {
            let error = error(text);
            assert_eq!(error.kind(), DecodeErrorKind::Shape, "{text}");
            let shown = format!("{error} {error:?}");
            assert!(shown.contains(words), "{text}: {shown}");
            assert!(!shown.contains("s3cret"), "{text}: {shown}");
        }
    }

    #[test]
    fn an_error_whose_place_serde_does_not_know_names_none() {
        for text in [r#"{"type":"said","text":"a"}"#, r#"{"type":"said","text":"a","at":"b"}"#] {
            let error = error(text).to_string();
            assert!(!error.contains("line"), "{error}");
        }
        let known = serde_json::from_str::<u32>("[]").unwrap_err();
        assert!(
            redacted(&known).to_string().ends_with("expected u32 at line 1 column 0"),
            "{}",
            redacted(&known)
        );
    }

    #[test]
    fn an_error_that_is_not_serdes_own_keeps_only_its_place() {
        let custom = <serde_json::Error as serde::de::Error>::custom("s3cret, expected s3cret");
        assert!(!redacted(&custom).to_string().contains("s3cret"));
        assert_eq!(expectation("unknown field `a`, expected s3cret`, there are no fields"), None);
    }

    #[test]
    fn an_unknown_type_is_skipped_and_a_known_one_that_does_not_fit_is_not() {
        let mut decoder = JsonDecoder::<Event>::new().skip_unknown("type", &["said", "left"]);
        let mut kind = |text: &'static str| decoder.decode(&text.into()).map_err(|error| error.kind());
        assert_eq!(kind(r#"{"a":[{}],"type":"joined"}"#), Ok(None));
        assert_eq!(kind(r#"{"type":"left"}"#), Ok(Some(Event::Left)));
        assert_eq!(kind(r#"{"type":"said"}"#), Err(DecodeErrorKind::Shape));
        assert_eq!(kind(r#"{"typ":"joined"}"#), Err(DecodeErrorKind::Shape));
        assert_eq!(kind(r#"{"type":7}"#), Err(DecodeErrorKind::Shape));
        assert_eq!(kind("[]"), Err(DecodeErrorKind::Shape));
    }
}
