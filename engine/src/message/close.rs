//! Close frames and their codes: what may be sent, and what was received.

use std::fmt;

use super::Text;

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
        let frame = Self { code: CloseCode(code), reason: reason.into() };
        frame.check()?;
        Ok(frame)
    }

    /// Whether it may be sent: its fields may have been set by hand, or received.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn check(&self) -> Result<(), InvalidClose> {
        CloseCode::new(self.code.get())?;
        if self.reason.len() > Self::MAX_REASON {
            return Err(InvalidClose::ReasonTooLong(self.reason.len()));
        }
        Ok(())
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
