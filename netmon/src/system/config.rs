//! The settings of the default monitor.

use std::{error::Error, fmt, time::Duration};

use super::{SystemMonitor, driver::Settings};

const INTERVAL: Duration = Duration::from_secs(2);
const DEBOUNCE: Duration = Duration::from_millis(250);

/// More often, and the probe would be felt on a battery and nowhere else.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(50);

/// Less often, and a moved path would stay unnoticed for longer than any health check would let it.
const LONGEST: Duration = Duration::from_secs(3600);

impl Default for Settings {
    fn default() -> Self {
        Self { target: None, interval: INTERVAL, debounce: DEBOUNCE }
    }
}

/// Builds a [`SystemMonitor`].
///
/// ```
/// use std::time::Duration;
///
/// use everwire_netmon::SystemMonitor;
///
/// let monitor = SystemMonitor::builder()
///     .towards("chat.example.com", 443)
///     .probe_interval(Duration::from_secs(5))
///     .build()?;
///
/// let wrong = SystemMonitor::builder().probe_interval(Duration::ZERO).build().unwrap_err();
/// assert_eq!(wrong.field(), "probe_interval");
/// # Ok::<(), everwire_netmon::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct SystemMonitorBuilder {
    settings: Settings,
}

impl SystemMonitorBuilder {
    /// The server whose path counts: a name, an IP address (IPv6 with or without brackets), also of this
    /// machine itself, and the port, which matters to systems that route by it.
    ///
    /// A name is looked up with the system's resolver, and again (at most every 10 s) when the network changed,
    /// when the server seems unreachable, and until it resolves; the last good answer stays. Default: anywhere,
    /// which is online when there is a way out of this machine over IPv4 or IPv6.
    pub fn towards(mut self, host: impl Into<String>, port: u16) -> Self {
        self.settings.target = Some((host.into(), port));
        self
    }

    /// How often the path is probed and the clocks are compared when nothing happens. Default 2 s, from 50 ms
    /// to an hour. It bounds how late a change is noticed that no watcher tells, and a wake from sleep.
    pub fn probe_interval(mut self, interval: Duration) -> Self {
        self.settings.interval = interval;
        self
    }

    /// How long after the first event of a burst the path is looked at and told. Default 250 ms, at most an
    /// hour; zero looks at once. A link of the path that stops running is told by the first event in any case.
    pub fn debounce(mut self, debounce: Duration) -> Self {
        self.settings.debounce = debounce;
        self
    }

    /// The monitor. Nothing is watched before its first poll, so this may be called outside a runtime.
    ///
    /// # Errors
    /// When a value is out of its range, or the host is empty or a URL; the error names the field.
    pub fn build(self) -> Result<SystemMonitor, ConfigError> {
        let Settings { target, interval, debounce } = &self.settings;
        if let Some(problem) = target.as_ref().and_then(|(host, _)| wrong_host(host)) {
            return Err(ConfigError { field: "towards", problem });
        }
        if !(SHORTEST_INTERVAL..=LONGEST).contains(interval) {
            let problem = format!("{interval:?} is not from {SHORTEST_INTERVAL:?} to {LONGEST:?}");
            return Err(ConfigError { field: "probe_interval", problem });
        }
        if *debounce > LONGEST {
            let problem = format!("{debounce:?} is more than {LONGEST:?}");
            return Err(ConfigError { field: "debounce", problem });
        }
        Ok(SystemMonitor::new(self.settings))
    }
}

/// What is wrong with a host. Without user information, which would be a secret, the host of a URL is named.
fn wrong_host(host: &str) -> Option<String> {
    let is_url = host.contains(['/', '?', '#', '@']);
    // An IPv6 address has two colons at least.
    let has_port = host.matches(':').count() == 1 || host.contains("]:");
    let what = if host.is_empty() {
        return Some("the host is empty".into());
    } else if host.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Some("there is a blank or a control character in it".into());
    } else if is_url {
        "it is a URL, not a host"
    } else if has_port {
        "the port is an argument of its own"
    } else {
        return None;
    };
    let authority = host.split_once("://").map_or(host, |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let alone = match authority.strip_prefix('[') {
        Some(address) => address.split(']').next(),
        None => authority.split(':').next(),
    };
    let alone = alone.filter(|alone| !alone.is_empty() && !host.contains('@'));
    let example = alone.map(|alone| format!(", {alone:?}")).unwrap_or_default();
    Some(format!("{what}; give the host alone{example}"))
}

/// A setting that cannot be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigError {
    field: &'static str,
    problem: String,
}

impl ConfigError {
    /// The name of the builder's method that took the value.
    pub const fn field(&self) -> &'static str {
        self.field
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the network monitor's `{}`: {}", self.field, self.problem)
    }
}

impl Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        let builder = SystemMonitor::builder;
        for (builder, field) in [
            (builder().towards("", 443), "towards"),
            (builder().probe_interval(Duration::ZERO), "probe_interval"),
            (builder().probe_interval(Duration::MAX), "probe_interval"),
            (builder().debounce(Duration::MAX), "debounce"),
        ] {
            let error = builder.build().unwrap_err();
            assert_eq!(error.field(), field);
            assert!(error.to_string().contains(field), "{error}");
        }
        assert!(builder().debounce(Duration::ZERO).build().is_ok());
    }

    /// A URL would be looked up as a name for ever, and in vain.
    #[test]
    fn a_host_that_is_a_url_is_refused_with_the_host_in_it() {
        for (host, words) in [
            ("wss://chat.example.com", "it is a URL, not a host; give the host alone, \"chat.example.com\""),
            ("wss://chat.example.com:8443/live?t=s3cret", "give the host alone, \"chat.example.com\""),
            ("chat.example.com/live", "give the host alone, \"chat.example.com\""),
            ("wss://user:s3cret@chat.example.com/", "it is a URL, not a host; give the host alone"),
            (
                "chat.example.com:443",
                "the port is an argument of its own; give the host alone, \"chat.example.com\"",
            ),
            ("wss://[::1]:9/", "it is a URL, not a host; give the host alone, \"::1\""),
            ("chat example", "there is a blank or a control character in it"),
        ] {
            let error = SystemMonitor::towards(host, 443).unwrap_err();
            assert_eq!(error.field(), "towards");
            assert!(error.to_string().ends_with(words), "{host}: {error}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
        for host in ["chat.example.com", "localhost", "10.0.0.1", "::1", "[2001:db8::1]", "fe80::1%eth0"] {
            assert!(SystemMonitor::towards(host, 443).is_ok(), "{host}");
        }
    }

    #[test]
    fn the_defaults_are_two_seconds_and_a_quarter() {
        let settings = Settings::default();
        assert_eq!((settings.interval.as_millis(), settings.debounce.as_millis()), (2000, 250));
    }
}
