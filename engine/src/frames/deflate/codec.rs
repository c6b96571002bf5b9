//! The compression of single messages (RFC 7692 §7.2), with the windows that last between them.

use std::{error::Error, fmt};

use bytes::Bytes;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::{Agreement, MIN_BITS};

/// What a flush ends with, and no compressed message carries: the sender takes it off, the receiver puts it back.
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];

/// Both directions of one connection. Neither holds anything before its first compressed message.
pub(crate) struct Codec {
    agreement: Agreement,
    /// The most that a message may inflate to.
    max: usize,
    compress: Option<Compress>,
    decompress: Option<Decompress>,
}

/// Why a message does not inflate.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum InflateError {
    /// It grows beyond the limit.
    TooLarge { compressed: usize },
    /// It is no DEFLATE data, or refers to what was never sent.
    Corrupt,
}

impl fmt::Display for InflateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { compressed } => {
                write!(f, "it was inflated from {compressed} bytes so far, and there is more to come")
            }
            Self::Corrupt => f.write_str("a compressed message does not inflate"),
        }
    }
}

impl Error for InflateError {}

impl Codec {
    pub(crate) const fn new(agreement: Agreement, max: usize) -> Self {
        Self { agreement, max, compress: None, decompress: None }
    }

    /// Whether a message of so many bytes is to be compressed. An empty one never is: there is nothing to flush.
    pub(crate) const fn compresses(&self, len: usize) -> bool {
        len > 0 && len >= self.agreement.threshold && self.agreement.ours.window_bits >= MIN_BITS
    }

    /// The payload of the message that goes over the wire instead of this one.
    pub(crate) fn deflate(&mut self, message: &[u8]) -> Bytes {
        let ours = self.agreement.ours;
        let compress = self.compress.get_or_insert_with(|| {
            let level = Compression::new(self.agreement.level.into());
            Compress::new_with_window_bits(level, false, ours.window_bits)
        });
        let mut payload = Vec::with_capacity(message.len() / 2 + ROOM);
        let begin = compress.total_in();
        loop {
            let rest = &message[(compress.total_in() - begin) as usize..];
            let outcome = compress.compress_vec(rest, &mut payload, FlushCompress::Sync);
            outcome.expect("deflate fails only when its state is broken");
            // A flush that filled the room may not be through.
            if payload.len() < payload.capacity() {
                break;
            }
            payload.reserve(payload.len().max(ROOM));
        }
        debug_assert!(payload.ends_with(&TAIL), "a flush ends with an empty block");
        payload.truncate(payload.len() - TAIL.len());
        if !ours.takeover {
            self.compress = None;
        }
        payload.into()
    }

    /// The message that was sent compressed by this payload. After an error nothing more can be inflated.
    pub(crate) fn inflate(&mut self, payload: &[u8]) -> Result<Bytes, InflateError> {
        let theirs = self.agreement.theirs;
        let decompress = self
            .decompress
            .get_or_insert_with(|| Decompress::new_with_window_bits(false, theirs.window_bits));
        let guess = payload.len().saturating_mul(3).saturating_add(ROOM);
        let mut output = Output { bytes: Vec::with_capacity(guess.min(self.max + 1)), max: self.max };
        let ended = output.inflate(decompress, payload)?;
        // A block that says it is the last one needs no tail behind it.
        if !ended {
            output.inflate(decompress, &TAIL)?;
        }
        if !theirs.takeover {
            self.decompress = None;
        }
        let mut message = output.bytes;
        if message.capacity() / 2 > message.len() {
            message.shrink_to_fit();
        }
        Ok(message.into())
    }
}

/// So much is reserved at least. More than the end of a flush needs, which must not be cut into two.
const ROOM: usize = 64;

/// A message as far as it is inflated.
struct Output {
    bytes: Vec<u8>,
    max: usize,
}

impl Output {
    /// Inflates all of the input. Says whether a block that calls itself the last one ended it.
    fn inflate(&mut self, decompress: &mut Decompress, mut input: &[u8]) -> Result<bool, InflateError> {
        let compressed = input.len();
        loop {
            if self.bytes.len() > self.max {
                return Err(InflateError::TooLarge { compressed: compressed - input.len() });
            }
            if self.bytes.len() == self.bytes.capacity() {
                // One byte more than the limit is enough to know.
                let room = self.bytes.len().max(ROOM).min(self.max + 1 - self.bytes.len());
                self.bytes.reserve_exact(room);
            }
            let (had, taken) = (self.bytes.len(), decompress.total_in());
            let status = decompress
                .decompress_vec(input, &mut self.bytes, FlushDecompress::Sync)
                .map_err(|_| InflateError::Corrupt)?;
            let taken = decompress.total_in() - taken;
            input = &input[taken as usize..];
            if status == Status::StreamEnd {
                // RFC 7692 §7.2.3.4: there may be more behind it, and it may refer back. To what earlier messages
                // brought it could too, but whoever ends a stream has forgotten those.
                decompress.reset(false);
                if !self.bytes.is_empty() {
                    decompress.set_dictionary(&self.bytes).map_err(|_| InflateError::Corrupt)?;
                }
                if input.is_empty() {
                    return Ok(true);
                }
            } else if input.is_empty() && self.bytes.len() < self.bytes.capacity() {
                return Ok(false);
            } else if taken == 0 && self.bytes.len() == had {
                return if input.is_empty() { Ok(false) } else { Err(InflateError::Corrupt) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{Deflate, MAX_BITS},
        *,
    };

    fn codec(deflate: Deflate, answer: &str, max: usize) -> Codec {
        Codec::new(deflate.accept(answer).unwrap(), max)
    }

    fn plain() -> Codec {
        codec(Deflate::default(), "permessage-deflate", 1 << 20)
    }

    /// The examples of RFC 7692 §7.2.3, all of which say Hello.
    #[test]
    fn the_examples_of_the_rfc_inflate() {
        let one_block: &[u8] = &[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];
        let no_compression: &[u8] = &[0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00];
        let last_block: &[u8] = &[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00];
        let two_blocks: &[u8] =
            &[0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00];
        // Without the octet that the RFC puts behind a last block: some leave it out.
        let bare_last_block = &last_block[..7];
        for payload in [one_block, no_compression, last_block, two_blocks, bare_last_block] {
            let mut codec = plain();
            for _ in 0..3 {
                assert_eq!(codec.inflate(payload).unwrap(), "Hello", "{payload:x?}");
            }
        }
        // §7.2.3.2: the second one refers to the first.
        let mut codec = plain();
        assert_eq!(codec.inflate(one_block).unwrap(), "Hello");
        assert_eq!(codec.inflate(&[0xF2, 0x00, 0x11, 0x00, 0x00]).unwrap(), "Hello");
        assert_eq!(plain().inflate(&[0xF2, 0x00, 0x11, 0x00, 0x00]), Err(InflateError::Corrupt));
        // §7.2.3.6: the empty message; and one that consists of nothing at all.
        assert_eq!(plain().inflate(&[0x00]).unwrap(), "");
        assert_eq!(plain().inflate(&[]).unwrap(), "");
    }

    #[test]
    fn the_first_example_of_the_rfc_is_what_we_send() {
        let mut sender = plain();
        assert_eq!(sender.deflate(b"Hello")[..], [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00]);
        // §7.2.3.2, with takeover and without.
        assert_eq!(sender.deflate(b"Hello")[..], [0xF2, 0x00, 0x11, 0x00, 0x00]);
        let mut forgetful =
            codec(Deflate::default(), "permessage-deflate; client_no_context_takeover", 1 << 20);
        assert_eq!(forgetful.deflate(b"Hello"), forgetful.deflate(b"Hello"));
        assert!(forgetful.compress.is_none(), "nothing is held between messages");
    }

    #[test]
    fn a_block_that_is_the_last_one_may_be_followed_by_others_that_refer_to_it() {
        // "Hello" as a last block, then a block of a distance of five.
        let payload = [0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0xF2, 0x00, 0x11, 0x00, 0x00];
        assert_eq!(plain().inflate(&payload).unwrap(), "HelloHello");
    }

    #[test]
    fn what_is_short_or_cannot_be_is_not_compressed() {
        let agreed = |deflate, answer| codec(deflate, answer, 1 << 20);
        assert!(!plain().compresses(1023) && plain().compresses(1024));
        let eager = agreed(Deflate::default().threshold(0), "permessage-deflate");
        assert!(!eager.compresses(0) && eager.compresses(1));
        let tiny = agreed(Deflate::default(), "permessage-deflate; client_max_window_bits=8");
        assert!(!tiny.compresses(usize::MAX), "zlib has no such window");
    }

    #[test]
    fn the_limit_is_met_to_the_byte() {
        let mut sender = plain();
        let bomb = sender.deflate(&vec![0; 1 << 20]);
        for (max, good) in [(1 << 20, true), ((1 << 20) - 1, false), (1000, false), (1, false), (64, false)] {
            let outcome = codec(Deflate::default(), "permessage-deflate", max).inflate(&bomb);
            match outcome {
                Ok(message) => assert!(good && message.len() == 1 << 20),
                Err(error) => {
                    assert!(!good && matches!(error, InflateError::TooLarge { .. }), "{max}: {error}");
                }
            }
        }
    }

    /// Both sides of a connection: ours and one that is told the same the other way round.
    fn pair(bits: u8, takeover: bool) -> (Codec, Codec) {
        let reset = |who| if takeover { String::new() } else { format!("; {who}_no_context_takeover") };
        let sends = format!("permessage-deflate; client_max_window_bits={bits}{}", reset("client"));
        let receives = format!("permessage-deflate; server_max_window_bits={bits}{}", reset("server"));
        (codec(Deflate::default(), &sends, 1 << 20), codec(Deflate::default(), &receives, 1 << 20))
    }

    fn messages() -> impl Strategy<Value = Vec<Vec<u8>>> {
        // Few different bytes compress, many do not; and both refer back across the window.
        let message = prop_oneof![
            prop::collection::vec(0..4_u8, 1..3000),
            prop::collection::vec(any::<u8>(), 1..3000),
            (any::<u8>(), 1..70_000_usize).prop_map(|(byte, len)| vec![byte; len]),
        ];
        prop::collection::vec(message, 1..5)
    }

    proptest! {
        #[test]
        fn what_is_deflated_inflates(messages in messages(), bits in MIN_BITS..=MAX_BITS, takeover: bool) {
            let (mut sender, mut receiver) = pair(bits, takeover);
            for message in messages {
                let payload = sender.deflate(&message);
                let inflated = receiver.inflate(&payload).unwrap();
                prop_assert_eq!(inflated, &message);
            }
        }

        /// Whatever comes, it ends, and within the limit.
        #[test]
        fn noise_is_an_error_or_a_message(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..5)) {
            let mut codec = codec(Deflate::default(), "permessage-deflate", 4096);
            for payload in payloads {
                match codec.inflate(&payload) {
                    Ok(message) => prop_assert!(message.len() <= 4096),
                    Err(_) => break,
                }
            }
        }
    }
}
