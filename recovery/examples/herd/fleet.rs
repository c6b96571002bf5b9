//! A fleet on virtual time.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    time::{Duration, Instant},
};

use everwire_recovery::Rng;

use crate::formulas::{Formula, Library};

/// What happens to the fleet.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scenario {
    /// Everyone is cut off at once; the server is back after this long, and takes everyone.
    Outage(Duration),
    /// Ten servers restart one after the other, 30 s apart, each closing its tenth of the fleet with 1012; the
    /// others take everyone.
    RollingRestart,
    /// As an outage, but the server accepts only so many a second; it refuses the rest.
    LimitedRate(Duration, u32),
}

impl Scenario {
    pub(crate) fn name(self) -> String {
        match self {
            Self::Outage(time) => format!("outage of {} s", time.as_secs()),
            Self::RollingRestart => "rolling restart, 10 × 30 s, close 1012".to_owned(),
            Self::LimitedRate(time, rate) => {
                format!("outage of {} s, then {rate} accepted a second", time.as_secs())
            }
        }
    }
}

/// How the fleet came back.
pub(crate) struct Arrivals {
    clients: usize,
    /// Dials that reached the server's address, by hundreds of milliseconds after the return.
    pub(crate) dials: Vec<u32>,
    /// When each client was back, after the return (or after its own loss, when there was no outage).
    times: Vec<Duration>,
    attempts: u64,
    gave_up: usize,
}

const BUCKET: Duration = Duration::from_millis(100);
/// A refused dial answers after so long; a session is established after so long.
const ROUND_TRIP: Duration = Duration::from_millis(2);
/// Nobody is waited for longer than so after the return.
const PATIENCE: Duration = Duration::from_secs(1_800);

impl Arrivals {
    fn new(clients: usize) -> Self {
        Self { clients, dials: Vec::new(), times: Vec::with_capacity(clients), attempts: 0, gave_up: 0 }
    }

    fn dial(&mut self, since_return: Duration) {
        let bucket = (since_return.as_millis() / BUCKET.as_millis()) as usize;
        if bucket >= self.dials.len() {
            self.dials.resize(bucket + 1, 0);
        }
        self.dials[bucket] += 1;
    }

    /// The share of the fleet that dials in the busiest 100 ms after the return.
    pub(crate) fn busiest(&self) -> f64 {
        f64::from(self.dials.iter().copied().max().unwrap_or(0)) / self.clients as f64
    }

    /// When this share of the fleet was back.
    pub(crate) fn time(&self, percent: usize) -> Option<Duration> {
        self.times.get((self.clients * percent).div_ceil(100).saturating_sub(1)).copied()
    }

    pub(crate) fn attempts(&self) -> f64 {
        self.attempts as f64 / self.clients as f64
    }

    pub(crate) fn gave_up(&self) -> f64 {
        self.gave_up as f64 / self.clients as f64
    }
}

/// Runs a fleet of `clients` through a scenario.
pub(crate) fn run(library: &Library, scenario: Scenario, clients: usize, seed: u64) -> Arrivals {
    let start = start();
    let mut arrivals = Arrivals::new(clients);
    match scenario {
        Scenario::LimitedRate(outage, rate) => limited(library, outage, rate, clients, seed, &mut arrivals),
        Scenario::Outage(outage) => {
            for index in 0..clients {
                let mut client = (library.client)(seed ^ (index as u64) << 20);
                let lost = start + spread(seed, index);
                client.opened(long_before(start));
                alone(&mut *client, lost, start + outage, 1006, &mut arrivals, |at| at - (start + outage));
            }
        }
        Scenario::RollingRestart => {
            for index in 0..clients {
                let mut client = (library.client)(seed ^ (index as u64) << 20);
                let restart = start + Duration::from_secs(30) * (index % 10) as u32;
                let lost = restart + spread(seed, index);
                client.opened(long_before(start));
                alone(&mut *client, lost, start, 1012, &mut arrivals, |at| at - lost);
                // The busiest moment is one of the whole fleet's clock, not of each client's.
                if let Some(time) = arrivals.times.last().copied() {
                    arrivals.dials[(time.as_millis() / BUCKET.as_millis()) as usize] -= 1;
                    arrivals.dial(lost + time - start);
                }
            }
        }
    }
    arrivals.times.sort_unstable();
    arrivals
}

/// One client that meets nobody else: the server takes everyone from `back` on.
fn alone(
    client: &mut dyn Formula,
    lost: Instant,
    back: Instant,
    code: u16,
    arrivals: &mut Arrivals,
    since: impl Fn(Instant) -> Duration,
) {
    let mut now = lost;
    let mut next = client.lost(now, code);
    while let Some(delay) = next {
        now += delay;
        arrivals.attempts += 1;
        if now >= back {
            arrivals.dial(since(now));
            arrivals.times.push(since(now));
            return;
        }
        now += ROUND_TRIP;
        next = client.failed(now);
    }
    arrivals.gave_up += 1;
}

/// All clients at once, since they meet at the server: it accepts `rate` a second and refuses the rest.
fn limited(
    library: &Library,
    outage: Duration,
    rate: u32,
    clients: usize,
    seed: u64,
    arrivals: &mut Arrivals,
) {
    let start = start();
    let back = start + outage;
    let mut fleet: Vec<_> = (0..clients).map(|index| (library.client)(seed ^ (index as u64) << 20)).collect();
    let mut dials = BinaryHeap::new();
    for (index, client) in fleet.iter_mut().enumerate() {
        client.opened(long_before(start));
        let lost = start + spread(seed, index);
        match client.lost(lost, 1006) {
            Some(delay) => dials.push(Reverse((lost + delay, index))),
            None => arrivals.gave_up += 1,
        }
    }
    let (mut second, mut accepted) = (0, 0);
    while let Some(Reverse((now, index))) = dials.pop() {
        arrivals.attempts += 1;
        let since = now.saturating_duration_since(back);
        if now >= back {
            arrivals.dial(since);
            if since.as_secs() != second {
                (second, accepted) = (since.as_secs(), 0);
            }
            if accepted < rate {
                accepted += 1;
                arrivals.times.push(since);
                continue;
            }
        }
        let now = now + ROUND_TRIP;
        match fleet[index].failed(now) {
            Some(delay) if since < PATIENCE => dials.push(Reverse((now + delay, index))),
            _ => arrivals.gave_up += 1,
        }
    }
}

/// How often one client connects within 10 s to a server that accepts and then closes: the worst of a hundred.
pub(crate) fn accept_then_close(library: &Library, seed: u64) -> usize {
    let count = |seed| {
        let start = start();
        let end = start + Duration::from_secs(10);
        let mut client = (library.client)(seed);
        let (mut now, mut connects) = (start, 0);
        while now < end {
            connects += 1;
            client.opened(now);
            now += ROUND_TRIP;
            match client.lost(now, 1006) {
                Some(delay) => now += delay,
                None => break,
            }
        }
        connects
    };
    (0..100).map(|index| count(seed ^ index << 20)).max().unwrap_or(0)
}

/// A server that dies takes its sockets with it within a few milliseconds, not within one.
fn spread(seed: u64, index: usize) -> Duration {
    Rng::seeded(seed.rotate_left(32) ^ index as u64).between(Duration::ZERO, Duration::from_millis(20))
}

#[expect(clippy::disallowed_methods, reason = "any instant will do as the start of a virtual clock")]
fn start() -> Instant {
    // Not at its very beginning, which may be the boot of this machine a moment ago.
    Instant::now() + Duration::from_secs(3_600)
}

/// When the connections were made that are lost.
fn long_before(start: Instant) -> Instant {
    start.checked_sub(Duration::from_secs(60)).expect("the start is an hour after the clock's own")
}
