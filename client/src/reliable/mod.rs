//! At least once, in order, and each once: for protocols whose peers number and acknowledge messages.
//!
//! A connection that dies leaves open which of the last messages arrived
//! ([`SendOutcome::MaybeSent`](crate::SendOutcome::MaybeSent)). Where both sides number what they send and
//! tell each other how far they got, nothing needs to stay open: what is not acknowledged is kept and sent
//! again, what arrives twice is dropped.
//!
//! [`ReliableSender`] and [`ReliableReceiver`] are the two halves of one direction. They are pure: they know
//! neither a connection nor a clock, and how numbers and acknowledgements are written is the protocol's
//! business ([XEP-0198](https://xmpp.org/extensions/xep-0198.html) is one that does it).
//!
//! Send what a connection's resume asks for on that connection only
//! ([`Outgoing::on_connection`](crate::Outgoing::on_connection)): the next one begins with a resume of its own.
//!
//! ```
//! use everwire_client::reliable::{ReliableLimits, ReliableReceiver, ReliableSender};
//!
//! let mut sender = ReliableSender::new(ReliableLimits::default());
//! let mut receiver = ReliableReceiver::new(ReliableLimits::default());
//! let mut inbox = Vec::new();
//!
//! // "a" arrives, its acknowledgement and "b" are lost with the connection.
//! let a = sender.push("a", 1)?;
//! let b = sender.push("b", 1)?;
//! receiver.receive(a, "a");
//! inbox.extend(receiver.pop());
//!
//! // On the next connection the receiver tells how far it got, and the sender sends the rest.
//! let resumed = sender.resume(receiver.ack())?;
//! assert_eq!((resumed.replayed, resumed.gap), (1, None));
//! for (number, message) in sender.unacked() {
//!     receiver.receive(number, *message);
//! }
//! inbox.extend(receiver.pop());
//! assert_eq!(inbox, [(a, "a"), (b, "b")]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod receiver;
mod sender;
#[cfg(test)]
mod tests;

use std::{error::Error as StdError, fmt};

pub use self::{
    receiver::{Received, ReliableReceiver, Skipped},
    sender::{Full, ReliableSender},
};

/// How much each half keeps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReliableLimits {
    messages: usize,
    bytes: usize,
}

impl ReliableLimits {
    /// At most so many messages that are not acknowledged, or not in order yet. Default: 1024. At least 1.
    #[must_use]
    pub const fn with_messages(mut self, messages: usize) -> Self {
        self.messages = if messages == 0 { 1 } else { messages };
        self
    }

    /// At most so many bytes of payload that are not acknowledged. Default: 4 MiB. A single message that is
    /// larger is accepted when nothing else is kept. The receiver is bound by the number of messages alone.
    #[must_use]
    pub const fn with_bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }
}

impl Default for ReliableLimits {
    fn default() -> Self {
        Self { messages: 1024, bytes: 4 << 20 }
    }
}

/// Numbers of messages, the first and the last included.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a range has two ends")]
pub struct Gap {
    /// The first.
    pub from: u64,
    /// The last.
    pub to: u64,
}

impl Gap {
    /// How many.
    pub const fn count(&self) -> u64 {
        self.to.saturating_sub(self.from).saturating_add(1)
    }
}

/// A session goes on over a new connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Resumed {
    /// How many messages are to be sent again.
    pub replayed: u64,
    /// Messages that the peer misses and that are kept no more, since it had acknowledged them: it has lost
    /// what it had.
    pub gap: Option<Gap>,
}

/// A session cannot go on: the peer claims what cannot be. Start a new one, on both sides.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ResumeFailed {
    /// How far the peer says it got.
    pub claimed: u64,
    /// The last message that was sent.
    pub sent: u64,
}

impl fmt::Display for ResumeFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { claimed, sent } = self;
        write!(f, "the peer acknowledges message {claimed}, and only {sent} were sent: start a new session")
    }
}

impl StdError for ResumeFailed {}
