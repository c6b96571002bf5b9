//! How large a connection's read buffer is: small while little comes, the configured size while much does, and larger
//! under a flood that lasts.
//!
//! A buffer is the largest part of an idle connection's memory, and most connections are idle most of the time; under a
//! flood a large one saves calls of the system. Pure: it is told what comes, and says when it is time to change.

/// The buffer while little comes, by default: a few messages of a chat. Below a KiB, a buffer whose messages are kept
/// forgets its size when it is used up, and reads then bring less.
pub(crate) const SMALL: usize = 2 << 10;

/// So often in a row the transport runs dry after little, until the small buffer is enough again. A connection that
/// does nothing but ping gets there in minutes, and one that is busy now and then keeps what it needs.
const QUIET: u8 = 32;

/// The same after a flood, with less than the configured size holds, until that size is enough again. Sooner, for what a
/// flood takes is much; and not at once, for a flood has its gaps.
const EBB: u8 = 16;

/// The buffer under a flood, by default. The next flood is recognised when so much has come.
pub(crate) const FLOOD: usize = 128 << 10;

/// A frame of which so much is still to come is read in pieces of [`WIDE`] at least.
const LONG: u64 = 64 << 10;

/// tungstenite reads in pieces of the size that its buffer began with: of a long frame, that would be many calls.
const WIDE: usize = 128 << 10;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Appetite {
    small: usize,
    large: usize,
    flood: usize,
    is_large: bool,
    is_flood: bool,
    /// For a long frame it is larger than configured, until the buffers are made anew.
    is_wide: bool,
    /// What came since the transport ran dry.
    came: usize,
    /// What came since less than the large buffer holds did between two such moments: the flood, when there is one.
    flow: usize,
    /// How often in a row little had come when it did.
    quiet: u8,
}

impl Appetite {
    /// It begins small. It is never small where `small` is no less than `large`, and of no other size for a flood where
    /// `flood` is no more than `large`.
    pub(super) const fn new(small: usize, large: usize, flood: usize) -> Self {
        let is_large = small >= large;
        Self { small, large, flood, is_large, is_flood: false, is_wide: false, came: 0, flow: 0, quiet: 0 }
    }

    /// How large a buffer made now is to be.
    pub(super) const fn size(&self) -> usize {
        match self.is_large {
            true if self.is_wide && self.width() < WIDE => WIDE,
            true => self.width(),
            false => self.small,
        }
    }

    /// The same, but for long frames and for little.
    #[inline]
    const fn width(&self) -> usize {
        if self.is_flood { self.flood } else { self.large }
    }

    /// Whether it is [starved](Self::is_starved) by the next bytes or by a frame, and whole messages are to end it.
    #[inline]
    pub(super) const fn is_small(&self) -> bool {
        !self.is_large
    }

    /// Whether it is [starved](Self::is_starved) by all that came, however long the frames are.
    #[inline]
    pub(super) const fn is_flooded(&self) -> bool {
        self.flow >= self.flood && self.large < self.flood && self.is_large && !self.is_flood && !self.is_wide
    }

    /// So many bytes came.
    #[inline]
    pub(super) const fn came(&mut self, bytes: usize) {
        self.came = self.came.saturating_add(bytes);
        if !self.is_wide {
            self.flow = self.flow.saturating_add(bytes);
        }
    }

    /// What came is no flood: it makes us answer, and costs the peer nothing.
    #[inline]
    pub(super) const fn is_no_flood(&mut self) {
        self.flow = 0;
    }

    /// Whether the buffer is too small for what comes: more than the small one holds was there at once, or of a frame so
    /// much is still to come.
    #[inline]
    pub(super) const fn is_starved(&self, of_frame: u64) -> bool {
        if self.is_small() {
            self.came >= self.small || of_frame > self.small as u64
        } else {
            self.is_flooded() || self.is_too_narrow(of_frame)
        }
    }

    #[inline]
    const fn is_too_narrow(&self, of_frame: u64) -> bool {
        of_frame >= LONG && self.width() < WIDE && !self.is_wide
    }

    /// A buffer as large as it was to be is in use, for a frame of which so much is still to come.
    pub(super) const fn grew(&mut self, of_frame: u64) {
        self.is_flood |= self.is_flooded();
        self.is_wide = self.is_too_narrow(of_frame);
        self.is_large = true;
        self.quiet = 0;
    }

    /// Whether the buffer is larger than it is to be for longer than a burst.
    pub(super) const fn is_wide(&self) -> bool {
        self.is_wide
    }

    /// The long frames are through, and the flood is for now.
    pub(super) const fn settled(&mut self) {
        (self.is_wide, self.is_flood, self.flow) = (false, false, 0);
    }

    /// The transport has nothing more. Whether a smaller buffer is enough from now on.
    pub(super) const fn ran_dry(&mut self) -> bool {
        if self.came < self.large {
            self.flow = 0;
        }
        let little = self.came < if self.is_flood { self.large } else { self.small };
        self.came = 0;
        self.quiet = if little { self.quiet.saturating_add(1) } else { 0 };
        if self.is_flood {
            return self.quiet >= EBB;
        }
        self.is_large && self.small < self.large && self.quiet >= QUIET
    }

    /// The next smaller buffer is in use: the configured one after a flood, otherwise the small one.
    pub(super) const fn shrank(&mut self) {
        if self.is_flood {
            (self.is_flood, self.quiet) = (false, 0);
        } else {
            self.is_large = self.small >= self.large;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_by_what_comes_at_once_and_by_a_large_frame() {
        let mut appetite = Appetite::new(100, 1000, 1000);
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
        appetite.grew(101);
        assert_eq!(appetite.size(), 1000);
        assert!(!appetite.is_starved(LONG - 1));
    }

    #[test]
    fn it_shrinks_after_a_quiet_while() {
        let mut appetite = Appetite::new(100, 1000, 1000);
        appetite.grew(0);
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
    fn it_is_wide_for_long_frames_until_they_are_through() {
        for small in [100, 1000] {
            let mut appetite = Appetite::new(small, 1000, 1000);
            assert!(appetite.is_starved(LONG));
            appetite.grew(LONG);
            assert!(appetite.is_wide() && appetite.size() == WIDE && !appetite.is_starved(u64::MAX));
            appetite.settled();
            assert!(appetite.size() == 1000 && appetite.is_starved(LONG) && !appetite.is_starved(LONG - 1));
        }
        assert!(!Appetite::new(WIDE, WIDE, WIDE).is_starved(LONG), "it is large enough as it is");
    }

    #[test]
    fn it_grows_once_more_by_a_flood_that_lasts_and_shrinks_soon_after_it() {
        let mut appetite = Appetite::new(100, 1000, 5000);
        appetite.came(100);
        appetite.grew(0);
        assert!(!appetite.ran_dry());
        for _ in 0..100 {
            appetite.came(4999);
            assert!(!appetite.ran_dry() && !appetite.is_starved(0), "it was long enough, and did not last");
            appetite.came(999);
            assert!(!appetite.ran_dry());
        }
        for _ in 0..4 {
            appetite.came(1000);
            assert!(
                !appetite.is_starved(0) && !appetite.ran_dry(),
                "it lasts, and there was not enough of it"
            );
        }
        appetite.came(1000);
        assert!(appetite.is_starved(0) && appetite.is_flooded());
        appetite.is_no_flood();
        assert!(!appetite.is_starved(0));
        appetite.came(5000);
        appetite.grew(0);
        assert!(appetite.size() == 5000 && !appetite.is_starved(0) && !appetite.is_flooded());
        for _ in 0..10 {
            appetite.came(1000);
            assert!(!appetite.ran_dry());
            for _ in 1..EBB {
                appetite.came(999);
                assert!(!appetite.ran_dry(), "a gap");
            }
        }
        appetite.came(999);
        assert!(appetite.ran_dry());
        appetite.shrank();
        assert_eq!(appetite.size(), 1000);
        assert!((1..QUIET).all(|_| !appetite.ran_dry()), "that is for a while");
        assert!(appetite.ran_dry());
        appetite.shrank();
        assert_eq!(appetite.size(), 100);
    }

    #[test]
    fn long_frames_are_no_flood_and_what_they_took_is_given_back_with_that() {
        let mut appetite = Appetite::new(100, 1000, 5000);
        appetite.grew(LONG);
        for _ in 0..10 {
            appetite.came(100_000);
            assert!(!appetite.is_flooded() && !appetite.is_starved(LONG) && !appetite.ran_dry());
        }
        appetite.settled();
        appetite.came(4999);
        assert!(!appetite.is_starved(0));
        appetite.came(1);
        assert!(appetite.is_starved(0));
        appetite.grew(LONG);
        assert_eq!(appetite.size(), WIDE);
        appetite.settled();
        assert_eq!(appetite.size(), 1000);
    }

    #[test]
    fn a_configured_buffer_that_is_small_is_all_there_is() {
        let mut appetite = Appetite::new(100, 100, 100);
        appetite.came(1000);
        assert!(!appetite.is_starved(1000));
        assert!((0..=QUIET).all(|_| !appetite.ran_dry()));
        appetite.shrank();
        assert_eq!(appetite.size(), 100);
    }
}
