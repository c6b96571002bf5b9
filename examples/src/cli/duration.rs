//! Durations as people write them.

use std::time::Duration;

/// Reads a duration: a number with the unit `ms`, `s`, `m` or `h`, such as `300ms`, `25s` or `1.5m`.
///
/// # Errors
/// A sentence that says what is wrong with the text.
///
/// ```
/// use everwire_examples::cli::parse_duration;
/// use std::time::Duration;
/// assert_eq!(parse_duration("300ms"), Ok(Duration::from_millis(300)));
/// assert_eq!(parse_duration("1.5m"), Ok(Duration::from_secs(90)));
/// assert!(parse_duration("25").is_err());
/// ```
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let number_len = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(number_len);
    let unit = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "" => return Err(format!("{text:?} has no unit; write {text}s, or use ms, m or h")),
        other => return Err(format!("{other:?} is no unit of time; use ms, s, m or h")),
    };
    let number: f64 = number.parse().map_err(|_| format!("{text:?} does not begin with a number"))?;
    Duration::try_from_secs_f64(number * unit).map_err(|_| format!("{text:?} is too long"))
}

/// Shows a duration as people read it: `0 ms`, `340 ms`, `2.50 s`, `3 min 20 s`.
pub fn show_duration(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis())
    } else if duration < Duration::from_secs(120) {
        format!("{:.2} s", duration.as_secs_f64())
    } else {
        format!("{} min {} s", duration.as_secs() / 60, duration.as_secs() % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_every_unit() {
        for (text, milliseconds) in
            [("0s", 0), ("5ms", 5), ("25s", 25_000), ("0.25s", 250), ("2m", 120_000), ("1h", 3_600_000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_says_why() {
        for (text, why) in [
            ("25", "no unit"),
            ("", "no unit"),
            ("5 s", "no unit of time"),
            ("-5s", "no unit of time"),
            ("s", "number"),
            ("1.2.3s", "number"),
            ("99999999999999999999h", "too long"),
        ] {
            let error = parse_duration(text).unwrap_err();
            assert!(error.contains(why), "{text:?}: {error}");
        }
    }
}
