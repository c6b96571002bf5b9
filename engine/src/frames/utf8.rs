//! UTF-8 that comes in pieces.

/// Follows a text that may be cut anywhere, and finds what is wrong with it at the first byte that cannot be.
#[derive(Debug, Default)]
pub(super) struct Utf8 {
    /// A character as far as it came.
    cut: [u8; MAX_CHAR],
    cut_len: usize,
}

const MAX_CHAR: usize = 4;

impl Utf8 {
    /// A new text begins.
    #[inline]
    pub(super) const fn begin(&mut self) {
        self.cut_len = 0;
    }

    /// Takes the next piece, and says whether the text may still be one. After a wrong byte a new text begins.
    pub(super) fn check(&mut self, mut piece: &[u8]) -> bool {
        while self.cut_len > 0 {
            let Some((&byte, rest)) = piece.split_first() else { return true };
            piece = rest;
            self.cut[self.cut_len] = byte;
            self.cut_len += 1;
            match str::from_utf8(&self.cut[..self.cut_len]) {
                Ok(_) => self.cut_len = 0,
                Err(error) if error.error_len().is_some() => {
                    self.begin();
                    return false;
                }
                Err(_) => {}
            }
        }
        let Err(error) = str::from_utf8(piece) else { return true };
        if error.error_len().is_some() {
            return false;
        }
        let cut = &piece[error.valid_up_to()..];
        self.cut[..cut.len()].copy_from_slice(cut);
        self.cut_len = cut.len();
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// How many bytes of it may be the beginning of a text, by the library of the language.
    fn good(bytes: &[u8]) -> usize {
        match str::from_utf8(bytes) {
            Err(error) if error.error_len().is_some() => {
                // The first byte that cannot be is the one after the longest beginning that can.
                (error.valid_up_to()..bytes.len())
                    .find(|&at| str::from_utf8(&bytes[..=at]).is_err_and(|error| error.error_len().is_some()))
                    .expect("somewhere it becomes wrong")
            }
            _ => bytes.len(),
        }
    }

    proptest! {
        #[test]
        fn the_first_wrong_byte_is_found_whatever_the_pieces(
            text in "\\PC{0,8}",
            noise in prop::collection::vec(any::<u8>(), 0..6),
            more in "\\PC{0,4}",
            cuts in prop::collection::vec(0..8_usize, 1..8),
        ) {
            let bytes = [text.as_bytes(), &noise, more.as_bytes()].concat();
            let good = good(&bytes);
            let (mut utf8, mut at) = (Utf8::default(), 0);
            for cut in cuts.into_iter().cycle().chain([8]).take(200) {
                let to = (at + cut).min(bytes.len());
                let ok = utf8.check(&bytes[at..to]);
                prop_assert_eq!(ok, to <= good, "{:x?} at {} of {}", &bytes, to, good);
                if !ok || to == bytes.len() {
                    break;
                }
                at = to;
            }
        }
    }

    #[test]
    fn what_comes_after_a_wrong_byte_is_another_text() {
        let mut utf8 = Utf8::default();
        for _ in 0..3 {
            assert!(utf8.check(&[0xF4]));
            assert!(!utf8.check(&[0x90, 0x80, 0x80]));
            assert!(!utf8.check(&[0x80]));
            assert!(utf8.check(b"plain"));
        }
    }

    #[test]
    fn what_was_cut_is_forgotten_with_its_text() {
        let mut utf8 = Utf8::default();
        assert!(utf8.check(&[0xE2, 0x82]));
        utf8.begin();
        assert!(utf8.check(b"plain"));
    }
}
