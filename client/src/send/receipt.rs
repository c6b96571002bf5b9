//! What became of a message, and the future that tells.

use std::{
    error::Error as StdError,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use everwire_engine::{EngineError, EngineErrorKind, Message};

use super::outbox::Outbox;

/// What became of a message. Each message has exactly one outcome.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[must_use = "only the outcome tells whether the message is on its way"]
#[non_exhaustive]
pub enum SendOutcome {
    /// It was handed to the operating system. That is not yet its arrival: only an answer of the peer tells
    /// that.
    Flushed,
    /// It was not sent, not even in part, and will not be. Sending it again cannot make it arrive twice.
    NotSent(NotSentReason),
    /// It was handed to the connection, which ended before the flush was confirmed. Whether the peer has it
    /// is not known.
    MaybeSent,
}

impl SendOutcome {
    /// Whether it was flushed.
    pub const fn is_flushed(self) -> bool {
        matches!(self, Self::Flushed)
    }
}

impl fmt::Display for SendOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flushed => f.write_str("flushed"),
            Self::NotSent(reason) => write!(f, "not sent: {reason}"),
            Self::MaybeSent => f.write_str("maybe sent: its connection ended before the flush was confirmed"),
        }
    }
}

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum NotSentReason {
    /// There is no connection, and its class does not wait for one.
    NotConnected,
    /// The connection ended, or was about to, while the message was queued. Or a disconnect of the user is under way,
    /// during which nothing is accepted, whatever its class.
    Disconnected,
    /// It was meant for a connection that is not the present one.
    OtherConnection,
    /// It waited for a connection, or for its turn on one that takes nothing, for as long as its class allows.
    Expired,
    /// The queue is full. Only `try_send` says so; `send` waits.
    Full,
    /// The connection refuses messages of this size.
    TooLarge,
    /// Nobody may send it, as [`Message::check`] says (a ping or pong of more than 125 bytes), or the connection says.
    /// Said when it is given, connected or not.
    Invalid,
    /// It is a close frame, which ends the connection behind the client's back: call
    /// [`disconnect`](crate::Client::disconnect) instead. [`close_codes`](crate::ClientBuilder::close_codes) chooses
    /// its code. Said when it is given, connected or not.
    CloseFrame,
    /// The client has ended.
    ClientGone,
}

impl NotSentReason {
    /// Why no application may send this. Of data only the kind is looked at.
    #[inline]
    pub(crate) fn against(message: &Message) -> Option<Self> {
        match message {
            Message::Text(_) | Message::Binary(_) => None,
            Message::Close(_) => Some(Self::CloseFrame),
            _ => message.check().is_err().then_some(Self::Invalid),
        }
    }

    /// Why the connection refuses this one message; `None` when the error ends the connection.
    pub(super) fn refused(error: &EngineError) -> Option<Self> {
        match error.kind() {
            EngineErrorKind::InvalidRequest => Some(Self::Invalid),
            EngineErrorKind::TooLarge { .. } => Some(Self::TooLarge),
            _ => None,
        }
    }
}

impl fmt::Display for NotSentReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotConnected => "the client is not connected",
            Self::Disconnected => "the connection ended before its turn came",
            Self::OtherConnection => "it was meant for another connection than the present one",
            Self::Expired => "its turn did not come within its time to live",
            Self::Full => "the send queue is full",
            Self::TooLarge => "it is larger than the connection allows",
            Self::Invalid => "nobody may send it: `Message::check` says what is wrong with it",
            Self::CloseFrame => "it is a close frame: call `disconnect`, which sends one",
            Self::ClientGone => "the client has ended",
        })
    }
}

/// The future of a message's outcome. It settles in any case, at the latest when the client ends: that of a message which
/// waits for a connection when it is connected, or when its time to live ends, and not when the user disconnects.
///
/// Dropping it changes nothing for the message. Polled again after it has settled it tells the same.
#[must_use = "only the outcome tells whether the message is on its way; `drop` it if nobody cares"]
pub struct Receipt(State);

enum State {
    Waiting {
        /// Where the outcome will be.
        outbox: Outbox,
        number: u64,
    },
    Settled(SendOutcome),
}

impl Receipt {
    #[inline]
    pub(super) const fn waiting(outbox: Outbox, number: u64) -> Self {
        Self(State::Waiting { outbox, number })
    }

    pub(crate) const fn settled(outcome: SendOutcome) -> Self {
        Self(State::Settled(outcome))
    }
}

impl Future for Receipt {
    type Output = SendOutcome;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<SendOutcome> {
        let outcome = match &self.0 {
            State::Waiting { outbox, number } => ready!(outbox.poll_outcome(*number, cx.waker())),
            State::Settled(outcome) => return Poll::Ready(*outcome),
        };
        self.0 = State::Settled(outcome);
        Poll::Ready(outcome)
    }
}

impl Drop for Receipt {
    #[inline]
    fn drop(&mut self) {
        if let State::Waiting { outbox, number } = &self.0 {
            outbox.give_up(*number);
        }
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = if let State::Settled(outcome) = &self.0 { Some(outcome) } else { None };
        f.debug_struct("Receipt").field("outcome", &outcome).finish_non_exhaustive()
    }
}

/// A message that was refused, given back. Its `Debug` shows the size, not the payload.
#[derive(Clone, Eq, PartialEq)]
#[non_exhaustive]
pub struct TrySendError {
    /// The message.
    pub message: Message,
    /// Why it was refused: [`Full`](NotSentReason::Full), [`NotConnected`](NotSentReason::NotConnected),
    /// [`Disconnected`](NotSentReason::Disconnected) while a disconnect of the user is under way,
    /// [`OtherConnection`](NotSentReason::OtherConnection), [`Invalid`](NotSentReason::Invalid),
    /// [`CloseFrame`](NotSentReason::CloseFrame), or [`ClientGone`](NotSentReason::ClientGone).
    pub reason: NotSentReason,
}

impl TrySendError {
    pub(crate) const fn new(message: Message, reason: NotSentReason) -> Self {
        Self { message, reason }
    }
}

impl fmt::Display for TrySendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the message was not accepted: {}", self.reason)
    }
}

impl fmt::Debug for TrySendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrySendError")
            .field("reason", &self.reason)
            .field("message_len", &self.message.len())
            .finish_non_exhaustive()
    }
}

impl StdError for TrySendError {}
