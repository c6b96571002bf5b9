//! How often to ask, and how long to wait for the answer.

use std::{error::Error, fmt, time::Duration};

/// Longer intervals are refused: a dead peer that is found after a day was not found. It also keeps every
/// sum of an instant and a duration in this crate far from overflow.
const LONGEST_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// The timings of a [`PingController`](crate::PingController). A value of this type is always sound: the
/// only ways to one are [`Default`] and [`PingConfigBuilder::build`].
///
/// ```
/// use std::time::Duration;
/// use everwire_ping::PingConfig;
///
/// let config = PingConfig::builder().interval(Duration::from_secs(10)).build()?;
/// assert_eq!(config.pong_timeout(), Duration::from_secs(3)); // the default
///
/// // Longer than the interval: the question would be put again before the answer is missed.
/// let error = PingConfig::builder().pong_timeout(Duration::from_secs(60)).build().unwrap_err();
/// assert_eq!(error.field(), "pong_timeout");
/// # Ok::<(), everwire_ping::PingConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PingConfig {
    interval: Duration,
    pong_timeout: Duration,
    any_inbound_counts: bool,
}

impl PingConfig {
    /// Starts from the defaults.
    pub const fn builder() -> PingConfigBuilder {
        PingConfigBuilder {
            config: Self {
                interval: Duration::from_secs(25),
                pong_timeout: Duration::from_secs(3),
                any_inbound_counts: false,
            },
        }
    }

    /// The time from one ping to the next.
    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// The time in which a pong is due.
    pub const fn pong_timeout(&self) -> Duration {
        self.pong_timeout
    }

    /// Whether anything received, not only a pong, is a sign of life.
    pub const fn any_inbound_counts(&self) -> bool {
        self.any_inbound_counts
    }
}

/// A ping every 25 s, a pong due within 3 s, and only a pong counts (§1).
impl Default for PingConfig {
    fn default() -> Self {
        Self::builder().config
    }
}

/// Builds a [`PingConfig`].
#[derive(Clone, Copy, Debug)]
pub struct PingConfigBuilder {
    config: PingConfig,
}

impl PingConfigBuilder {
    /// The time from one ping to the next. Default: 25 s. Also the longest time for which a dead peer can go
    /// without being asked; it is found within `interval` + `pong_timeout`.
    #[must_use]
    pub const fn interval(mut self, interval: Duration) -> Self {
        self.config.interval = interval;
        self
    }

    /// The time in which a pong is due. Default: 3 s. Must be shorter than the interval.
    #[must_use]
    pub const fn pong_timeout(mut self, pong_timeout: Duration) -> Self {
        self.config.pong_timeout = pong_timeout;
        self
    }

    /// Whether anything received between a ping and its deadline saves the connection. Default: `false`.
    ///
    /// Switch it on for links that carry so much that a pong can queue behind other messages for longer than
    /// the timeout. Leave it off where a proxy may go on sending for a server that has died.
    #[must_use]
    pub const fn any_inbound_counts(mut self, any_inbound_counts: bool) -> Self {
        self.config.any_inbound_counts = any_inbound_counts;
        self
    }

    /// Checks the values.
    ///
    /// # Errors
    /// Names the field that cannot work: a duration of zero, an interval longer than a day, or a pong timeout
    /// that is not shorter than the interval (a dead peer would never be found).
    pub fn build(self) -> Result<PingConfig, PingConfigError> {
        let PingConfig { interval, pong_timeout, .. } = self.config;
        let refuse = |field, problem| Err(PingConfigError { field, problem });
        if interval.is_zero() {
            refuse("interval", Problem::Zero)
        } else if interval > LONGEST_INTERVAL {
            refuse("interval", Problem::TooLong { value: interval })
        } else if pong_timeout.is_zero() {
            refuse("pong_timeout", Problem::Zero)
        } else if pong_timeout >= interval {
            refuse("pong_timeout", Problem::NotShorterThanInterval { value: pong_timeout, interval })
        } else {
            Ok(self.config)
        }
    }
}

/// A [`PingConfig`] that could not work.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PingConfigError {
    field: &'static str,
    problem: Problem,
}

impl PingConfigError {
    /// The setter whose value was refused: `"interval"` or `"pong_timeout"`.
    pub const fn field(&self) -> &'static str {
        self.field
    }
}

impl fmt::Display for PingConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = self.field;
        match self.problem {
            Problem::Zero => write!(f, "{field} must be longer than zero"),
            Problem::TooLong { value } => {
                write!(f, "{field} of {value:?} must be at most {LONGEST_INTERVAL:?}")
            }
            Problem::NotShorterThanInterval { value, interval } => write!(
                f,
                "{field} of {value:?} must be shorter than the interval of {interval:?}, or a dead peer \
                 would never be found"
            ),
        }
    }
}

impl Error for PingConfigError {}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Problem {
    Zero,
    TooLong { value: Duration },
    NotShorterThanInterval { value: Duration, interval: Duration },
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn rule_1_the_defaults_are_25_s_and_3_s_and_only_a_pong_counts() {
        let config = PingConfig::default();
        assert_eq!((config.interval(), config.pong_timeout()), (25 * SECOND, 3 * SECOND));
        assert!(!config.any_inbound_counts());
        assert_eq!(PingConfig::builder().build(), Ok(config), "the defaults pass their own check");
    }

    #[test]
    fn rule_1_a_deadline_that_could_never_find_a_dead_peer_is_refused_and_named() {
        let refused = |builder: PingConfigBuilder| builder.build().unwrap_err();

        let error = refused(PingConfig::builder().interval(3 * SECOND).pong_timeout(3 * SECOND));
        assert_eq!(error.field(), "pong_timeout");
        assert_eq!(
            error.to_string(),
            "pong_timeout of 3s must be shorter than the interval of 3s, or a dead peer would never be found"
        );
        assert_eq!(refused(PingConfig::builder().pong_timeout(26 * SECOND)).field(), "pong_timeout");

        let barely = PingConfig::builder().interval(3 * SECOND).pong_timeout(Duration::from_millis(2_999));
        assert!(barely.build().is_ok());
    }

    #[test]
    fn rule_1_zero_and_more_than_a_day_are_refused_and_named() {
        let error = PingConfig::builder().interval(Duration::ZERO).build().unwrap_err();
        assert_eq!(error.to_string(), "interval must be longer than zero");
        let error = PingConfig::builder().pong_timeout(Duration::ZERO).build().unwrap_err();
        assert_eq!(error.to_string(), "pong_timeout must be longer than zero");
        let error = PingConfig::builder().interval(86_401 * SECOND).build().unwrap_err();
        assert_eq!(error.field(), "interval");
        assert_eq!(error.to_string(), "interval of 86401s must be at most 86400s");
        assert!(PingConfig::builder().interval(LONGEST_INTERVAL).build().is_ok());
    }
}
