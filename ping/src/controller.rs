//! The controller: one phase, one deadline at a time.

use std::time::{Duration, Instant};

use crate::PingConfig;

/// What the controller asks of the connection that it watches over. Both calls come from
/// [`PingController::handle_timeout`], never from elsewhere.
pub trait PingClient {
    /// Send a ping. What that is, a protocol ping or an event of the application, is the client's choice.
    /// A ping that cannot be written at once still counts as sent: a socket that takes nothing for so long is
    /// a sign of death like a missing pong.
    fn send_ping(&mut self);

    /// The pong did not come: close the connection. The controller is idle from here on, until it is told of
    /// a new connection.
    fn disconnect_no_pong_received(&mut self);
}

impl<T: PingClient + ?Sized> PingClient for &mut T {
    fn send_ping(&mut self) {
        T::send_ping(self);
    }

    fn disconnect_no_pong_received(&mut self) {
        T::disconnect_no_pong_received(self);
    }
}

/// Decides when to ping and when to give up. Pure: the time comes in as an argument, what follows goes out
/// through a [`PingClient`], and nothing happens in between.
///
/// # The loop around it
/// 1. Tell it what happened: [`connection_state_changed`](Self::connection_state_changed),
///    [`pong_received`](Self::pong_received), [`probe`](Self::probe), ...
/// 2. Sleep until [`next_timeout`](Self::next_timeout) or until something else happens.
/// 3. **Read what has arrived**, then call [`handle_timeout`](Self::handle_timeout). In this order a process
///    that was stopped for a while finds the pong in its socket before it condemns the link.
///
/// Calls that come early, late, twice or in an odd order are harmless: each says what it does then.
#[derive(Clone, Debug)]
pub struct PingController {
    config: PingConfig,
    phase: Phase,
    /// Since when nothing is being read, if so.
    paused_since: Option<Instant>,
    /// Whether anything arrived since the last ping.
    heard: bool,
    missed: u64,
}

/// Where the controller stands. There is one deadline because there is one phase: a tick that restarts the
/// wait for a pong cannot be written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    /// There is no connection to watch.
    Idle,
    /// The connection is believed to live. The next ping is due at `ping_at`, and its pong within `patience`
    /// of that: the configured timeout, or less when a probe said so.
    Resting { ping_at: Instant, patience: Duration },
    /// A ping is out, and its pong is due at `deadline`.
    AwaitingPong { sent_at: Instant, deadline: Instant },
}

impl PingController {
    /// A controller that watches nothing yet.
    pub const fn new(config: PingConfig) -> Self {
        Self { config, phase: Phase::Idle, paused_since: None, heard: false, missed: 0 }
    }

    /// The connection was fully established, or is gone.
    ///
    /// `true` starts the first interval; said again of the same connection it changes nothing. `false` makes
    /// the controller idle, and forgets that reading was paused: that was the old connection's matter.
    pub fn connection_state_changed(&mut self, now: Instant, connected: bool) {
        match (connected, self.phase) {
            (true, Phase::Idle) => self.rest_from(now),
            (true, Phase::Resting { .. } | Phase::AwaitingPong { .. }) => {}
            (false, _) => {
                self.phase = Phase::Idle;
                self.paused_since = None;
            }
        }
    }

    /// A pong arrived, or whatever the protocol has in its place. Returns the round trip time if it was
    /// awaited, `None` for an unsolicited one. A pong after its deadline still saves the connection if it is
    /// told before the timeout is handled.
    pub fn pong_received(&mut self, now: Instant) -> Option<Duration> {
        match self.phase {
            Phase::AwaitingPong { sent_at, .. } => {
                self.rest_from(sent_at);
                Some(now.saturating_duration_since(sent_at))
            }
            Phase::Idle | Phase::Resting { .. } => None,
        }
    }

    /// Anything at all arrived. Cheap enough to be called for each message: it reads no clock and sets a flag,
    /// which is looked at when a pong is overdue and
    /// [`any_inbound_counts`](crate::PingConfigBuilder::any_inbound_counts) is on.
    pub const fn inbound_received(&mut self) {
        self.heard = true;
    }

    /// A suspicion (the network path moved, the machine woke up): ask now instead of at the next interval,
    /// and wait for the answer for `deadline` at most, and never longer than the configured timeout.
    ///
    /// While a pong is awaited the question has been put already; then a probe may shorten the wait and never
    /// lengthens or restarts it. Without a connection it does nothing. Give the peer a few round trips: with a
    /// `deadline` of zero no peer can answer in time.
    pub fn probe(&mut self, now: Instant, deadline: Duration) {
        let deadline = deadline.min(self.config.pong_timeout());
        self.phase = match self.phase {
            Phase::Idle => Phase::Idle,
            Phase::Resting { ping_at, patience } => {
                Phase::Resting { ping_at: ping_at.min(now), patience: patience.min(deadline) }
            }
            Phase::AwaitingPong { sent_at, deadline: running } => {
                // While the deadline stands still, so does the time from which the probe counts.
                let now = self.stands_still_since(sent_at).unwrap_or(now);
                Phase::AwaitingPong { sent_at, deadline: running.min(now + deadline) }
            }
        };
    }

    /// From here on nothing is being read, because the application is behind. A pong may lie unread in the
    /// socket, so its deadline stands still until [`reading_resumed`](Self::reading_resumed) (§6). Pings still
    /// go out. Said twice it changes nothing.
    pub const fn reading_paused(&mut self, now: Instant) {
        if self.paused_since.is_none() {
            self.paused_since = Some(now);
        }
    }

    /// Reading goes on: the time left for the pong is what it was when the reading was paused, or the whole
    /// timeout if the ping went out meanwhile. Without a pause it changes nothing.
    pub fn reading_resumed(&mut self, now: Instant) {
        if let Phase::AwaitingPong { sent_at, deadline } = self.phase
            && let Some(since) = self.stands_still_since(sent_at)
        {
            let deadline = deadline + now.saturating_duration_since(since);
            self.phase = Phase::AwaitingPong { sent_at, deadline };
        }
        self.paused_since = None;
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called, `None` if there is nothing to wait
    /// for. It may lie in the past: then now.
    pub const fn next_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Idle => None,
            Phase::Resting { ping_at, .. } => Some(ping_at),
            Phase::AwaitingPong { .. } if self.paused_since.is_some() => None,
            Phase::AwaitingPong { deadline, .. } => Some(deadline),
        }
    }

    /// Sends the ping that is due, or gives the connection up, or does nothing if it is too early.
    pub fn handle_timeout(&mut self, now: Instant, client: &mut (impl PingClient + ?Sized)) {
        if self.next_timeout().is_none_or(|due| now < due) {
            return;
        }
        match self.phase {
            Phase::Idle => {}
            Phase::Resting { patience, .. } => {
                self.heard = false;
                self.phase = Phase::AwaitingPong { sent_at: now, deadline: now + patience };
                client.send_ping();
            }
            Phase::AwaitingPong { sent_at, .. } => {
                self.missed += 1;
                if self.config.any_inbound_counts() && self.heard {
                    self.rest_from(sent_at);
                } else {
                    self.phase = Phase::Idle;
                    self.paused_since = None;
                    client.disconnect_no_pong_received();
                }
            }
        }
    }

    /// Whether a ping is out and unanswered.
    pub const fn is_awaiting_pong(&self) -> bool {
        matches!(self.phase, Phase::AwaitingPong { .. })
    }

    /// How many pongs did not come in time since the controller was made, those included that other messages
    /// made up for.
    pub const fn missed(&self) -> u64 {
        self.missed
    }

    /// The timings.
    pub const fn config(&self) -> &PingConfig {
        &self.config
    }

    /// The next ping is due one interval after `start`: pings keep their rhythm, however long a pong takes.
    fn rest_from(&mut self, start: Instant) {
        self.phase =
            Phase::Resting { ping_at: start + self.config.interval(), patience: self.config.pong_timeout() };
    }

    /// Since when the deadline of the ping sent at `sent_at` stands still, if it does.
    fn stands_still_since(&self, sent_at: Instant) -> Option<Instant> {
        self.paused_since.map(|since| since.max(sent_at))
    }
}

#[cfg(any(test, feature = "model"))]
#[doc(hidden)]
impl PingController {
    /// The state with its instants as signed distances from `now`, so that a model can compare states of
    /// different moments.
    pub fn relative_to(&self, now: Instant) -> impl Eq + std::hash::Hash + use<> {
        let distance = |at: Instant| {
            (at.saturating_duration_since(now).as_millis(), now.saturating_duration_since(at).as_millis())
        };
        let phase = match self.phase {
            Phase::Idle => (0, (0, 0), (0, 0)),
            Phase::Resting { ping_at, patience } => (1, distance(ping_at), (patience.as_millis(), 0)),
            Phase::AwaitingPong { sent_at, deadline } => (2, distance(sent_at), distance(deadline)),
        };
        (phase, self.paused_since.map(distance), self.heard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// What the controller asked for, and when.
    #[derive(Debug, Default)]
    struct Log {
        now: u64,
        lines: Vec<String>,
    }

    impl PingClient for Log {
        fn send_ping(&mut self) {
            self.lines.push(format!("{} ping", self.now));
        }

        fn disconnect_no_pong_received(&mut self) {
            self.lines.push(format!("{} disconnect", self.now));
        }
    }

    /// A controller on a clock that counts seconds from zero.
    struct Bench {
        controller: PingController,
        log: Log,
        start: Instant,
    }

    impl Bench {
        fn new(config: PingConfig) -> Self {
            #[expect(
                clippy::disallowed_methods,
                reason = "an instant to count from; its value plays no part"
            )]
            let start = Instant::now();
            Self { controller: PingController::new(config), log: Log::default(), start }
        }

        fn connected() -> Self {
            let mut bench = Self::new(PingConfig::default());
            bench.controller.connection_state_changed(bench.at(0), true);
            bench
        }

        fn at(&self, second: u64) -> Instant {
            self.start + Duration::from_secs(second)
        }

        /// Handles the timeout at one moment, whether it is due or not.
        fn tick(&mut self, second: u64) {
            self.log.now = second;
            self.controller.handle_timeout(self.at(second), &mut self.log);
        }

        /// Handles each timeout when it is due, up to and including `second`.
        fn run_to(&mut self, second: u64) {
            while let Some(due) = self.controller.next_timeout().filter(|due| *due <= self.at(second)) {
                let due = due.saturating_duration_since(self.start).as_secs();
                self.tick(due);
            }
        }

        fn pong(&mut self, second: u64) -> Option<Duration> {
            self.controller.pong_received(self.at(second))
        }

        fn due(&self) -> Option<u64> {
            self.controller.next_timeout().map(|due| due.duration_since(self.start).as_secs())
        }
    }

    #[test]
    fn rule_1_a_ping_goes_out_every_25_s_and_its_pong_is_due_within_3_s() {
        let mut bench = Bench::connected();
        for second in [25, 50, 75] {
            assert_eq!(bench.due(), Some(second));
            bench.run_to(second);
            assert_eq!(bench.due(), Some(second + 3));
            assert_eq!(bench.pong(second + 1), Some(SECOND));
        }
        assert_eq!(bench.log.lines, ["25 ping", "50 ping", "75 ping"]);
        assert_eq!(bench.controller.missed(), 0);
    }

    #[test]
    fn rule_2_without_a_pong_the_client_is_told_once_and_the_controller_is_idle() {
        let mut bench = Bench::connected();
        bench.run_to(1_000);
        assert_eq!(bench.log.lines, ["25 ping", "28 disconnect"]);
        assert_eq!((bench.controller.missed(), bench.due()), (1, None));
    }

    #[test]
    fn rule_2_ticks_while_a_pong_is_awaited_never_restart_its_deadline() {
        let mut bench = Bench::connected();
        for second in 25..28 {
            bench.tick(second);
            assert_eq!(bench.due(), Some(28));
        }
        bench.tick(28);
        assert_eq!(bench.log.lines, ["25 ping", "28 disconnect"]);
    }

    #[test]
    fn whether_a_pong_is_awaited_is_told() {
        let mut bench = Bench::connected();
        assert!(!bench.controller.is_awaiting_pong());
        bench.run_to(25);
        assert!(bench.controller.is_awaiting_pong());
        bench.pong(26);
        assert!(!bench.controller.is_awaiting_pong());
    }

    #[test]
    fn a_borrowed_client_serves_as_well() {
        let mut bench = Bench::connected();
        for second in [25, 28] {
            bench.log.now = second;
            let mut borrowed = &mut bench.log;
            let now = bench.start + Duration::from_secs(second);
            bench.controller.handle_timeout(now, &mut borrowed);
        }
        assert_eq!(bench.log.lines, ["25 ping", "28 disconnect"]);
    }

    #[test]
    fn a_tick_that_comes_early_or_without_a_connection_does_nothing() {
        let mut bench = Bench::new(PingConfig::default());
        bench.tick(1_000);
        bench.controller.connection_state_changed(bench.at(1_000), true);
        bench.tick(1_024);
        assert!(bench.log.lines.is_empty(), "{:?}", bench.log.lines);
    }

    #[test]
    fn said_again_connected_does_not_put_the_ping_off() {
        let mut bench = Bench::connected();
        bench.controller.connection_state_changed(bench.at(20), true);
        assert_eq!(bench.due(), Some(25));
        bench.run_to(25);
        bench.controller.connection_state_changed(bench.at(26), true);
        assert_eq!(bench.due(), Some(28));
    }

    #[test]
    fn a_connection_that_is_gone_is_neither_pinged_nor_condemned() {
        let mut bench = Bench::connected();
        bench.run_to(25);
        bench.controller.connection_state_changed(bench.at(26), false);
        bench.run_to(1_000);
        assert_eq!(bench.log.lines, ["25 ping"]);
        assert_eq!(bench.pong(1_000), None, "the old connection's pong is nobody's");

        bench.controller.connection_state_changed(bench.at(2_000), true);
        assert_eq!(bench.due(), Some(2_025), "a new connection starts with a whole interval");
    }

    #[test]
    fn the_timings_are_those_it_was_made_with() {
        let config = PingConfig::builder().interval(7 * SECOND).build().unwrap();
        let bench = Bench::new(config);
        assert_eq!(bench.controller.config(), &config);
        assert_ne!(bench.controller.config(), &PingConfig::default());
    }

    #[test]
    fn an_unsolicited_pong_changes_nothing() {
        let mut bench = Bench::connected();
        assert_eq!(bench.pong(20), None);
        assert_eq!(bench.due(), Some(25));
    }

    #[test]
    fn a_late_pong_that_was_read_before_the_timeout_was_handled_saves_the_connection() {
        let mut bench = Bench::connected();
        bench.tick(25);
        // The process was stopped, and reads before it handles timers.
        assert_eq!(bench.pong(100), Some(75 * SECOND));
        bench.tick(100);
        assert_eq!(bench.log.lines, ["25 ping", "100 ping"]);
    }

    #[test]
    fn rule_1_other_messages_count_only_when_that_was_chosen() {
        for (any_inbound_counts, expected) in
            [(false, vec!["25 ping", "28 disconnect"]), (true, vec!["25 ping", "50 ping", "53 disconnect"])]
        {
            let config = PingConfig::builder().any_inbound_counts(any_inbound_counts).build().unwrap();
            let mut bench = Bench::new(config);
            bench.controller.connection_state_changed(bench.at(0), true);
            bench.run_to(25);
            bench.controller.inbound_received();
            bench.run_to(1_000);
            assert_eq!(bench.log.lines, expected);
        }
    }

    #[test]
    fn what_arrived_before_the_ping_says_nothing_about_its_answer() {
        let mut bench = Bench::new(PingConfig::builder().any_inbound_counts(true).build().unwrap());
        bench.controller.connection_state_changed(bench.at(0), true);
        bench.controller.inbound_received();
        bench.run_to(28);
        assert_eq!(bench.log.lines, ["25 ping", "28 disconnect"]);
    }

    #[test]
    fn rule_5_a_probe_asks_at_once_and_waits_as_long_as_it_says() {
        let mut bench = Bench::connected();
        bench.controller.probe(bench.at(10), 2 * SECOND);
        assert_eq!(bench.due(), Some(10));
        bench.run_to(1_000);
        assert_eq!(bench.log.lines, ["10 ping", "12 disconnect"]);
    }

    #[test]
    fn rule_5_after_an_answered_probe_the_usual_timings_hold_again() {
        let mut bench = Bench::connected();
        bench.controller.probe(bench.at(10), SECOND);
        bench.run_to(10);
        bench.pong(10);
        bench.run_to(1_000);
        assert_eq!(bench.log.lines, ["10 ping", "35 ping", "38 disconnect"]);
    }

    #[test]
    fn rule_5_a_probe_can_only_shorten_a_running_deadline() {
        let mut bench = Bench::connected();
        bench.run_to(25);
        bench.controller.probe(bench.at(26), 3 * SECOND);
        assert_eq!(bench.due(), Some(28), "neither restarted nor lengthened");
        bench.controller.probe(bench.at(26), SECOND);
        assert_eq!(bench.due(), Some(27));
        bench.run_to(1_000);
        assert_eq!(bench.log.lines, ["25 ping", "27 disconnect"]);
    }

    #[test]
    fn rule_5_a_probe_never_grants_more_than_the_usual_timeout_nor_more_than_an_earlier_probe() {
        let mut bench = Bench::connected();
        bench.controller.probe(bench.at(10), 100 * SECOND);
        bench.run_to(10);
        assert_eq!(bench.due(), Some(13));

        let mut bench = Bench::connected();
        bench.controller.probe(bench.at(10), SECOND);
        bench.controller.probe(bench.at(10), 2 * SECOND);
        bench.run_to(10);
        assert_eq!(bench.due(), Some(11));
    }

    #[test]
    fn rule_5_a_probe_without_a_connection_does_nothing() {
        let mut bench = Bench::new(PingConfig::default());
        bench.controller.probe(bench.at(0), SECOND);
        assert_eq!(bench.due(), None);
    }

    #[test]
    fn rule_6_while_nothing_is_read_the_deadline_stands_still() {
        let mut bench = Bench::connected();
        bench.run_to(25);
        bench.controller.reading_paused(bench.at(26));
        bench.controller.reading_paused(bench.at(27)); // said twice, the first counts
        assert_eq!(bench.due(), None);
        bench.tick(1_000);
        bench.controller.reading_resumed(bench.at(1_000));
        assert_eq!(bench.due(), Some(1_002), "2 of the 3 s were left");
        bench.controller.reading_resumed(bench.at(1_001)); // not paused, nothing to resume
        bench.run_to(2_000);
        assert_eq!(bench.log.lines, ["25 ping", "1002 disconnect"]);
    }

    #[test]
    fn rule_6_a_ping_sent_while_nothing_is_read_gets_its_whole_timeout_afterwards() {
        let mut bench = Bench::connected();
        bench.controller.reading_paused(bench.at(10));
        bench.run_to(100);
        assert_eq!(bench.log.lines, ["25 ping"]);
        bench.controller.reading_resumed(bench.at(100));
        assert_eq!(bench.due(), Some(103));
    }

    #[test]
    fn rule_6_a_probe_while_nothing_is_read_counts_from_when_reading_goes_on() {
        let mut bench = Bench::connected();
        bench.run_to(25);
        bench.controller.reading_paused(bench.at(25));
        bench.controller.probe(bench.at(60), SECOND);
        assert_eq!(bench.due(), None);
        bench.controller.reading_resumed(bench.at(100));
        assert_eq!(bench.due(), Some(101));
    }

    #[test]
    fn rule_6_the_old_connections_pause_does_not_hold_up_the_new_one() {
        let mut bench = Bench::connected();
        bench.controller.reading_paused(bench.at(1));
        bench.controller.connection_state_changed(bench.at(2), false);
        bench.controller.connection_state_changed(bench.at(3), true);
        bench.run_to(1_000);
        assert_eq!(bench.log.lines, ["28 ping", "31 disconnect"]);
    }

    #[test]
    fn the_longest_interval_does_not_overflow() {
        let config = PingConfig::builder().interval(24 * 3_600 * SECOND).build().unwrap();
        let mut bench = Bench::new(config);
        bench.controller.connection_state_changed(bench.at(0), true);
        bench.controller.probe(bench.at(0), Duration::MAX);
        bench.run_to(0);
        bench.controller.probe(bench.at(0), Duration::MAX);
        assert_eq!(bench.due(), Some(3));
    }

    const _: () = {
        const fn promises<T: Clone + Send + Sync + 'static>() {}
        promises::<PingController>();
    };
}
