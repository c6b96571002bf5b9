//! What travels over a connection: messages, close frames, close codes.

use std::{borrow::Cow, fmt, ops::Deref};

use bytes::Bytes;

/// One WebSocket message, as the application and the engine exchange it.
///
/// Payloads are reference-counted slices: cloning a message copies no data, and a received payload is a
/// slice of the buffer it was read into. Note the consequence: one small retained message keeps its whole
/// read buffer alive, so copy what must outlive the moment.
///
/// The variants are those of [RFC 6455 §5](https://www.rfc-editor.org/rfc/rfc6455#section-5.5).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
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

    /// A binary message.
    pub fn binary(payload: impl Into<Bytes>) -> Self {
        Self::Binary(payload.into())
    }

    /// A close frame with a code and a reason.
    pub fn close(code: CloseCode, reason: impl Into<Text>) -> Self {
        Self::Close(Some(CloseFrame { code, reason: reason.into() }))
    }

    /// The size of the payload in bytes, without the frame header.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(payload) | Self::Ping(payload) | Self::Pong(payload) => payload.len(),
            Self::Close(frame) => frame.as_ref().map_or(0, |frame| 2 + frame.reason.len()),
        }
    }

    /// Whether the payload is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether this is application data, text or binary, and no control message.
    pub const fn is_data(&self) -> bool {
        matches!(self, Self::Text(_) | Self::Binary(_))
    }

    /// The text, if this is a text message.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl From<&'static str> for Message {
    fn from(text: &'static str) -> Self {
        Self::Text(Text::from_static(text))
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

/// Code and reason of a close frame. They are two facts and stay apart.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the RFC closes the form of a close frame")]
pub struct CloseFrame {
    /// Why, as a number.
    pub code: CloseCode,
    /// Why, in words; at most 123 bytes fit into a frame.
    pub reason: Text,
}

impl CloseFrame {
    /// The longest reason that fits into a control frame
    /// ([RFC 6455 §5.5](https://www.rfc-editor.org/rfc/rfc6455#section-5.5)).
    pub const MAX_REASON: usize = 123;

    /// A frame that may be sent.
    ///
    /// # Errors
    /// [`InvalidClose`] when the code may not be sent or the reason is longer than
    /// [`MAX_REASON`](Self::MAX_REASON) bytes.
    pub fn new(code: u16, reason: impl Into<Text>) -> Result<Self, InvalidClose> {
        let (code, reason) = (CloseCode::new(code)?, reason.into());
        if reason.len() > Self::MAX_REASON {
            return Err(InvalidClose::ReasonTooLong(reason.len()));
        }
        Ok(Self { code, reason })
    }
}

/// A close code ([RFC 6455 §7.4](https://www.rfc-editor.org/rfc/rfc6455#section-7.4)).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: an endpoint goes away: a server stops, a page is left.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: a protocol error.
    pub const PROTOCOL: Self = Self(1002);
    /// 1003: a kind of data that the endpoint cannot take.
    pub const UNSUPPORTED: Self = Self(1003);
    /// 1005: the close frame had no code. Never sent.
    pub const NO_STATUS: Self = Self(1005);
    /// 1006: the connection ended without a close frame. Never sent.
    pub const ABNORMAL: Self = Self(1006);
    /// 1007: data that does not fit its type, such as text that is no UTF-8.
    pub const INVALID_DATA: Self = Self(1007);
    /// 1008: a policy was violated.
    pub const POLICY: Self = Self(1008);
    /// 1009: a message was too big.
    pub const TOO_BIG: Self = Self(1009);
    /// 1010: the client wanted an extension that the server did not negotiate.
    pub const EXTENSION: Self = Self(1010);
    /// 1011: the server met an unexpected condition.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: the server restarts.
    pub const RESTART: Self = Self(1012);
    /// 1013: try again later.
    pub const TRY_AGAIN: Self = Self(1013);
    /// 1014: a gateway got a bad answer.
    pub const BAD_GATEWAY: Self = Self(1014);
    /// 4000: we close, for a reason of our system (recovery, lifecycle).
    pub const SYSTEM: Self = Self(4000);
    /// 4001: we close, since no pong was received.
    pub const NO_PONG: Self = Self(4001);
    /// 4002: we close, since a newer connection has replaced this one.
    pub const REPLACED: Self = Self(4002);

    /// A code that may be sent: 1000–1003, 1007–1014 or 3000–4999.
    ///
    /// # Errors
    /// [`InvalidClose::Code`] for reserved and unassigned codes.
    pub const fn new(code: u16) -> Result<Self, InvalidClose> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Ok(Self(code)),
            _ => Err(InvalidClose::Code(code)),
        }
    }

    /// A code as a peer or a closed socket reported it; [`NO_STATUS`](Self::NO_STATUS) and
    /// [`ABNORMAL`](Self::ABNORMAL) are legal here.
    pub const fn received(code: u16) -> Self {
        Self(code)
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

/// Why a close frame cannot be sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum InvalidClose {
    /// The code is reserved or unassigned.
    Code(u16),
    /// The reason has so many bytes; 123 fit.
    ReasonTooLong(usize),
}

impl fmt::Display for InvalidClose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => {
                write!(f, "close code {code} may not be sent (use 1000-1003, 1007-1014 or 3000-4999)")
            }
            Self::ReasonTooLong(len) => {
                write!(
                    f,
                    "close reason of {len} bytes is longer than the {} that fit",
                    CloseFrame::MAX_REASON
                )
            }
        }
    }
}

impl std::error::Error for InvalidClose {}

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
    fn text_is_always_utf8_and_shares_its_bytes() {
        let bytes = Bytes::from("grüezi".to_owned());
        let text = Text::try_from(bytes.clone()).unwrap();
        assert_eq!(text, "grüezi");
        assert_eq!(Bytes::from(text).as_ptr(), bytes.as_ptr());
        assert!(Text::try_from(Bytes::from_static(&[0xc3])).is_err());
    }
}
