//! The extension permessage-deflate (RFC 7692): what may be set, what is agreed, and the compression itself.
//!
//! The framing stays tungstenite's. A compressed message that is sent is one raw frame of it with the first reserved
//! bit set. Of a received one the [boundary](super::boundary) clears that bit beneath tungstenite and remembers that
//! it stood there, so that tungstenite checks and gathers the fragments as those of any binary message.

mod codec;
mod negotiation;

pub(crate) use codec::{Codec, InflateError};
pub(crate) use negotiation::Agreement;
#[cfg(feature = "fuzzing")]
pub(crate) use negotiation::holds_of;

/// The compression of messages, permessage-deflate ([RFC 7692](https://www.rfc-editor.org/rfc/rfc7692)), as it is
/// offered to servers by [`TungsteniteEngineBuilder::deflate`](crate::TungsteniteEngineBuilder::deflate).
///
/// Text and binary messages are compressed both ways when the server agrees; one that does not is spoken to without.
/// Control frames never are. What the server agreed to stands in the header `sec-websocket-extensions` of
/// [`Handshake::headers`](crate::Handshake::headers).
///
/// The parameters carry the names of the RFC: *client* is our side and so about what we send, *server* is about what
/// we receive. Windows that are larger and that last from message to message compress better and hold more
/// memory. With the defaults a connection holds 371 KiB once it has sent a compressed message (245 KiB with the
/// smallest window), and 46 KiB once it has received one, whatever the window; large messages add nothing that stays.
/// Before that it holds less than 1 KiB for compression, and without takeover between messages too.
///
/// Do not compress secrets together with what somebody else may choose: the length then tells of the secret.
///
/// ```
/// use everwire_engine::{Deflate, TungsteniteEngine};
///
/// let engine = TungsteniteEngine::builder()
///     .deflate(Deflate::default().threshold(256).server_max_window_bits(12))
///     .build()?;
/// # let _ = engine;
/// assert!(TungsteniteEngine::builder().deflate(Deflate::default().client_max_window_bits(8)).build().is_err());
/// # Ok::<(), everwire_engine::EngineError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Deflate {
    threshold: usize,
    level: u8,
    client_max_window_bits: u8,
    server_max_window_bits: u8,
    client_no_context_takeover: bool,
    server_no_context_takeover: bool,
}

impl Default for Deflate {
    fn default() -> Self {
        Self {
            threshold: 1 << 10,
            level: 6,
            client_max_window_bits: MAX_BITS,
            server_max_window_bits: MAX_BITS,
            client_no_context_takeover: false,
            server_no_context_takeover: false,
        }
    }
}

/// The windows that zlib has. The RFC begins with 8, which zlib can read and cannot write.
const MIN_BITS: u8 = 9;
const MAX_BITS: u8 = 15;

impl Deflate {
    /// Messages of fewer bytes are sent as they are (default 1 KiB): of a short message little is saved, and most
    /// of the cost remains. Received ones are inflated whatever their size.
    pub const fn threshold(mut self, bytes: usize) -> Self {
        self.threshold = bytes;
        self
    }

    /// How much work is put into making it small, 1 (least) to 9 (default 6).
    pub const fn level(mut self, level: u8) -> Self {
        self.level = level;
        self
    }

    /// The window of what we send, as a power of two, 9 to 15 (default 15, which is 32 KiB). The server may ask for
    /// less; when it asks for 8, which is less than we can do, we send uncompressed.
    pub const fn client_max_window_bits(mut self, bits: u8) -> Self {
        self.client_max_window_bits = bits;
        self
    }

    /// The window of what we receive, as a power of two, 9 to 15 (default 15, which is 32 KiB). With less than 15 a
    /// server that does not know this parameter declines, and nothing is compressed.
    pub const fn server_max_window_bits(mut self, bits: u8) -> Self {
        self.server_max_window_bits = bits;
        self
    }

    /// Whether each message that we send is compressed by itself (default no). Costs ratio and time, for the
    /// compressor is made anew each time, and saves its memory between messages.
    pub const fn client_no_context_takeover(mut self, yes: bool) -> Self {
        self.client_no_context_takeover = yes;
        self
    }

    /// Whether the server is to compress each message by itself (default no), which saves our memory between
    /// messages. A server that does not know this parameter declines, and nothing is compressed.
    pub const fn server_no_context_takeover(mut self, yes: bool) -> Self {
        self.server_no_context_takeover = yes;
        self
    }

    /// What is wrong with the values, if something is.
    pub(crate) fn check(&self) -> Result<(), String> {
        for (name, value, range) in [
            ("level", self.level, 1..=9),
            ("client_max_window_bits", self.client_max_window_bits, MIN_BITS..=MAX_BITS),
            ("server_max_window_bits", self.server_max_window_bits, MIN_BITS..=MAX_BITS),
        ] {
            if !range.contains(&value) {
                return Err(format!(
                    "deflate: {name} is {value}, and must be {} to {}",
                    range.start(),
                    range.end()
                ));
            }
        }
        Ok(())
    }
}
