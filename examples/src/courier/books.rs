//! What was handed to an application, counted by the numbers that it carries.

use std::collections::BTreeSet;

/// The books of one direction. Messages are numbered from 1 by whoever wrote them.
#[derive(Clone, Debug, Default)]
pub struct Books {
    highest: u64,
    missing: BTreeSet<u64>,
    duplicated: u64,
    reordered: u64,
}

/// The books, closed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Count {
    /// How many messages there were.
    pub sent: u64,
    /// How many never came.
    pub lost: u64,
    /// How many came again.
    pub duplicated: u64,
    /// How many came after a later one.
    pub reordered: u64,
}

impl Books {
    /// The message with this number was handed over.
    pub fn note(&mut self, number: u64) {
        if number > self.highest {
            self.missing.extend(self.highest + 1..number);
            self.highest = number;
        } else if self.missing.remove(&number) {
            self.reordered += 1;
        } else {
            self.duplicated += 1;
        }
    }

    /// What they say, if so many messages were sent.
    pub fn close(&self, sent: u64) -> Count {
        let lost = self.missing.len() as u64 + sent.saturating_sub(self.highest);
        Count { sent, lost, duplicated: self.duplicated, reordered: self.reordered }
    }
}

impl Count {
    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            sent: self.sent + other.sent,
            lost: self.lost + other.lost,
            duplicated: self.duplicated + other.duplicated,
            reordered: self.reordered + other.reordered,
        }
    }

    /// Whether each message came once and in order.
    pub const fn is_clean(self) -> bool {
        self.lost + self.duplicated + self.reordered == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_doubled_and_late_is_told_apart() {
        for (numbers, lost, duplicated, reordered) in [
            (&[1, 2, 3, 4][..], 0, 0, 0),
            (&[1, 2, 4], 1, 0, 0),
            (&[1, 2, 3], 1, 0, 0),
            (&[1, 3, 2, 4], 0, 0, 1),
            (&[1, 2, 2, 3, 4, 1], 0, 2, 0),
            (&[], 4, 0, 0),
        ] {
            let mut books = Books::default();
            for number in numbers {
                books.note(*number);
            }
            assert_eq!(books.close(4), Count { sent: 4, lost, duplicated, reordered }, "{numbers:?}");
        }
    }
}
