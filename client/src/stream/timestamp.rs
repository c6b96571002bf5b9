//! Points in time as Stream writes them.

use std::time::{Duration, SystemTime};

const NANOS: i128 = 1_000_000_000;

/// A point in time, to the nanosecond: what RFC 3339 with up to nine fraction digits, or an integer of
/// nanoseconds, says.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Timestamp(i128);

impl Timestamp {
    /// So many nanoseconds after 1970-01-01T00:00:00Z.
    pub const fn from_unix_nanos(nanos: i128) -> Self {
        Self(nanos)
    }

    /// How many nanoseconds after 1970-01-01T00:00:00Z.
    pub const fn unix_nanos(self) -> i128 {
        self.0
    }

    /// The same as a system time; `None` where the system's range does not hold it.
    pub fn to_system_time(self) -> Option<SystemTime> {
        let nanos = self.0.unsigned_abs();
        let secs = u64::try_from(nanos / NANOS.unsigned_abs()).ok()?;
        let distance = Duration::new(secs, (nanos % NANOS.unsigned_abs()) as u32);
        if self.0 < 0 {
            SystemTime::UNIX_EPOCH.checked_sub(distance)
        } else {
            SystemTime::UNIX_EPOCH.checked_add(distance)
        }
    }

    /// Reads [RFC 3339](https://www.rfc-editor.org/rfc/rfc3339#section-5.6) with up to nine fraction digits
    /// (later ones are passed over), such as `2026-01-02T03:04:05.123456789Z`. `None` if it is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let number = |from: usize, len: usize| -> Option<i64> {
            let digits = bytes.get(from..from + len)?;
            digits
                .iter()
                .all(u8::is_ascii_digit)
                .then(|| digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
        };
        let separators = [(4, "-"), (7, "-"), (10, "Tt "), (13, ":"), (16, ":")];
        let fits = |(at, any): &(usize, &str)| bytes.get(*at).is_some_and(|b| any.as_bytes().contains(b));
        if !separators.iter().all(fits) {
            return None;
        }
        let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
        let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
        // 60 is a leap second.
        if !(1..=12).contains(&month)
            || day < 1
            || day > days_in(year, month)
            || hour > 23
            || minute > 59
            || second > 60
        {
            return None;
        }
        let mut rest = &bytes[19..];
        let mut nanos = 0;
        if let [b'.', digits @ ..] = rest {
            let len = digits.iter().take_while(|digit| digit.is_ascii_digit()).count();
            if len == 0 {
                return None;
            }
            let padded = digits[..len].iter().chain([b'0'; 9].iter()).take(9);
            nanos = padded.fold(0, |number, digit| number * 10 + i128::from(digit - b'0'));
            rest = &digits[len..];
        }
        let offset = match rest {
            b"Z" | b"z" => 0,
            [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
                let at = bytes.len() - 5;
                let (hours, minutes) = (number(at, 2)?, number(at + 3, 2)?);
                if hours > 23 || minutes > 59 {
                    return None;
                }
                (hours * 60 + minutes) * if *sign == b'-' { -60 } else { 60 }
            }
            _ => return None,
        };
        let seconds = days_before(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
        Some(Self(i128::from(seconds) * NANOS + nanos))
    }
}

const fn is_leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

const fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + is_leap(year) as i64,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a day of the Gregorian calendar.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let before = year - 1;
    let leaps = before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400);
    let months: i64 = (1..month).map(|month| days_in(year, month)).sum();
    // 719,162 days lie between 0001-01-01 and 1970-01-01.
    before * 365 + leaps + months + day - 1 - 719_162
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_7_timestamps_have_up_to_nine_fraction_digits() {
        for (text, nanos) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59.5Z", -500_000_000),
            ("2000-02-29T12:00:00Z", 951_825_600_000_000_000),
            ("2026-01-02T03:04:05.1Z", 1_767_323_045_100_000_000),
            ("2026-01-02T03:04:05.123456789Z", 1_767_323_045_123_456_789),
            ("2026-01-02T03:04:05.1234567899Z", 1_767_323_045_123_456_789),
            ("2026-01-02t03:04:05.000000001z", 1_767_323_045_000_000_001),
            ("2026-01-02T05:34:05+02:30", 1_767_323_045_000_000_000),
            ("2026-01-01T22:04:05-05:00", 1_767_323_045_000_000_000),
            ("0001-01-01T00:00:00Z", -62_135_596_800_000_000_000),
        ] {
            assert_eq!(Timestamp::parse(text).map(Timestamp::unix_nanos), Some(nanos), "{text}");
        }
    }

    #[test]
    fn what_is_no_timestamp_is_none() {
        for text in [
            "",
            "2026",
            "2026-01-02",
            "2026-01-02T03:04:05",
            "2026-01-02T03:04:05.Z",
            "2026-13-02T03:04:05Z",
            "2026-00-02T03:04:05Z",
            "2026-02-29T03:04:05Z",
            "2026-01-02T24:04:05Z",
            "2026-01-02T03:04:05+0230",
            "2026-01-02T03:04:05+2x:30",
            "2026-01-02T03:04:05+24:00",
            "2026-01-02T03:04:05-05:60",
            "2026-01-02T03:04:05Zz",
            "+026-01-02T03:04:05Z",
            "2026-01-02T03:04:0é",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_timestamp_is_a_system_time() {
        let time = Timestamp::from_unix_nanos(1_500_000_000).to_system_time().unwrap();
        assert_eq!(time.duration_since(SystemTime::UNIX_EPOCH).unwrap(), Duration::from_millis(1500));
        assert!(Timestamp::from_unix_nanos(-1).to_system_time().unwrap() < SystemTime::UNIX_EPOCH);
        assert_eq!(Timestamp::from_unix_nanos(i128::MAX).to_system_time(), None);
    }
}
