//! Frames of RFC 6455 §5.2, as far as a server needs them that trusts its clients.

use bytes::{Buf, BytesMut};

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// The head of a whole, unmasked message.
pub(crate) fn head(opcode: u8, len: usize) -> Vec<u8> {
    let mut head = vec![0x80 | opcode];
    match len {
        0..126 => head.push(len as u8),
        126..65_536 => {
            head.push(126);
            head.extend((len as u16).to_be_bytes());
        }
        _ => {
            head.push(127);
            head.extend((len as u64).to_be_bytes());
        }
    }
    head
}

/// What a client sends, frame by frame.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// So much of a skipped payload is still to come.
    skip: usize,
}

/// One frame. The payload is there where it was asked for.
pub(super) struct Frame {
    pub(super) opcode: u8,
    pub(super) payload: Option<BytesMut>,
}

impl Frames {
    /// The next frame of the buffer, if it is there. Payloads of data are skipped unless they are wanted: a sink
    /// must be faster than whoever fills it.
    #[inline]
    pub(super) fn next(&mut self, buffer: &mut BytesMut, wanted: bool) -> Option<Frame> {
        let skipped = self.skip.min(buffer.len());
        buffer.advance(skipped);
        self.skip -= skipped;
        if self.skip > 0 || buffer.len() < 2 {
            return None;
        }
        let (opcode, short) = (buffer[0] & 0x0F, usize::from(buffer[1] & 0x7F));
        let (at, len) = match short {
            126 => (4, usize::from(u16::from_be_bytes(buffer.get(2..4)?.try_into().ok()?))),
            127 => (10, u64::from_be_bytes(buffer.get(2..10)?.try_into().ok()?) as usize),
            short => (2, short),
        };
        if !wanted && opcode < CLOSE {
            self.skip = at + 4 + len;
            let skipped = self.skip.min(buffer.len());
            buffer.advance(skipped);
            self.skip -= skipped;
            return Some(Frame { opcode, payload: None });
        }
        if buffer.len() < at + 4 + len {
            buffer.reserve(at + 4 + len - buffer.len());
            return None;
        }
        let mask: [u8; 4] = buffer[at..at + 4].try_into().ok()?;
        buffer.advance(at + 4);
        let mut payload = buffer.split_to(len);
        for (index, byte) in payload.iter_mut().enumerate() {
            *byte ^= mask[index & 3];
        }
        Some(Frame { opcode, payload: Some(payload) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = head(opcode, payload.len());
        frame[1] |= 0x80;
        frame.extend([1, 2, 3, 4]);
        frame.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ [1, 2, 3, 4][at & 3]));
        frame
    }

    #[test]
    fn frames_come_out_as_they_went_in_whatever_the_pieces() {
        for size in [0, 5, 125, 126, 70_000] {
            let payload = vec![7; size];
            let bytes = [masked(BINARY, &payload), masked(PING, b"hi"), masked(CLOSE, b"")].concat();
            for (wanted, piece) in [(true, 1000), (false, 1000), (false, usize::MAX)] {
                let (mut frames, mut buffer, mut seen) = (Frames::default(), BytesMut::new(), Vec::new());
                for piece in bytes.chunks(piece.min(bytes.len())) {
                    buffer.extend_from_slice(piece);
                    while let Some(frame) = frames.next(&mut buffer, wanted) {
                        seen.push((frame.opcode, frame.payload.map(|payload| payload.to_vec())));
                    }
                }
                let data = wanted.then(|| payload.clone());
                let expected = [(BINARY, data), (PING, Some(b"hi".to_vec())), (CLOSE, Some(Vec::new()))];
                assert_eq!(seen, expected);
            }
        }
    }
}
