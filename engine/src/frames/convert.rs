//! Messages and errors, from ours to tungstenite's and back.

use std::io;

use bytes::Bytes;
use tokio_tungstenite::tungstenite::{
    self,
    error::{CapacityError, Error as WsError, ProtocolError},
    protocol::{
        CloseFrame as WsCloseFrame,
        frame::{
            Frame,
            coding::{Data, OpCode},
        },
    },
};

use super::{
    adapter::NotUtf8,
    boundary::Mark,
    config::FrameConfig,
    deflate::{Codec, InflateError},
};
use crate::{CloseCode, CloseFrame, EngineError, EngineErrorKind, Limit, Message, Stage, Text};

/// Why reading ends.
pub(super) enum Failure {
    Frames(WsError),
    Inflate(InflateError),
    /// A text is none; what it is must not print.
    NotUtf8,
}

impl From<WsError> for Failure {
    fn from(error: WsError) -> Self {
        match error {
            WsError::Io(error) if NotUtf8::is_behind(&error) => Self::NotUtf8,
            WsError::Utf8(_) => Self::NotUtf8,
            error => Self::Frames(error),
        }
    }
}

impl From<InflateError> for Failure {
    fn from(error: InflateError) -> Self {
        Self::Inflate(error)
    }
}

impl Failure {
    /// What the peer is told, when there is one to tell.
    pub(super) const fn close_code(&self) -> Option<CloseCode> {
        match self {
            Self::Frames(WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) | WsError::Io(_)) => {
                None
            }
            Self::Frames(WsError::Capacity(_)) | Self::Inflate(InflateError::TooLarge { .. }) => {
                Some(CloseCode::TOO_BIG)
            }
            Self::NotUtf8 | Self::Inflate(InflateError::Corrupt) => Some(CloseCode::INVALID_DATA),
            Self::Frames(_) => Some(CloseCode::PROTOCOL),
        }
    }

    pub(super) fn into_error(self, config: FrameConfig) -> EngineError {
        match self {
            Self::Frames(error) => map_error(error, config),
            Self::NotUtf8 => EngineError::new(EngineErrorKind::InvalidUtf8, Stage::Open),
            Self::Inflate(error) => {
                let max = config.max_message;
                let kind = match error {
                    InflateError::TooLarge { .. } => {
                        EngineErrorKind::TooLarge { what: Limit::Message, size: max.saturating_add(1), max }
                    }
                    InflateError::Corrupt => EngineErrorKind::Protocol,
                };
                EngineError::new(kind, Stage::Open).with_detail(error.to_string())
            }
        }
    }
}

#[inline]
pub(super) fn would_block(error: &WsError) -> bool {
    matches!(error, WsError::Io(error) if error.kind() == io::ErrorKind::WouldBlock)
}

pub(super) fn map_error(error: WsError, config: FrameConfig) -> EngineError {
    let kind = match &error {
        WsError::Io(_) | WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            EngineErrorKind::Io
        }
        WsError::ConnectionClosed
        | WsError::AlreadyClosed
        | WsError::Protocol(ProtocolError::SendAfterClosing) => EngineErrorKind::Closed,
        WsError::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
            // The limit for frames strikes first where both are the same.
            let what = if *max_size == config.max_frame { Limit::Frame } else { Limit::Message };
            EngineErrorKind::TooLarge { what, size: *size, max: *max_size }
        }
        WsError::Utf8(_) => EngineErrorKind::InvalidUtf8,
        _ => EngineErrorKind::Protocol,
    };
    let mapped = EngineError::new(kind, Stage::Open);
    match error {
        WsError::Io(error) => EngineError::from(error),
        WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            mapped.with_detail("it ended without a close frame")
        }
        // The text of this one repeats what the peer sent.
        WsError::Utf8(_) => mapped,
        error => mapped.with_source(error),
    }
}

#[inline]
pub(super) fn from_tungstenite(message: tungstenite::Message) -> Message {
    match message {
        tungstenite::Message::Text(text) => Message::Text(Text::from_checked(text)),
        tungstenite::Message::Binary(payload) => Message::Binary(payload),
        tungstenite::Message::Ping(payload) => Message::Ping(payload),
        tungstenite::Message::Pong(payload) => Message::Pong(payload),
        tungstenite::Message::Close(frame) => Message::Close(frame.map(|frame| CloseFrame {
            code: CloseCode::received(frame.code.into()),
            reason: Text::from_checked(frame.reason),
        })),
        tungstenite::Message::Frame(_) => unreachable!("tungstenite reads no raw frames"),
    }
}

/// A close frame as the peer sent it. 1014, which gateways send, came to tungstenite as 1000; for a code that it does not
/// know, it puts 1002 and words of its own into its place.
pub(super) fn closed(message: tungstenite::Message, payload: &[u8]) -> Message {
    let sent = payload.split_first_chunk().and_then(|(code, reason)| {
        let reason = Text::try_from(Bytes::copy_from_slice(reason)).ok()?;
        CloseFrame::new(u16::from_be_bytes(*code), reason).ok()
    });
    match (from_tungstenite(message), sent) {
        (Message::Close(Some(frame)), Some(sent)) if frame.code != sent.code => Message::Close(Some(sent)),
        (message, _) => message,
    }
}

/// The close frame of a gateway, which tungstenite read as a pong.
pub(super) fn bad_gateway(payload: &Bytes) -> Result<Message, Failure> {
    let reason = Text::try_from(payload.slice(2..)).map_err(|_| Failure::NotUtf8)?;
    Ok(Message::Close(Some(CloseFrame { code: CloseCode::BAD_GATEWAY, reason })))
}

#[inline]
pub(super) fn into_tungstenite(message: Message) -> Result<tungstenite::Message, EngineError> {
    message.check()?;
    Ok(match message {
        Message::Text(text) => tungstenite::Message::Text(text.into_checked()),
        Message::Binary(payload) => tungstenite::Message::Binary(payload),
        Message::Ping(payload) => tungstenite::Message::Ping(payload),
        Message::Pong(payload) => tungstenite::Message::Pong(payload),
        Message::Close(frame) => tungstenite::Message::Close(frame.map(|frame| WsCloseFrame {
            code: frame.code.get().into(),
            reason: frame.reason.into_checked(),
        })),
    })
}

/// A message that tungstenite took for a binary one because it was compressed, or a binary one.
pub(super) fn inflated(codec: &mut Codec, mark: Mark, payload: Bytes) -> Result<Message, Failure> {
    Ok(match mark {
        Mark::Binary => Message::Binary(payload),
        Mark::CompressedBinary => Message::Binary(codec.inflate(&payload)?),
        Mark::CompressedText => {
            let text = codec.inflate(&payload)?;
            Message::Text(Text::try_from(text).map_err(|_| Failure::NotUtf8)?)
        }
    })
}

/// The message compressed, where that is worth it: a frame of tungstenite's with the first reserved bit.
pub(super) fn deflated(codec: &mut Codec, message: tungstenite::Message) -> tungstenite::Message {
    let (payload, data): (&[u8], _) = match &message {
        tungstenite::Message::Text(text) => (text.as_bytes(), Data::Text),
        tungstenite::Message::Binary(payload) => (payload, Data::Binary),
        _ => return message,
    };
    if !codec.compresses(payload.len()) {
        return message;
    }
    let mut frame = Frame::message(codec.deflate(payload), OpCode::Data(data), true);
    frame.header_mut().rsv1 = true;
    tungstenite::Message::Frame(frame)
}
