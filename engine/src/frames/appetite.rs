//! How large a connection's read buffer is: small while little comes, the configured size while much does.
//!
//! A buffer is the largest part of an idle connection's memory, and most connections are idle most of the time; under a
//! flood a large one saves calls of the system. Pure: it is told what comes, and says when it is time to change.

/// The buffer while little comes, by default: a few messages of a chat. Below a KiB, a buffer whose messages are kept
/// forgets its size when it is used up, and reads then bring less.
pub(crate) const SMALL: usize = 2 << 10;

/// So often in a row the transport runs dry after little, until the small buffer is enough again. A connection that
/// does nothing but ping gets there in minutes, and one that is busy now and then keeps what it needs.
const QUIET: u8 = 32;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Appetite {
    small: usize,
    large: usize,
    is_large: bool,
    /// What came since the transport ran dry.
    came: usize,
    /// How often in a row little had come when it did.
    quiet: u8,
}

impl Appetite {
    /// It begins small. Where `small` is no less than `large` it never changes.
    pub(super) const fn new(small: usize, large: usize) -> Self {
        Self { small, large, is_large: small >= large, came: 0, quiet: 0 }
    }

    /// How large a buffer made now is to be.
    pub(super) const fn size(&self) -> usize {
        if self.is_large { self.large } else { self.small }
    }

    /// Whether it might [grow](Self::is_starved).
    #[inline]
    pub(super) const fn is_small(&self) -> bool {
        !self.is_large
    }

    /// So many bytes came.
    #[inline]
    pub(super) const fn came(&mut self, bytes: usize) {
        self.came = self.came.saturating_add(bytes);
    }

    /// Whether the small buffer is too small for what comes: more than it holds was there at once, or it was told how
    /// much of a frame is still to come.
    pub(super) const fn is_starved(&self, of_frame: u64) -> bool {
        self.is_small() && (self.came >= self.small || of_frame > self.small as u64)
    }

    /// The large buffer is in use.
    pub(super) const fn grew(&mut self) {
        self.is_large = true;
        self.quiet = 0;
    }

    /// The transport has nothing more. Whether the small buffer is enough from now on.
    pub(super) const fn ran_dry(&mut self) -> bool {
        let little = self.came < self.small;
        self.came = 0;
        self.quiet = if little { self.quiet.saturating_add(1) } else { 0 };
        self.is_large && self.small < self.large && self.quiet >= QUIET
    }

    /// The small buffer is in use.
    pub(super) const fn shrank(&mut self) {
        self.is_large = self.small >= self.large;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_by_what_comes_at_once_and_by_a_large_frame() {
        let mut appetite = Appetite::new(100, 1000);
        for _ in 0..1000 {
            appetite.came(99);
            assert!(!appetite.is_starved(100), "little at a time, however long");
            assert!(!appetite.ran_dry());
        }
        appetite.came(50);
        assert!(appetite.is_starved(101), "a frame that does not fit");
        appetite.came(50);
        assert!(appetite.is_starved(0), "as much as it holds");
        assert_eq!(appetite.size(), 100);
        appetite.grew();
        assert_eq!(appetite.size(), 1000);
        assert!(!appetite.is_starved(u64::MAX));
    }

    #[test]
    fn it_shrinks_after_a_quiet_while() {
        let mut appetite = Appetite::new(100, 1000);
        appetite.grew();
        for round in 0..10 {
            for _ in 1..QUIET {
                appetite.came(99);
                assert!(!appetite.ran_dry(), "in round {round}");
            }
            appetite.came(100);
            assert!(!appetite.ran_dry(), "much came once");
        }
        for _ in 1..QUIET {
            assert!(!appetite.ran_dry());
        }
        assert!(appetite.ran_dry() && appetite.ran_dry(), "until it is done");
        appetite.shrank();
        assert_eq!(appetite.size(), 100);
        assert!(!appetite.ran_dry());
    }

    #[test]
    fn a_configured_buffer_that_is_small_is_all_there_is() {
        let mut appetite = Appetite::new(100, 100);
        appetite.came(1000);
        assert!(!appetite.is_starved(1000));
        assert!((0..=QUIET).all(|_| !appetite.ran_dry()));
        appetite.shrank();
        assert_eq!(appetite.size(), 100);
    }
}
