//! Which address to try when (RFC 8305 §§4-5): pure, so that the race is tested without a network.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

/// The race. Ask [`poll_output`](Self::poll_output) after every input and when
/// [`poll_timeout`](Self::poll_timeout) has passed, until it gives nothing.
#[derive(Debug)]
pub(crate) struct HappyEyeballs {
    waiting: VecDeque<SocketAddr>,
    stagger: Duration,
    in_flight: usize,
    next_at: Option<Instant>,
}

impl HappyEyeballs {
    /// A race over these addresses: the families alternate, beginning with that of the first address, and
    /// the order within a family, which is the system's preference, is kept.
    pub(crate) fn new(addresses: impl IntoIterator<Item = SocketAddr>, stagger: Duration) -> Self {
        let mut addresses = addresses.into_iter().peekable();
        let first_is_v4 = addresses.peek().is_some_and(SocketAddr::is_ipv4);
        let (mut first, mut second): (VecDeque<_>, VecDeque<_>) =
            addresses.partition(|address| address.is_ipv4() == first_is_v4);
        let mut waiting = VecDeque::with_capacity(first.len() + second.len());
        while !first.is_empty() || !second.is_empty() {
            waiting.extend(first.pop_front().into_iter().chain(second.pop_front()));
        }
        Self { waiting, stagger, in_flight: 0, next_at: None }
    }

    /// An address to try now, beside those under way.
    pub(crate) fn poll_output(&mut self, now: Instant) -> Option<SocketAddr> {
        let is_due = self.in_flight == 0 || self.next_at.is_none_or(|at| at <= now);
        if !is_due {
            return None;
        }
        let address = self.waiting.pop_front()?;
        self.in_flight += 1;
        self.next_at = Some(now + self.stagger);
        Some(address)
    }

    /// When the next address is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.next_at.filter(|_| !self.waiting.is_empty())
    }

    /// An address failed: the next one is due at once.
    pub(crate) const fn handle_failed(&mut self) {
        self.in_flight -= 1;
        self.next_at = None;
    }

    /// An address won. The rest waits, should what follows fail with the winner.
    pub(crate) const fn handle_connected(&mut self) {
        self.in_flight = 0;
        self.next_at = None;
    }

    /// Whether an address is left that was not tried.
    pub(crate) fn has_more(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// An address is worth another try: it lost the race without having failed.
    pub(crate) fn put_back(&mut self, address: SocketAddr) {
        self.waiting.push_front(address);
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests need some instant to begin with")]
mod tests {
    use super::*;

    const STAGGER: Duration = Duration::from_millis(250);

    fn race(addresses: &[&str]) -> HappyEyeballs {
        HappyEyeballs::new(addresses.iter().map(|address| address.parse().unwrap()), STAGGER)
    }

    fn due(race: &mut HappyEyeballs, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| race.poll_output(now)).map(|address| address.to_string()).collect()
    }

    #[test]
    fn families_alternate_and_each_address_waits_for_its_turn() {
        let t0 = Instant::now();
        let mut race = race(&["[::1]:1", "[::2]:1", "[::3]:1", "127.0.0.1:1", "127.0.0.2:1"]);
        for (at, address) in
            ["[::1]:1", "127.0.0.1:1", "[::2]:1", "127.0.0.2:1", "[::3]:1"].iter().enumerate()
        {
            let now = t0 + STAGGER * at as u32;
            assert_eq!(due(&mut race, now), [*address]);
            assert_eq!(due(&mut race, now + STAGGER.saturating_sub(Duration::from_nanos(1))), [""; 0]);
        }
        assert_eq!(race.poll_timeout(), None);
    }

    #[test]
    fn an_address_that_lost_the_race_without_failing_is_the_next() {
        let t0 = Instant::now();
        let mut race = race(&["[::1]:1", "127.0.0.1:1", "[::2]:1"]);
        due(&mut race, t0);
        due(&mut race, t0 + STAGGER);
        race.handle_connected();
        race.put_back("[::1]:1".parse().unwrap());
        assert_eq!(
            race.poll_output(t0 + STAGGER).map(|address| address.to_string()).as_deref(),
            Some("[::1]:1")
        );
        assert!(race.has_more());
    }

    #[test]
    fn a_failure_brings_the_next_address_at_once() {
        let t0 = Instant::now();
        let mut race = race(&["[::1]:1", "127.0.0.1:1"]);
        assert_eq!(due(&mut race, t0), ["[::1]:1"]);
        assert_eq!(race.poll_timeout(), Some(t0 + STAGGER));
        race.handle_failed();
        assert_eq!(due(&mut race, t0), ["127.0.0.1:1"]);
    }

    #[test]
    fn a_winner_leaves_the_rest_for_when_it_falls_silent() {
        let t0 = Instant::now();
        let mut race = race(&["[::1]:1", "127.0.0.1:1"]);
        due(&mut race, t0);
        race.handle_connected();
        assert!(race.has_more());
        assert_eq!(due(&mut race, t0), ["127.0.0.1:1"]);
        assert!(!race.has_more());
    }
}
