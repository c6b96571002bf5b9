//! Sending: one bounded queue between the handles and the driver, and one outcome for every message.
//!
//! Handles push into the [`Outbox`]; the driver's [`Pump`] takes all that is queued in one go, feeds it to the
//! connection, flushes once, and settles all that this flush confirmed by one mark. In steady state nothing is
//! allocated per message: queue and batches live in storage that is reused, and a receipt is a number.
//!
//! **No message is lost without its sender being told.** Every accepted message has a number, of which the
//! [`Ledger`](ledger::Ledger) learns the outcome exactly once, at the latest when the pump is dropped.

mod ledger;
mod line;
mod outbox;
mod pump;
mod push;
mod receipt;
mod room;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use self::receipt::{NotSentReason, Receipt, SendOutcome, TrySendError};
pub(crate) use self::{
    outbox::{Gate, Outbox},
    pump::{Pump, PumpState},
};

/// What shall happen to a message while there is no connection, and when its connection dies.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum SendClass {
    /// Sent now or not at all. Not connected: [`NotSent`](SendOutcome::NotSent) at once. This is the default,
    /// since only the application knows whether a message still makes sense later.
    #[default]
    FailFast,
    /// Sent on this very connection or not at all: for what makes sense there only, such as the answer to a
    /// message that came on it. An application hears of events a moment after they happen, and by then another
    /// connection may be up.
    OnConnection {
        /// Its number, as each [`ClientEvent`](crate::ClientEvent) carries it.
        generation: u64,
    },
    /// Waits for a connection, for at most so long, and once it is queued also when the user disconnects meanwhile.
    /// While that disconnect is under way nothing is accepted, and what waits for room is sent away. Once handed to a
    /// connection that then dies, it is [`MaybeSent`](SendOutcome::MaybeSent) and not sent again.
    Hold {
        /// How long it may wait, counted from the call.
        ttl: Duration,
    },
    /// Waits for a connection too, and is sent again on the next one when its connection died before the
    /// flush was confirmed. Only for messages that may arrive twice.
    Idempotent {
        /// How long it may wait, counted from the call.
        ttl: Duration,
    },
}

impl SendClass {
    /// Whether such a message is refused while there is no connection, and fails with the one it waits for.
    const fn fails_fast(self) -> bool {
        matches!(self, Self::FailFast | Self::OnConnection { .. })
    }

    /// Whether such a message is for another connection than this one.
    fn is_for_another(self, generation: u64) -> bool {
        matches!(self, Self::OnConnection { generation: meant } if meant != generation)
    }
}

/// How much may wait in the send queue. What exceeds it waits outside, in `send`, or is refused,
/// by `try_send`. A message counts from its acceptance until its outcome is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SendLimits {
    messages: usize,
    bytes: usize,
}

impl SendLimits {
    /// At most so many messages. Default: 1024. Zero is refused when the client is built.
    #[must_use]
    pub const fn with_messages(mut self, messages: usize) -> Self {
        self.messages = messages;
        self
    }

    /// At most so many bytes of payload. Default: 4 MiB. A single message that is larger is accepted when
    /// the queue is empty.
    #[must_use]
    pub const fn with_bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// The limit in messages.
    pub const fn messages(&self) -> usize {
        self.messages
    }

    /// The limit in bytes.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Default for SendLimits {
    fn default() -> Self {
        Self { messages: 1024, bytes: 4 << 20 }
    }
}
