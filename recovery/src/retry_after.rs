//! `Retry-After`, as [RFC 9110 §10.2.3](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3) has it.

use std::time::{Duration, SystemTime};

/// How long a `Retry-After` value asks to wait, seen from `wall`; at most `cap`. `None` when it is neither a
/// number of seconds nor an HTTP date. A date that has passed asks for nothing.
pub(crate) fn parse(value: &str, wall: SystemTime, cap: Duration) -> Option<Duration> {
    let value = value.trim();
    let asked = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are a wish to be left alone for very long, not nonsense.
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        httpdate::parse_http_date(value).ok()?.duration_since(wall).unwrap_or(Duration::ZERO)
    };
    Some(asked.min(cap))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAP: Duration = Duration::from_secs(600);

    fn at(wall: &str) -> SystemTime {
        httpdate::parse_http_date(wall).unwrap()
    }

    #[test]
    fn rule_3_retry_after_is_seconds_or_a_date() {
        let wall = at("Sun, 06 Nov 1994 08:49:37 GMT");
        let seconds = |value| parse(value, wall, CAP).map(|asked| asked.as_secs());
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds(" 0 "), Some(0));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
        assert_eq!(seconds("Sunday, 06-Nov-94 08:50:07 GMT"), Some(30), "RFC 850 dates are legal");
        assert_eq!(seconds("Sun Nov  6 08:49:47 1994"), Some(10), "asctime dates are legal");
        assert_eq!(seconds("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0), "a past date asks for nothing");
    }

    #[test]
    fn rule_3_retry_after_is_capped() {
        let wall = at("Sun, 06 Nov 1994 08:49:37 GMT");
        for long in ["601", "99999999999999999999999999", "Mon, 06 Nov 2034 08:49:37 GMT"] {
            assert_eq!(parse(long, wall, CAP), Some(CAP), "{long}");
        }
    }

    #[test]
    fn nonsense_is_no_answer() {
        for value in ["", "soon", "-1", "1.5", "1e9", "+3", "٣"] {
            assert_eq!(parse(value, SystemTime::UNIX_EPOCH, CAP), None, "{value:?}");
        }
    }
}
