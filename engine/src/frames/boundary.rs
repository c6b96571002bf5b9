//! Where one message of a byte stream ends and the next begins.

/// Follows the heads of the frames (RFC 6455 §5.2) among the bytes of one direction, and no more than that: what
/// is wrong with them is for others to say.
#[derive(Debug, Default)]
pub(super) struct Boundary {
    /// So much of the current frame is still to come behind its head: payload, and the mask where there is one.
    remaining: u64,
    /// The part of a head that came in an earlier piece.
    head: [u8; MAX_HEAD],
    head_len: usize,
    /// Fragments of a message came, and its last one did not.
    in_message: bool,
}

/// Two bytes, and eight more for the longest length; the mask counts as payload here.
const MAX_HEAD: usize = 10;

impl Boundary {
    /// Takes the next bytes of the stream.
    #[inline]
    pub(super) fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.remaining >= bytes.len() as u64 {
                self.remaining -= bytes.len() as u64;
                return;
            }
            bytes = &bytes[self.remaining as usize..];
            self.remaining = 0;
            if self.head_len == 0
                && let Some(len) = self.frame(bytes)
            {
                bytes = &bytes[len..];
                continue;
            }
            self.gather(&mut bytes);
        }
    }

    /// Whether a message may begin with the next byte: no frame is cut, and no message lacks fragments.
    pub(super) const fn is_between_messages(&self) -> bool {
        self.remaining == 0 && self.head_len == 0 && !self.in_message
    }

    /// Reads a head if it is complete, and gives its length.
    #[inline]
    fn frame(&mut self, head: &[u8]) -> Option<usize> {
        let (&[first, second], rest) = head.split_first_chunk()?;
        let (len, payload) = match second & 0x7F {
            126 => (4, u64::from(u16::from_be_bytes(*rest.first_chunk()?))),
            127 => (10, u64::from_be_bytes(*rest.first_chunk()?)),
            short => (2, u64::from(short)),
        };
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        self.remaining = payload.saturating_add(mask);
        // A control frame may stand between fragments, and ends nothing.
        if first & 0x08 == 0 {
            self.in_message = first & 0x80 == 0;
        }
        Some(len)
    }

    /// A head that is cut: byte by byte until it is complete.
    #[cold]
    fn gather(&mut self, bytes: &mut &[u8]) {
        while let Some((&byte, rest)) = bytes.split_first() {
            *bytes = rest;
            self.head[self.head_len] = byte;
            self.head_len += 1;
            let head = self.head;
            if self.frame(&head[..self.head_len]).is_some() {
                self.head_len = 0;
                return;
            }
        }
    }
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

    fn lengths() -> impl Strategy<Value = usize> {
        prop_oneof![0..200_usize, 65_000..66_000_usize]
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
                boundary.follow(&bytes[at..to]);
                at = to;
                prop_assert_eq!(boundary.is_between_messages(), ends.contains(&at), "at {}", at);
            }
            for (index, byte) in bytes.iter().enumerate().skip(at) {
                boundary.follow(&[*byte]);
                prop_assert_eq!(boundary.is_between_messages(), ends.contains(&(index + 1)));
            }
        }
    }
}
