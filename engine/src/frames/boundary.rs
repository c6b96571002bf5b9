//! Where one message of a byte stream ends and the next begins.

use std::collections::VecDeque;

use super::utf8::Utf8;

/// Follows the heads of the frames (RFC 6455 §5.2) among the bytes of one direction. What is wrong with them is for
/// tungstenite to say, but for three things that it cannot know: whether a text that is still on its way may become
/// one, what the first reserved bit means once compression is agreed upon, and that there is a close code 1014.
#[derive(Debug, Default)]
pub(super) struct Boundary {
    /// So much of the current frame is still to come behind its head: payload, and the mask where there is one.
    remaining: u64,
    /// How long the current frame is behind its head, when a message begins with it; otherwise 0.
    begun: u64,
    /// The part of a head that came in an earlier piece.
    head: [u8; MAX_HEAD],
    head_len: usize,
    /// The first byte of the current frame's head.
    first: u8,
    /// Fragments of a message came, and its last one did not.
    in_message: bool,
    /// They are those of a text.
    in_text: bool,
    text: Utf8,
    /// Something came that no text contains.
    not_utf8: bool,
    close: Close,
    /// Of each message that tungstenite will take for a binary one, what it is; kept when messages may be compressed.
    marks: Option<VecDeque<Mark>>,
}

/// The close frame, as far as it came.
#[derive(Debug, Default)]
struct Close {
    payload: Vec<u8>,
    /// Under a mask, which is among the payload then, nothing can be read; and a server's frames have none.
    masked: bool,
    /// It goes on as a pong.
    disguised: bool,
}

/// What a message is that tungstenite takes for a binary one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mark {
    Binary,
    CompressedBinary,
    CompressedText,
}

/// Two bytes, and eight more for the longest length; the mask counts as payload here.
const MAX_HEAD: usize = 10;

const FINAL: u8 = 0x80;
/// The first reserved bit: a compressed message (RFC 7692 §6).
const COMPRESSED: u8 = 0x40;
const OPCODE: u8 = 0x0F;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CONTROL: u8 = 0x08;
const CLOSE: u8 = 0x08;
const PONG: u8 = 0x0A;
/// The code that gateways close with, in the registry of IANA since 2019 and unknown to tungstenite, which answers what
/// it does not know by 1002: that the peer has broken the protocol.
const BAD_GATEWAY: [u8; 2] = 1014_u16.to_be_bytes();
/// The code that it takes in that one's place.
const NORMAL: [u8; 2] = 1000_u16.to_be_bytes();
/// The longest payload of a control frame (RFC 6455 §5.5).
const MAX_CONTROL: usize = 125;
const MASKED: u8 = 0x80;

impl Boundary {
    /// Messages may be compressed from now on.
    pub(super) fn mark_messages(&mut self) {
        self.marks = Some(VecDeque::new());
    }

    /// What the next message is that tungstenite takes for a binary one.
    #[inline]
    pub(super) fn next_mark(&mut self) -> Mark {
        self.marks.as_mut().and_then(VecDeque::pop_front).unwrap_or(Mark::Binary)
    }

    /// Takes the next bytes of the stream, and may change the first byte of a compressed message.
    #[inline]
    pub(super) fn follow(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            if self.remaining >= bytes.len() as u64 {
                self.remaining -= bytes.len() as u64;
                self.note_close(bytes);
                if self.remaining > 0 || self.first & FINAL == 0 {
                    self.check_text(bytes);
                }
                return;
            }
            if self.remaining > 0 {
                let (payload, rest) = bytes.split_at_mut(self.remaining as usize);
                self.note_close(payload);
                if self.first & FINAL == 0 {
                    self.check_text(payload);
                }
                self.remaining = 0;
                bytes = rest;
            }
            if self.head_len == 0 {
                if self.marks.is_some() {
                    self.mark(&mut bytes[0]);
                }
                if let Some(len) = self.frame(bytes) {
                    if self.first & OPCODE == CLOSE {
                        self.disguise(bytes, len);
                    }
                    bytes = &mut bytes[len..];
                    continue;
                }
            }
            let len = self.gather(bytes);
            bytes = &mut bytes[len..];
        }
    }

    /// Whether a message may begin with the next byte: no frame is cut, and no message lacks fragments.
    pub(super) const fn is_between_messages(&self) -> bool {
        self.remaining == 0 && self.head_len == 0 && !self.in_message
    }

    /// How much of the current frame is still to come.
    pub(super) const fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Where in the bytes that are to follow a message begins last, or might with the next byte; `None` where none does,
    /// and where the first of them belong to a head that is cut.
    pub(super) fn last_start(&self, bytes: &[u8]) -> Option<usize> {
        if self.head_len > 0 {
            return None;
        }
        let (mut at, mut in_message, mut last) = (self.remaining, self.in_message, None);
        while at <= bytes.len() as u64 {
            let head = &bytes[at as usize..];
            if !in_message {
                last = Some(at as usize);
            }
            let Some((len, payload)) = lengths(head) else { break };
            if head[0] & CONTROL == 0 {
                in_message = head[0] & FINAL == 0;
            }
            at = at.saturating_add(len as u64).saturating_add(payload);
        }
        last
    }

    /// Where in the last `len` bytes the message began of whose first frame more than 64 KiB are still to come, if it began
    /// there.
    pub(super) const fn long_start(&self, len: usize) -> Option<usize> {
        // The head of so long a frame has its greatest length.
        let came = self.begun.saturating_sub(self.remaining).saturating_add(MAX_HEAD as u64);
        if self.begun == 0 || came > len as u64 { None } else { Some(len - came as usize) }
    }

    /// Whether a text came that is none, though it may not have ended yet.
    pub(super) const fn is_not_utf8(&self) -> bool {
        self.not_utf8
    }

    /// The payload of the close frame that came: its code and its reason, as they are. None of one under a mask.
    pub(super) fn close(&self) -> &[u8] {
        if self.close.masked { &[] } else { &self.close.payload }
    }

    /// Whether the close frame with this payload was turned into a pong, to be answered by ourselves.
    pub(super) fn is_disguised(&self, payload: &[u8]) -> bool {
        // A pong of the peer's with the very same payload is as good a word of its end.
        self.close.disguised && payload.starts_with(&BAD_GATEWAY) && self.close.payload.starts_with(payload)
    }

    #[inline]
    fn note_close(&mut self, payload: &mut [u8]) {
        if self.first & OPCODE == CLOSE {
            self.close.note(payload);
        }
    }

    /// Turns the close frame of a gateway, which tungstenite would misread, into a pong.
    #[cold]
    fn disguise(&mut self, frame: &mut [u8], head: usize) {
        let is_readable = !self.close.masked && self.remaining >= 2;
        if is_readable && self.close.payload.is_empty() && frame[head..].starts_with(&BAD_GATEWAY) {
            frame[0] = frame[0] & !OPCODE | PONG;
            self.close.disguised = true;
        }
    }

    /// Reads a head if it is complete, and gives its length.
    #[inline]
    fn frame(&mut self, head: &[u8]) -> Option<usize> {
        let (len, remaining) = lengths(head)?;
        let (first, masked) = (head[0], head[1] & MASKED != 0);
        self.remaining = remaining;
        self.first = first;
        self.close.masked = masked;
        self.begun = if first & CONTROL == 0 && !self.in_message { remaining } else { 0 };
        // A control frame may stand between fragments, and ends nothing.
        if first & CONTROL == 0 {
            self.in_message = first & FINAL == 0;
            if first & OPCODE != CONTINUATION {
                // Under a mask nothing can be read; and a server's frames have none.
                self.in_text = first & OPCODE == TEXT && !masked;
                self.text.begin();
            }
        }
        Some(len)
    }

    /// A head that is cut: byte by byte until it is complete. Gives how many of these bytes belong to it.
    #[cold]
    fn gather(&mut self, bytes: &[u8]) -> usize {
        for (at, &byte) in bytes.iter().enumerate() {
            self.head[self.head_len] = byte;
            self.head_len += 1;
            let head = self.head;
            if self.frame(&head[..self.head_len]).is_some() {
                self.head_len = 0;
                return at + 1;
            }
        }
        bytes.len()
    }

    /// Reads the text of a frame that has not arrived as a whole, or of one that others follow (RFC 6455 §8.1). What
    /// arrives whole, as nearly every message does, and the end of what did not, is left to tungstenite.
    #[cold]
    fn check_text(&mut self, payload: &[u8]) {
        if self.in_text && self.first & CONTROL == 0 && !self.text.check(payload) {
            self.not_utf8 = true;
        }
    }

    /// Turns the first byte of a compressed message into that of a binary one, for tungstenite takes no compressed
    /// ones, and would ask of a text that it be one; and remembers what it was. Other frames must not have the
    /// bit (RFC 7692 §6.1), and tungstenite refuses those that do.
    fn mark(&mut self, first: &mut u8) {
        let mark = match (*first & OPCODE, *first & COMPRESSED != 0) {
            (TEXT, true) => Mark::CompressedText,
            (BINARY, true) => Mark::CompressedBinary,
            (BINARY, false) => Mark::Binary,
            _ => return,
        };
        *first = *first & !(COMPRESSED | OPCODE) | BINARY;
        if let Some(marks) = &mut self.marks {
            marks.push_back(mark);
        }
    }
}

impl Close {
    #[cold]
    fn note(&mut self, payload: &mut [u8]) {
        let before = self.payload.len();
        self.payload.extend(payload.iter().take(MAX_CONTROL.saturating_sub(before)));
        // Its head is through already, so no disguise is left but that of its code.
        if !self.masked && !self.disguised && before < 2 && self.payload.starts_with(&BAD_GATEWAY) {
            payload[1 - before] = NORMAL[1];
        }
    }
}

/// The length of a head, if it is complete, and of what follows it: payload, and the mask where there is one.
#[inline]
fn lengths(head: &[u8]) -> Option<(usize, u64)> {
    let (&[_, second], rest) = head.split_first_chunk()?;
    let (len, payload) = match second & 0x7F {
        126 => (4, u64::from(u16::from_be_bytes(*rest.first_chunk()?))),
        127 => (10, u64::from_be_bytes(*rest.first_chunk()?)),
        short => (2, u64::from(short)),
    };
    let mask = if second & MASKED == 0 { 0 } else { 4 };
    Some((len, payload.saturating_add(mask)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(first: u8, masked: bool, len: usize) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut bytes = vec![first];
        match len {
            0..126 => bytes.push(mask | len as u8),
            126..65_536 => bytes.extend([&[mask | 0x7E], &(len as u16).to_be_bytes()[..]].concat()),
            _ => bytes.extend([&[mask | 0x7F], &(len as u64).to_be_bytes()[..]].concat()),
        }
        bytes.extend(vec![0xFF; len + if masked { 4 } else { 0 }]);
        bytes
    }

    #[test]
    fn the_close_of_a_gateway_becomes_a_pong_and_no_other_frame_changes() {
        for first in 0x80..=0x8F {
            let mut bytes = [first, 2, 0x03, 0xF6, 0x82, 0];
            let mut boundary = Boundary::default();
            boundary.follow(&mut bytes);
            let is_close = first & OPCODE == CLOSE;
            assert_eq!(bytes, [if is_close { 0x8A } else { first }, 2, 0x03, 0xF6, 0x82, 0], "{first:#x}");
            assert_eq!(boundary.is_disguised(&BAD_GATEWAY), is_close, "{first:#x}");
        }
    }

    #[test]
    fn what_only_looks_like_the_close_of_a_gateway_does_not_change() {
        for came in [
            // A close frame too short for a code, with another frame behind it.
            &[0x88, 1, 0x03, 0xF6, 0][..],
            // A mask that reads as the code.
            &[0x88, 0x82, 0x03, 0xF6, 0, 0, 0x03, 0xF6],
            // A second close frame, after which nothing counts.
            &[0x88, 2, 0x03, 0xE8, 0x88, 2, 0x03, 0xF6],
        ] {
            let (mut boundary, mut bytes) = (Boundary::default(), came.to_vec());
            boundary.follow(&mut bytes);
            assert_eq!(bytes, came);
            assert!(!boundary.is_disguised(&BAD_GATEWAY), "{came:?}");
        }
    }

    /// Where a long message began, as long as the bytes that came last have all of it; of no other frame.
    #[test]
    fn the_start_of_a_long_message_is_found_and_that_of_nothing_else() {
        const LONG: usize = 100_000;
        let start = |frames: &[Vec<u8>], came: usize, len: usize| {
            let mut bytes = frames.concat();
            bytes.truncate(came);
            let mut boundary = Boundary::default();
            boundary.follow(&mut bytes);
            boundary.long_start(len)
        };
        let (short, long) = (frame(0x82, false, 20), frame(0x82, false, LONG));
        let behind = [short.clone(), long.clone()];
        assert_eq!(start(&behind, 22 + MAX_HEAD + 50, 22 + MAX_HEAD + 50), Some(22));
        assert_eq!(
            start(std::slice::from_ref(&long), MAX_HEAD + 50, MAX_HEAD + 50),
            Some(0),
            "all of it and no more"
        );
        assert_eq!(
            start(std::slice::from_ref(&long), MAX_HEAD + 50, MAX_HEAD + 49),
            None,
            "it began before them"
        );
        let fragments = [frame(0x02, false, 20), frame(0x80, false, LONG)];
        assert_eq!(
            start(&fragments, 22 + MAX_HEAD + 50, 22 + MAX_HEAD + 50),
            None,
            "a fragment begins nothing"
        );
        let first = [short.clone(), frame(0x02, false, LONG)];
        assert_eq!(start(&first, 22 + MAX_HEAD + 50, 22 + MAX_HEAD + 50), Some(22), "but for the first one");
        let ping = [short.clone(), frame(0x89, false, 100)];
        assert_eq!(start(&ping, 22 + 2 + 8, 22 + 2 + 8), None, "a control frame is none");
        let between = [frame(0x02, false, 20), frame(0x89, false, 100)];
        assert_eq!(start(&between, 22 + 2 + 8, 22 + 2 + 8), None, "between fragments neither");
        assert_eq!(start(&[], 0, 100), None, "nothing came");
    }

    /// Once its head is through, only the code is left to be changed; what came is kept as it was.
    #[test]
    fn the_close_of_a_gateway_in_pieces_reads_as_a_normal_one() {
        let came = [0x88, 5, 0x03, 0xF6, b'b', b'y', b'e'];
        for cut in 1..4 {
            let (mut boundary, mut bytes) = (Boundary::default(), came);
            let (head, rest) = bytes.split_at_mut(cut);
            boundary.follow(head);
            // A head that came whole tells how much is still to come.
            assert_eq!(boundary.remaining(), [0, 5, 4][cut - 1], "{cut}");
            for byte in rest {
                boundary.follow(std::slice::from_mut(byte));
            }
            assert_eq!(bytes, [0x88, 5, 0x03, 0xE8, b'b', b'y', b'e'], "{cut}");
            assert_eq!(boundary.close(), &came[2..], "{cut}");
            assert!(!boundary.is_disguised(&BAD_GATEWAY), "{cut}");
        }
        // Also where the code comes at once.
        let (mut boundary, mut bytes) = (Boundary::default(), came);
        boundary.follow(&mut bytes[..1]);
        boundary.follow(&mut bytes[1..]);
        assert_eq!((bytes[2..4].to_vec(), boundary.close()), (vec![0x03, 0xE8], &came[2..]));
    }

    #[test]
    fn nothing_else_that_comes_in_pieces_changes() {
        for came in [
            // Another code, a code that is none, what a mask hides, a ping, and bytes further behind.
            &[0x88, 2, 0x03, 0xE9][..],
            &[0x88, 1, 0x03],
            &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xF6],
            &[0x89, 2, 0x03, 0xF6],
            &[0x88, 4, 0x03, 0xE8, 0x03, 0xF6],
        ] {
            for size in [1, 3, came.len()] {
                let (mut boundary, mut bytes) = (Boundary::default(), came.to_vec());
                bytes.chunks_mut(size).for_each(|piece| boundary.follow(piece));
                assert_eq!(bytes, came, "in pieces of {size}");
                assert!(!boundary.is_disguised(&came[2..]), "{came:?}");
                let is_read = came[0] == 0x88 && came[1] & MASKED == 0;
                let payload = if is_read { &came[2..] } else { &[] };
                assert_eq!(boundary.close(), payload, "{came:?}");
            }
        }
    }

    fn lengths() -> impl Strategy<Value = usize> {
        prop_oneof![0..200_usize, 65_000..66_000_usize]
    }

    /// A mask and what is under it may well be read as a code and a reason: 4026 and seven letters here, and 1000 "bye"
    /// in truth.
    #[test]
    fn a_close_frame_under_a_mask_is_not_read() {
        let (mask, truth) = ([0x0F, 0xBA, 0x4D, 0x25], *b"\x03\xE8bye");
        let mut frame = vec![FINAL | CLOSE, MASKED | truth.len() as u8];
        frame.extend(mask);
        frame.extend(truth.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        let mut boundary = Boundary::default();
        boundary.follow(&mut frame);
        assert!(boundary.is_between_messages());
        assert_eq!(boundary.close(), b"");
        let mut open = [&[FINAL | CLOSE, truth.len() as u8][..], &truth].concat();
        boundary.follow(&mut open);
        assert!(boundary.close().ends_with(&truth));
    }

    proptest! {
        /// Whatever pieces the bytes come in, the boundaries are those of the messages, and no others.
        #[test]
        fn every_piece_ends_at_a_boundary_or_does_not(
            frames in prop::collection::vec((any::<bool>(), any::<bool>(), any::<bool>(), lengths()), 1..6),
            cuts in prop::collection::vec(1..70_000_usize, 0..6),
        ) {
            let (mut bytes, mut ends, mut open) = (Vec::new(), vec![0], false);
            for (is_final, is_control, masked, len) in frames {
                let first = if is_control { 0x89 } else if is_final { 0x82 } else { 0x02 };
                bytes.extend(frame(first, masked, len));
                if !is_control {
                    open = !is_final;
                }
                if !open {
                    ends.push(bytes.len());
                }
            }
            let (mut boundary, mut at) = (Boundary::default(), 0);
            for cut in cuts.into_iter().cycle().take(if bytes.len() > 1 { 50 } else { 0 }) {
                let to = (at + cut).min(bytes.len());
                if boundary.head_len == 0 {
                    let last = ends.iter().rev().find(|end| (at..=to).contains(end));
                    prop_assert_eq!(boundary.last_start(&bytes[at..to]), last.map(|last| last - at));
                } else {
                    prop_assert_eq!(boundary.last_start(&bytes[at..to]), None);
                }
                boundary.follow(&mut bytes[at..to]);
                at = to;
                prop_assert_eq!(boundary.is_between_messages(), ends.contains(&at), "at {}", at);
            }
            for (index, byte) in bytes.iter().enumerate().skip(at) {
                boundary.follow(&mut [*byte]);
                prop_assert_eq!(boundary.is_between_messages(), ends.contains(&(index + 1)));
            }
        }

        /// The bit is taken off compressed messages and off nothing else, whatever pieces the bytes come in.
        #[test]
        fn compressed_messages_become_binary_ones_and_are_remembered(
            frames in prop::collection::vec((0..16_u8, 0..8_u8, any::<bool>(), 0..200_usize), 1..20),
            cuts in prop::collection::vec(1..300_usize, 1..6),
        ) {
            let (mut bytes, mut expected, mut marks) = (Vec::new(), Vec::new(), Vec::new());
            for (opcode, reserved, is_final, len) in frames {
                let first = opcode | reserved << 4 | u8::from(is_final) << 7;
                bytes.extend(frame(first, false, len));
                let compressed = reserved & 4 != 0;
                let mark = match (opcode, compressed) {
                    (1, true) => Mark::CompressedText,
                    (2, true) => Mark::CompressedBinary,
                    (2, false) => Mark::Binary,
                    _ => {
                        expected.extend(frame(first, false, len));
                        continue;
                    }
                };
                marks.push(mark);
                expected.extend(frame(first & 0xB0 | 2, false, len));
            }
            let mut boundary = Boundary::default();
            boundary.mark_messages();
            let mut at = 0;
            for cut in cuts.into_iter().cycle() {
                let to = (at + cut).min(bytes.len());
                boundary.follow(&mut bytes[at..to]);
                at = to;
                if at == bytes.len() {
                    break;
                }
            }
            prop_assert_eq!(bytes, expected);
            for mark in marks {
                prop_assert_eq!(boundary.next_mark(), mark);
            }
            prop_assert!(boundary.marks.is_some_and(|marks| marks.is_empty()));
        }
    }

    /// Bytes that are a text up to the last three of them; the first of those is the wrong one.
    const WRONG: &[u8] = &[0xCE, 0xBA, 0xE1, 0xBD, 0xB9, 0xF4, 0x90, 0x80, 0x80];
    const GOOD: usize = 6;

    /// How many of the bytes come until it is known that they are no text.
    fn known_after(mut bytes: Vec<u8>, pieces: usize) -> Option<usize> {
        let mut boundary = Boundary::default();
        let mut come = 0;
        for piece in bytes.chunks_mut(pieces) {
            boundary.follow(piece);
            come += piece.len();
            if boundary.is_not_utf8() {
                return Some(come);
            }
        }
        None
    }

    #[test]
    fn a_text_that_is_none_is_known_by_its_first_wrong_byte() {
        let frame = |first: u8, payload: &[u8]| [&[first, payload.len() as u8], payload].concat();
        let more = [WRONG, b"edited"].concat();
        // In one frame that comes byte by byte.
        assert_eq!(known_after(frame(0x81, &more), 1), Some(2 + GOOD + 1));
        // Whatever comes behind it, in the same piece too.
        for pieces in [5, 11, 100] {
            let bytes = [frame(0x01, &more), frame(0x00, &[0x90, 0xF4]), frame(0x80, &more)].concat();
            assert!(known_after(bytes, pieces).is_some());
        }
        // In fragments, with a ping between them that is no text, cut before every byte.
        for at in 0..=WRONG.len() {
            let ping = frame(0x89, &[0xFF, 0xFF]);
            let bytes = [frame(0x01, &more[..at]), ping, frame(0x80, &more[at..])].concat();
            let wrong = if at > GOOD { 2 + GOOD + 1 } else { 2 + 4 + 2 + GOOD + 1 };
            assert_eq!(known_after(bytes.clone(), 1), Some(wrong), "cut at {at}");
            // A fragment that is wrong is known when it has come; the last one is for tungstenite.
            let whole = known_after(bytes.clone(), bytes.len());
            assert_eq!(whole, (at > GOOD).then_some(bytes.len()), "cut at {at}");
        }
    }

    #[test]
    fn what_is_no_text_or_comes_whole_is_not_read() {
        let frame = |first: u8, payload: &[u8]| [&[first, payload.len() as u8], payload].concat();
        assert_eq!(known_after(frame(0x82, WRONG), 1), None);
        assert_eq!(known_after(frame(0x8A, WRONG), 1), None);
        assert_eq!(known_after([frame(0x02, WRONG), frame(0x80, WRONG)].concat(), 1), None);
        let whole = frame(0x81, WRONG);
        assert_eq!(known_after(whole.clone(), whole.len()), None);
        // What was cut off one text says nothing of the next.
        let cut = frame(0x81, &[0xE2, 0x82]);
        assert_eq!(known_after([cut, frame(0x81, "grüezi".as_bytes())].concat(), 1), None);
    }
}
