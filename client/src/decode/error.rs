//! Why a message was not decoded, without a word of what was in it.

use std::{borrow::Cow, error::Error as StdError, fmt, sync::Arc};

use everwire_engine::Message;

/// What was wrong with a message.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// It breaks the encoding's own rules: cut short, no JSON, no protobuf.
    Syntax,
    /// It is well encoded and does not fit the event's type: a field is missing or of another type.
    Shape,
    /// The decoder does not take messages of this sort, binary for instance.
    Unsupported,
    /// The decoder panicked.
    Panicked,
    /// Anything else.
    Other,
}

/// A message that does not decode.
///
/// It never prints the payload, and a decoder of your own shall not put it into the details or the source:
/// both end up in logs. Two errors are equal when kind and detail are.
#[derive(Clone)]
pub struct DecodeError {
    kind: DecodeErrorKind,
    detail: Option<Cow<'static, str>>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl DecodeError {
    /// An error of a kind.
    pub const fn new(kind: DecodeErrorKind) -> Self {
        Self { kind, detail: None, source: None }
    }

    /// With words that say what exactly and where. Must hold nothing of the payload.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// With its cause. Must print nothing of the payload.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// What was wrong.
    pub const fn kind(&self) -> DecodeErrorKind {
        self.kind
    }
}

impl From<DecodeErrorKind> for DecodeError {
    fn from(kind: DecodeErrorKind) -> Self {
        Self::new(kind)
    }
}

impl Eq for DecodeError {}

impl PartialEq for DecodeError {
    fn eq(&self, other: &Self) -> bool {
        (self.kind, &self.detail) == (other.kind, &other.detail)
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            DecodeErrorKind::Syntax => "the message breaks the rules of its encoding",
            DecodeErrorKind::Shape => "the message does not fit the event type",
            DecodeErrorKind::Unsupported => "the decoder does not take this sort of message",
            DecodeErrorKind::Panicked => "the decoder panicked",
            DecodeErrorKind::Other => "the message could not be decoded",
        })?;
        match &self.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecodeError")
            .field("kind", &self.kind)
            .field("detail", &self.detail)
            .field("source", &self.source)
            .finish()
    }
}

impl StdError for DecodeError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// A message that was rejected: what is known of it without its payload.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Reject {
    /// Whether it was a text message; otherwise it was binary.
    pub is_text: bool,
    /// The size of its payload in bytes.
    pub len: usize,
    /// Why it was rejected.
    pub error: DecodeError,
}

impl Reject {
    /// What is to be known of this message.
    pub fn new(message: &Message, error: DecodeError) -> Self {
        Self { is_text: message.as_text().is_some(), len: message.len(), error }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sort = if self.is_text { "text" } else { "binary" };
        write!(f, "{sort} message of {} bytes rejected: {}", self.len, self.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_one_clause_and_the_source_is_apart() {
        let error = DecodeError::new(DecodeErrorKind::Syntax).with_detail("at byte 3").with_source("cause");
        assert_eq!(error.to_string(), "the message breaks the rules of its encoding: at byte 3");
        assert_eq!(error.source().unwrap().to_string(), "cause");
        assert_eq!(error.clone(), DecodeError::new(DecodeErrorKind::Syntax).with_detail("at byte 3"));
    }

    #[test]
    fn every_kind_has_words_of_its_own() {
        for (kind, words) in [
            (DecodeErrorKind::Syntax, "the message breaks the rules of its encoding"),
            (DecodeErrorKind::Shape, "the message does not fit the event type"),
            (DecodeErrorKind::Unsupported, "the decoder does not take this sort of message"),
            (DecodeErrorKind::Panicked, "the decoder panicked"),
            (DecodeErrorKind::Other, "the message could not be decoded"),
        ] {
            let error = DecodeError::from(kind);
            assert_eq!((error.kind(), error.to_string().as_str()), (kind, words));
            assert!(error.source().is_none());
        }
    }

    #[test]
    fn a_reject_tells_size_and_sort_and_no_payload() {
        let reject = Reject::new(&"t0ken".into(), DecodeErrorKind::Shape.into());
        let shown = format!("{reject} {reject:?}");
        assert!(shown.contains("text message of 5 bytes rejected"), "{shown}");
        assert!(!shown.contains("t0ken"), "{shown}");
    }
}
