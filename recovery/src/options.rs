//! The durations and switches of recovery.

use std::{
    ops::RangeInclusive,
    sync::{Arc, LazyLock},
    time::Duration,
};

use crate::InvalidConfig;

/// Every duration and switch that is no strategy and no policy. The defaults are meant to stay; tests and
/// demonstrations scale them down.
///
/// ```
/// use everwire_recovery::RecoveryOptions;
/// use std::time::Duration;
///
/// let options = RecoveryOptions::default()
///     .stable_after(Duration::from_secs(30))
///     .keep_alive_in_background(true);
/// ```
#[derive(Clone, Debug)]
pub struct RecoveryOptions {
    pub(crate) stable_after: Duration,
    pub(crate) first_delay: Duration,
    pub(crate) fast_ladder: Vec<Duration>,
    pub(crate) restart_delay: RangeInclusive<Duration>,
    pub(crate) overload_delay: RangeInclusive<Duration>,
    pub(crate) coalesce: Duration,
    pub(crate) probe_deadline: Duration,
    pub(crate) idle_limit: Duration,
    pub(crate) background_grace: Duration,
    pub(crate) keep_alive_in_background: bool,
    pub(crate) offline_poll: Duration,
    pub(crate) burst: u32,
    pub(crate) burst_window: Duration,
    pub(crate) make_before_break: bool,
    pub(crate) replace_interval: Duration,
}

impl Default for RecoveryOptions {
    fn default() -> Self {
        let (ms, s) = (Duration::from_millis, Duration::from_secs);
        Self {
            stable_after: s(10),
            first_delay: s(2),
            fast_ladder: vec![ms(0), ms(250), ms(500), ms(1_000)],
            restart_delay: s(5)..=s(30),
            overload_delay: s(30)..=s(60),
            coalesce: ms(250),
            probe_deadline: s(3),
            idle_limit: s(60),
            background_grace: s(10),
            keep_alive_in_background: false,
            offline_poll: s(30),
            burst: 4,
            burst_window: s(10),
            make_before_break: true,
            replace_interval: s(30),
        }
    }
}

impl RecoveryOptions {
    /// The defaults, once for all clients of a process.
    pub(crate) fn usual() -> Arc<Self> {
        static USUAL: LazyLock<Arc<RecoveryOptions>> = LazyLock::new(Arc::default);
        Arc::clone(&USUAL)
    }

    /// A connection is stable after so long in `Connected`; only that resets the ladder and the limits. Before
    /// it, an early drop continues the ladder, so that a server which accepts and then drops is not hammered.
    /// Default: 10 s.
    pub const fn stable_after(mut self, stable_after: Duration) -> Self {
        self.stable_after = stable_after;
        self
    }

    /// The first retry after a remote cause comes between zero and this. Default: 2 s. The first one is spread
    /// too, because a restarted server has lost its whole fleet at the same moment.
    pub const fn first_delay(mut self, first_delay: Duration) -> Self {
        self.first_delay = first_delay;
        self
    }

    /// The delays after a local cause: its first attempt, and those after it while the server stays
    /// unreachable, since name resolution or DHCP is often not ready. Default: 0, 250, 500, 1000 ms.
    pub fn fast_ladder(mut self, delays: impl IntoIterator<Item = Duration>) -> Self {
        self.fast_ladder = delays.into_iter().collect();
        self
    }

    /// The delay after close code 1012, "service restart": between these. Default: 5 to 30 s.
    pub const fn restart_delay(mut self, range: RangeInclusive<Duration>) -> Self {
        self.restart_delay = range;
        self
    }

    /// The delay after close code 1013, "try again later": between these, or the ladder's if that is longer.
    /// Default: 30 to 60 s.
    pub const fn overload_delay(mut self, range: RangeInclusive<Duration>) -> Self {
        self.overload_delay = range;
        self
    }

    /// Local signals that come within so long of each other become one attempt. Default: 250 ms.
    pub const fn coalesce(mut self, coalesce: Duration) -> Self {
        self.coalesce = coalesce;
        self
    }

    /// A pong that was asked for in doubt is due within so long. Default: 3 s.
    pub const fn probe_deadline(mut self, deadline: Duration) -> Self {
        self.probe_deadline = deadline;
        self
    }

    /// After a longer sleep of the machine the connection is taken for dead and made again; after a shorter
    /// one it is probed. Default: 60 s, about what servers and NAT boxes grant an idle connection.
    pub const fn idle_limit(mut self, limit: Duration) -> Self {
        self.idle_limit = limit;
        self
    }

    /// How long after the application went to the background the client is disconnected. Default: 10 s.
    pub const fn background_grace(mut self, grace: Duration) -> Self {
        self.background_grace = grace;
        self
    }

    /// Whether the connection is kept, and made again, while the application is in the background.
    /// Default: no.
    pub const fn keep_alive_in_background(mut self, keep: bool) -> Self {
        self.keep_alive_in_background = keep;
        self
    }

    /// How long after the latest attempt one is made although the monitor reports no network. Default: 30 s.
    pub const fn offline_poll(mut self, poll: Duration) -> Self {
        self.offline_poll = poll;
        self
    }

    /// The most connections that a server which accepts and then drops gets within a window; a local cause is
    /// exempt. Default: 4 in 10 s.
    pub const fn burst(mut self, connections: u32, window: Duration) -> Self {
        self.burst = connections;
        self.burst_window = window;
        self
    }

    /// Whether a live connection is replaced by one that is made beside it, when a better path appears or the server
    /// announces that it goes away. Default: yes, where the client can, which is the client's to say: Everwire's own
    /// cannot unless its builder was told so.
    pub const fn make_before_break(mut self, make_before_break: bool) -> Self {
        self.make_before_break = make_before_break;
        self
    }

    /// The least time from one replacement to the next, so that a path that flaps costs no connection each time. A
    /// replacement that failed is tried again by the ladder instead. Default: 30 s.
    pub const fn replace_interval(mut self, interval: Duration) -> Self {
        self.replace_interval = interval;
        self
    }

    /// Refuses what cannot work, by name.
    pub fn validate(&self) -> Result<(), InvalidConfig> {
        for (field, duration) in [
            ("stable_after", self.stable_after),
            ("first_delay", self.first_delay),
            ("probe_deadline", self.probe_deadline),
            ("idle_limit", self.idle_limit),
            ("offline_poll", self.offline_poll),
            ("burst_window", self.burst_window),
        ] {
            if duration.is_zero() {
                return Err(InvalidConfig::new(field, "must be above zero"));
            }
        }
        for (field, range) in
            [("restart_delay", &self.restart_delay), ("overload_delay", &self.overload_delay)]
        {
            if range.is_empty() {
                return Err(InvalidConfig::new(field, "must not end before it starts"));
            }
        }
        if self.fast_ladder.is_empty() {
            return Err(InvalidConfig::new("fast_ladder", "must have a first delay"));
        }
        if self.burst == 0 {
            return Err(InvalidConfig::new("burst", "must be above zero, or nobody ever reconnects"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let default = RecoveryOptions::default;
        assert_eq!(default().validate(), Ok(()));
        let (zero, s) = (Duration::ZERO, Duration::from_secs);
        for (options, field) in [
            (default().stable_after(zero), "stable_after"),
            (default().first_delay(zero), "first_delay"),
            (default().probe_deadline(zero), "probe_deadline"),
            (default().idle_limit(zero), "idle_limit"),
            (default().offline_poll(zero), "offline_poll"),
            (default().burst(4, zero), "burst_window"),
            (default().burst(0, s(1)), "burst"),
            (default().fast_ladder([]), "fast_ladder"),
            (default().restart_delay(s(2)..=s(1)), "restart_delay"),
            (default().overload_delay(s(2)..=s(1)), "overload_delay"),
        ] {
            assert_eq!(options.validate().unwrap_err().field(), field);
        }
    }
}
