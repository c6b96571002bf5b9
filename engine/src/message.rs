//! What travels over a connection: messages, close frames, close codes.

use std::{borrow::Cow, fmt, ops::Deref};

use bytes::Bytes;

mod close;

pub use close::{CloseCode, CloseFrame, InvalidClose};

use crate::{EngineError, EngineErrorKind, Limit, Stage};

/// The longest payload of a control frame ([RFC 6455 §5.5](https://www.rfc-editor.org/rfc/rfc6455#section-5.5)).
const MAX_CONTROL: usize = 125;

/// One WebSocket message, as the application and the engine exchange it.
///
/// Payloads are reference-counted slices: cloning a message copies no data, and a received payload is a
/// slice of the buffer it was read into. Note the consequence: one small retained message keeps its whole
/// read buffer alive, so copy what must outlive the moment.
///
/// `Debug` prints kind and length, for a payload may hold a token: `Text(17 bytes)`. [`show_payload`](Self::show_payload)
/// prints all of it.
///
/// The variants are those of [RFC 6455 §5](https://www.rfc-editor.org/rfc/rfc6455#section-5.5).
#[derive(Clone, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the RFC closes the set of messages; a match shall be complete")]
pub enum Message {
    /// A text message: valid UTF-8 by construction.
    Text(Text),
    /// A binary message.
    Binary(Bytes),
    /// A protocol ping. The engine answers a received one by itself; it is delivered for information.
    Ping(Bytes),
    /// A protocol pong, solicited or not.
    Pong(Bytes),
    /// A close frame. Received: the last message of the connection. Sent: starts the close handshake.
    Close(Option<CloseFrame>),
}

impl Message {
    /// A text message.
    pub fn text(text: impl Into<Text>) -> Self {
        Self::Text(text.into())
    }

    /// A text message that is part of the program: no allocation.
    pub const fn from_static(text: &'static str) -> Self {
        Self::Text(Text::from_static(text))
    }

    /// A binary message.
    pub fn binary(payload: impl Into<Bytes>) -> Self {
        Self::Binary(payload.into())
    }

    /// A close frame with a code and a reason.
    pub fn close(code: CloseCode, reason: impl Into<Text>) -> Self {
        Self::Close(Some(CloseFrame { code, reason: reason.into() }))
    }

    /// The size of the payload in bytes, without the frame header.
    #[inline]
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(payload) | Self::Ping(payload) | Self::Pong(payload) => payload.len(),
            Self::Close(frame) => frame.as_ref().map_or(0, |frame| 2 + frame.reason.len()),
        }
    }

    /// Whether the payload is empty.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether this is application data, text or binary, and no control message.
    #[inline]
    pub const fn is_data(&self) -> bool {
        matches!(self, Self::Text(_) | Self::Binary(_))
    }

    /// The message with its payload for `{:?}`, for where that is known to hold no secret.
    ///
    /// ```
    /// use everwire_engine::Message;
    /// let message = Message::from("auth s3cret");
    /// assert_eq!(format!("{message:?}"), "Text(11 bytes)");
    /// assert_eq!(format!("{:?}", message.show_payload()), r#"Text("auth s3cret")"#);
    /// ```
    pub const fn show_payload(&self) -> ShowPayload<'_> {
        ShowPayload(self)
    }

    /// Whether it may be sent. For whoever writes an engine: to be asked first in `start_send`, so that all engines
    /// refuse the same.
    ///
    /// # Errors
    /// [`EngineErrorKind::InvalidRequest`] for a close frame whose code may not be sent or whose reason is too long (its
    /// fields are public, and a received one may have any code), [`EngineErrorKind::TooLarge`] for a ping or pong of
    /// more than 125 bytes.
    ///
    /// ```
    /// use everwire_engine::{CloseCode, EngineErrorKind, Message};
    /// let error = Message::close(CloseCode::ABNORMAL, "").check().unwrap_err();
    /// assert_eq!(error.kind(), EngineErrorKind::InvalidRequest);
    /// assert!(Message::close(CloseCode::NORMAL, "bye").check().is_ok());
    /// ```
    #[inline]
    pub fn check(&self) -> Result<(), EngineError> {
        match self {
            Self::Text(_) | Self::Binary(_) => Ok(()),
            _ => self.check_control(),
        }
    }

    fn check_control(&self) -> Result<(), EngineError> {
        match self {
            Self::Ping(payload) | Self::Pong(payload) if payload.len() > MAX_CONTROL => {
                let (size, max) = (payload.len(), MAX_CONTROL);
                let kind = EngineErrorKind::TooLarge { what: Limit::Frame, size, max };
                Err(EngineError::new(kind, Stage::Open).with_detail("a control frame carries no more"))
            }
            Self::Close(Some(frame)) => frame.check().map_err(|error| {
                EngineError::new(EngineErrorKind::InvalidRequest, Stage::Open).with_detail(error.to_string())
            }),
            _ => Ok(()),
        }
    }

    /// The text, if this is a text message.
    #[inline]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Binary(payload) => write!(f, "Binary({} bytes)", payload.len()),
            Self::Ping(payload) => write!(f, "Ping({} bytes)", payload.len()),
            Self::Pong(payload) => write!(f, "Pong({} bytes)", payload.len()),
            // A code and a few words are no payload of the application's.
            Self::Close(frame) => f.debug_tuple("Close").field(frame).finish(),
        }
    }
}

/// See [`Message::show_payload`].
#[derive(Clone, Copy)]
pub struct ShowPayload<'a>(&'a Message);

impl fmt::Debug for ShowPayload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Message::Text(text) => f.debug_tuple("Text").field(text).finish(),
            Message::Binary(payload) => f.debug_tuple("Binary").field(payload).finish(),
            Message::Ping(payload) => f.debug_tuple("Ping").field(payload).finish(),
            Message::Pong(payload) => f.debug_tuple("Pong").field(payload).finish(),
            Message::Close(_) => self.0.fmt(f),
        }
    }
}

/// Copies the text. One that is part of the program needs no copy: [`Message::from_static`].
impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

/// Copies the text.
impl From<&String> for Message {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<Text> for Message {
    fn from(text: Text) -> Self {
        Self::Text(text)
    }
}

impl From<Bytes> for Message {
    fn from(payload: Bytes) -> Self {
        Self::Binary(payload)
    }
}

impl From<Vec<u8>> for Message {
    fn from(payload: Vec<u8>) -> Self {
        Self::Binary(payload.into())
    }
}

// With the tungstenite engine the text is tungstenite's own checked slice, so that a received text is
// neither copied nor checked twice; without it, ours. Neither shows in the public interface.
#[cfg(feature = "tungstenite")]
type Checked = tokio_tungstenite::tungstenite::Utf8Bytes;

/// A reference-counted piece of valid UTF-8: to `Bytes` what `str` is to `[u8]`.
///
/// Dereferences to `str`; cloning copies no data.
///
/// ```
/// use everwire_engine::Text;
/// let text = Text::from("héllo".to_owned());
/// assert_eq!(text.to_uppercase(), "HÉLLO");
/// assert!(Text::try_from(bytes::Bytes::from_static(b"\xff")).is_err());
/// ```
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Text(Checked);

impl Text {
    /// A text that is part of the program: no allocation.
    pub const fn from_static(text: &'static str) -> Self {
        Self(Checked::from_static(text))
    }

    /// The text as a string slice.
    #[inline]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    #[cfg(feature = "tungstenite")]
    pub(crate) const fn from_checked(text: Checked) -> Self {
        Self(text)
    }

    #[cfg(feature = "tungstenite")]
    pub(crate) fn into_checked(self) -> Checked {
        self.0
    }
}

impl Deref for Text {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        self.0.as_str()
    }
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self.as_str().as_bytes()
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl std::hash::Hash for Text {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(Checked::from(text))
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(Checked::from(text))
    }
}

impl From<Cow<'_, str>> for Text {
    fn from(text: Cow<'_, str>) -> Self {
        Self::from(text.into_owned())
    }
}

impl TryFrom<Bytes> for Text {
    type Error = std::str::Utf8Error;

    fn try_from(payload: Bytes) -> Result<Self, Self::Error> {
        Checked::try_from(payload).map(Self)
    }
}

impl From<Text> for Bytes {
    fn from(text: Text) -> Self {
        text.0.into()
    }
}

#[cfg(not(feature = "tungstenite"))]
use fallback::Checked;

#[cfg(not(feature = "tungstenite"))]
mod fallback {
    use bytes::Bytes;

    /// UTF-8 that was checked when it came in. `as_str` checks again, since saying otherwise needs
    /// `unsafe`; the tungstenite engine's form does not.
    #[derive(Clone, Default, Eq, PartialEq)]
    pub(super) struct Checked(Bytes);

    impl Checked {
        pub(super) const fn from_static(text: &'static str) -> Self {
            Self(Bytes::from_static(text.as_bytes()))
        }

        pub(super) fn as_str(&self) -> &str {
            std::str::from_utf8(&self.0).expect("checked when it was made")
        }
    }

    impl From<String> for Checked {
        fn from(text: String) -> Self {
            Self(text.into())
        }
    }

    impl From<&str> for Checked {
        fn from(text: &str) -> Self {
            Self(Bytes::copy_from_slice(text.as_bytes()))
        }
    }

    impl TryFrom<Bytes> for Checked {
        type Error = std::str::Utf8Error;

        fn try_from(payload: Bytes) -> Result<Self, Self::Error> {
            std::str::from_utf8(&payload)?;
            Ok(Self(payload))
        }
    }

    impl From<Checked> for Bytes {
        fn from(text: Checked) -> Self {
            text.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_and_unassigned_codes_are_refused_when_given() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, u16::MAX] {
            assert_eq!(CloseCode::new(code), Err(InvalidClose::Code(code)));
        }
        for code in [1000, 1003, 1007, 1014, 3000, 4001, 4999] {
            assert_eq!(CloseCode::new(code).map(CloseCode::get), Ok(code));
        }
    }

    #[test]
    fn a_reason_longer_than_a_control_frame_is_refused_when_given() {
        assert!(CloseFrame::new(1000, "x".repeat(123)).is_ok());
        assert_eq!(CloseFrame::new(1000, "x".repeat(124)), Err(InvalidClose::ReasonTooLong(124)));
    }

    #[test]
    fn a_borrowed_text_is_copied_and_a_static_one_is_not() {
        let (borrowed, fixed) = (String::from("hello"), "hello");
        let Message::Text(copied) = Message::from(borrowed.as_str()) else { panic!() };
        assert!(copied == "hello" && copied.as_ptr() != borrowed.as_ptr());
        let Message::Text(kept) = Message::from_static(fixed) else { panic!() };
        assert_eq!(kept.as_ptr(), fixed.as_ptr());
    }

    #[test]
    fn no_payload_prints() {
        for (message, printed) in [
            (Message::from("s3cret"), "Text(6 bytes)"),
            (Message::binary(&b"s3cret"[..]), "Binary(6 bytes)"),
            (Message::Ping("s3cret".into()), "Ping(6 bytes)"),
            (Message::Pong("s3cret".into()), "Pong(6 bytes)"),
            (Message::Close(None), "Close(None)"),
        ] {
            assert_eq!(format!("{message:?}"), printed);
        }
        let close = format!("{:?}", Message::close(CloseCode::NORMAL, "bye"));
        assert!(close.contains("1000") && close.contains("bye"), "{close}");
    }

    #[test]
    fn text_is_always_utf8_and_shares_its_bytes() {
        let bytes = Bytes::from("grüezi".to_owned());
        let text = Text::try_from(bytes.clone()).unwrap();
        assert_eq!(text, "grüezi");
        assert_eq!(Bytes::from(text).as_ptr(), bytes.as_ptr());
        assert!(Text::try_from(Bytes::from_static(&[0xc3])).is_err());
    }
}
