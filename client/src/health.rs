//! Figures for a dashboard, kept without an allocation per message.
//!
//! The driver is the only writer. What changes with each message are plain counters that the handle may read
//! at any time; what changes rarely is behind a lock.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

#[cfg(feature = "metrics")]
use crate::metrics::Facade;
use crate::state::DisconnectionSource;

/// How a client is doing, at one moment. Counters run from the client's construction over all connections.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Health {
    /// Which attempt is the present or last one; the first is 1, and 0 means that there was none.
    pub generation: u64,
    /// How many attempts to connect were made.
    pub attempts: u64,
    /// How many connections were fully established.
    pub connections: u64,
    /// How many of them took the place of one that lived.
    pub replacements: u64,
    /// How often that failed; each time the old connection went on.
    pub failed_replacements: u64,
    /// For how long the client has been in its state.
    pub time_in_state: Duration,
    /// Round trips of pings; `None` before the first pong.
    pub rtt: Option<RoundTrips>,
    /// How many pings were sent.
    pub pings: u64,
    /// How many pongs did not come in time.
    pub missed_pongs: u64,
    /// How often credentials were renewed before they expired.
    pub renewals: u64,
    /// How often that failed; each time the connection went on.
    pub failed_renewals: u64,
    /// Messages received, with pings, pongs and close frames.
    pub messages_received: u64,
    /// Bytes of payload received.
    pub bytes_received: u64,
    /// Messages handed over and flushed: the application's and those of hooks, with pings and close frames. What the
    /// engine answers of itself is not among them.
    pub messages_sent: u64,
    /// Bytes of payload handed over and flushed.
    pub bytes_sent: u64,
    /// Messages that did not decode.
    pub rejects: u64,
    /// How often the event handler panicked; each time the connection went on.
    pub handler_panics: u64,
    /// Events of an old connection that came too late and changed nothing.
    pub late_events: u64,
    /// Messages that wait to be sent.
    pub send_queue_messages: usize,
    /// Bytes of payload that wait to be sent.
    pub send_queue_bytes: usize,
    /// Items that wait for the slowest subscriber.
    pub delivery_queue: usize,
    /// Why the last connection or attempt ended.
    pub last_cause: Option<DisconnectionSource>,
}

/// The round-trip times of pings. Old ones count less and less, so that mean and quantile follow the network.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RoundTrips {
    /// The last one.
    pub last: Duration,
    /// The mean.
    pub mean: Duration,
    /// 99 of 100 are no longer than this, which is at most 1/16 too long.
    pub p99: Duration,
}

/// Gathers the figures. Cheap to clone: the driver writes, handles read.
#[derive(Clone, Default)]
pub(crate) struct HealthRecorder(Arc<Shared>);

#[derive(Default)]
struct Shared {
    messages_received: AtomicU64,
    bytes_received: AtomicU64,
    messages_sent: AtomicU64,
    bytes_sent: AtomicU64,
    rejects: AtomicU64,
    handler_panics: AtomicU64,
    late_events: AtomicU64,
    delivery_queue: AtomicU64,
    rare: Mutex<Rare>,
    #[cfg(feature = "metrics")]
    facade: Facade,
}

#[derive(Default)]
struct Rare {
    generation: u64,
    attempts: u64,
    connections: u64,
    replacements: u64,
    failed_replacements: u64,
    pings: u64,
    missed_pongs: u64,
    renewals: u64,
    failed_renewals: u64,
    state_since: Option<Instant>,
    /// Since when the present attempt is under way, while it is.
    #[cfg(feature = "metrics")]
    attempt_since: Option<Instant>,
    /// Boxed: many a client has none.
    last_cause: Option<Box<DisconnectionSource>>,
    /// None before the first pong.
    round_trips: Option<Box<Histogram>>,
}

/// With one writer, reading and storing is an addition, and cheaper than an atomic one.
fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(n), Relaxed);
}

impl HealthRecorder {
    /// Messages came in, with so many bytes of payload together.
    pub(crate) fn received(&self, messages: u64, bytes: u64) {
        add(&self.0.messages_received, messages);
        add(&self.0.bytes_received, bytes);
    }

    /// Messages were flushed, with so many bytes of payload together.
    pub(crate) fn sent(&self, messages: u64, bytes: u64) {
        add(&self.0.messages_sent, messages);
        add(&self.0.bytes_sent, bytes);
    }

    /// A message did not decode.
    pub(crate) fn rejected(&self) {
        add(&self.0.rejects, 1);
    }

    /// The event handler panicked.
    pub(crate) fn handler_panicked(&self) {
        add(&self.0.handler_panics, 1);
    }

    /// An event of an old generation came, and was ignored.
    pub(crate) fn late_event(&self) {
        add(&self.0.late_events, 1);
    }

    /// So many items wait for the slowest subscriber.
    pub(crate) fn delivery_queue(&self, items: usize) {
        self.0.delivery_queue.store(items as u64, Relaxed);
    }

    /// An attempt begins. One that is counted already, since it began beside a connection, is not counted again.
    pub(crate) fn attempt(&self, generation: u64, now: Instant) {
        let mut rare = self.rare();
        if generation <= rare.generation {
            return;
        }
        rare.generation = generation;
        rare.attempts += 1;
        #[cfg(not(feature = "metrics"))]
        let _ = now;
        #[cfg(feature = "metrics")]
        {
            rare.attempt_since = Some(now);
            self.0.facade.attempts.increment(1);
        }
    }

    /// A connection is fully established.
    pub(crate) fn connected(&self) {
        let mut rare = self.rare();
        rare.connections += 1;
        #[cfg(feature = "metrics")]
        if let (Some(since), Some(now)) = (rare.attempt_since.take(), rare.state_since) {
            self.0.facade.connected(now.saturating_duration_since(since));
        }
    }

    /// The state changed.
    pub(crate) fn state_changed(&self, now: Instant) {
        self.rare().state_since = Some(now);
        #[cfg(feature = "metrics")]
        self.0.facade.connected.set(0);
    }

    /// A connection or an attempt ended.
    pub(crate) fn disconnected(&self, cause: DisconnectionSource) {
        #[cfg(feature = "metrics")]
        self.0.facade.disconnected(&cause);
        let displaced = self.rare().last_cause.replace(Box::new(cause));
        drop(displaced); // may hold a user's error, so not under the lock
    }

    /// A successor took the place of a connection, or could not.
    pub(crate) fn replaced(&self, good: bool) {
        let mut rare = self.rare();
        *(if good { &mut rare.replacements } else { &mut rare.failed_replacements }) += 1;
        #[cfg(feature = "metrics")]
        self.0.facade.replaced(good);
    }

    /// A pong came, so long after its ping.
    pub(crate) fn pong(&self, round_trip: Duration) {
        self.rare().round_trips.get_or_insert_default().record(round_trip);
        #[cfg(feature = "metrics")]
        self.0.facade.round_trip.record(round_trip);
    }

    /// A ping leaves.
    pub(crate) fn ping(&self) {
        self.rare().pings += 1;
        #[cfg(feature = "metrics")]
        self.0.facade.pings.increment(1);
    }

    /// A pong was due and did not come.
    pub(crate) fn missed_pong(&self) {
        self.rare().missed_pongs += 1;
        #[cfg(feature = "metrics")]
        self.0.facade.missed_pongs.increment(1);
    }

    /// Credentials were renewed before they expired, or could not be.
    pub(crate) fn renewed(&self, good: bool) {
        let mut rare = self.rare();
        *(if good { &mut rare.renewals } else { &mut rare.failed_renewals }) += 1;
        #[cfg(feature = "metrics")]
        self.0.facade.renewed(good);
    }

    /// Hands on what has changed since the last call, with the depth of the send queue in messages and bytes: once
    /// per turn of the driver, never per message.
    #[cfg(feature = "metrics")]
    pub(crate) fn publish(&self, send_queue: (usize, usize)) {
        let shared = &*self.0;
        let facade = &shared.facade;
        facade.messages_received.reach(shared.messages_received.load(Relaxed));
        facade.bytes_received.reach(shared.bytes_received.load(Relaxed));
        facade.messages_sent.reach(shared.messages_sent.load(Relaxed));
        facade.bytes_sent.reach(shared.bytes_sent.load(Relaxed));
        facade.rejects.reach(shared.rejects.load(Relaxed));
        facade.handler_panics.reach(shared.handler_panics.load(Relaxed));
        facade.late_events.reach(shared.late_events.load(Relaxed));
        facade.delivery_queue.set(shared.delivery_queue.load(Relaxed));
        facade.send_queue_messages.set(send_queue.0 as u64);
        facade.send_queue_bytes.set(send_queue.1 as u64);
    }

    /// The driver has ended: what its gauges stood at is taken back.
    #[cfg(feature = "metrics")]
    pub(crate) fn end(&self) {
        self.0.delivery_queue.store(0, Relaxed);
        self.publish((0, 0));
        self.0.facade.connected.set(0);
    }

    /// The figures as they are now, with the depth of the send queue in messages and bytes.
    pub(crate) fn read(&self, now: Instant, send_queue: (usize, usize)) -> Health {
        let shared = &*self.0;
        let rare = self.rare();
        Health {
            generation: rare.generation,
            attempts: rare.attempts,
            connections: rare.connections,
            replacements: rare.replacements,
            failed_replacements: rare.failed_replacements,
            time_in_state: rare.state_since.map_or(Duration::ZERO, |at| now.saturating_duration_since(at)),
            rtt: rare.round_trips.as_ref().and_then(|trips| trips.figures()),
            pings: rare.pings,
            missed_pongs: rare.missed_pongs,
            renewals: rare.renewals,
            failed_renewals: rare.failed_renewals,
            messages_received: shared.messages_received.load(Relaxed),
            bytes_received: shared.bytes_received.load(Relaxed),
            messages_sent: shared.messages_sent.load(Relaxed),
            bytes_sent: shared.bytes_sent.load(Relaxed),
            rejects: shared.rejects.load(Relaxed),
            handler_panics: shared.handler_panics.load(Relaxed),
            late_events: shared.late_events.load(Relaxed),
            send_queue_messages: send_queue.0,
            send_queue_bytes: send_queue.1,
            delivery_queue: usize::try_from(shared.delivery_queue.load(Relaxed)).unwrap_or(usize::MAX),
            last_cause: rare.last_cause.as_deref().cloned(),
        }
    }

    fn rare(&self) -> MutexGuard<'_, Rare> {
        self.0.rare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for HealthRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthRecorder").finish_non_exhaustive()
    }
}

/// Durations in microseconds, counted in buckets: 16 of equal width within each power of two, so each is at
/// most 1/16 wider than what falls into it. Nothing before the first, then 1 KiB, whatever is recorded.
#[derive(Default)]
struct Histogram {
    /// Empty until there is a sample. No count exceeds [`AGING`](Self::AGING).
    buckets: Vec<u16>,
    samples: u32,
    /// In microseconds.
    sum: u64,
    last: Duration,
    longest: Duration,
}

impl Histogram {
    const SUB_BITS: u32 = 4;
    /// 2^36 microseconds are 19 hours; what is longer counts as this.
    const BITS: u32 = 36;
    const BUCKETS: usize = ((Self::BITS - Self::SUB_BITS + 1) << Self::SUB_BITS) as usize;
    /// When there are so many samples, each counts half from then on.
    const AGING: u32 = 1024;

    fn record(&mut self, sample: Duration) {
        if self.samples >= Self::AGING {
            self.age();
        }
        let micros = u64::try_from(sample.as_micros()).unwrap_or(u64::MAX).min((1 << Self::BITS) - 1);
        if self.buckets.is_empty() {
            self.buckets = vec![0; Self::BUCKETS];
        }
        self.buckets[Self::bucket(micros)] += 1;
        self.samples += 1;
        self.sum += micros;
        self.last = sample;
        self.longest = self.longest.max(sample);
    }

    fn age(&mut self) {
        let mean = self.sum / u64::from(self.samples);
        // A lone sample vanishes. There are fewer buckets than samples, so never all of them do.
        self.buckets.iter_mut().for_each(|count| *count /= 2);
        self.samples = self.buckets.iter().copied().map(u32::from).sum();
        self.sum = mean * u64::from(self.samples);
    }

    fn figures(&self) -> Option<RoundTrips> {
        let mean = Duration::from_micros(self.sum.checked_div(u64::from(self.samples))?);
        // The rank of the sample that 99 % do not exceed, from 1.
        let rank = (u64::from(self.samples) * 99).div_ceil(100);
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|count| {
            seen += u64::from(*count);
            seen >= rank
        })?;
        let p99 = Duration::from_micros(Self::longest_of(bucket)).min(self.longest);
        Some(RoundTrips { last: self.last, mean, p99 })
    }

    const fn bucket(micros: u64) -> usize {
        if micros < 1 << Self::SUB_BITS {
            return micros as usize;
        }
        let shift = micros.ilog2() - Self::SUB_BITS;
        ((shift as usize) << Self::SUB_BITS) + (micros >> shift) as usize
    }

    /// The longest duration that falls into a bucket.
    const fn longest_of(bucket: usize) -> u64 {
        let sub = 1 << Self::SUB_BITS;
        if bucket < sub {
            return bucket as u64;
        }
        let shift = bucket / sub - 1;
        (((bucket % sub + sub + 1) as u64) << shift) - 1
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "any instant will do")]
mod tests {
    use super::*;

    #[test]
    fn every_duration_falls_into_a_bucket_that_is_at_most_a_sixteenth_too_wide() {
        let mut last = 0;
        for micros in (0..5000).chain((13..36).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 1])) {
            let bucket = Histogram::bucket(micros);
            let longest = Histogram::longest_of(bucket);
            assert!(longest >= micros && longest - micros <= micros / 16, "{micros} {bucket} {longest}");
            assert!(bucket == last || bucket == last + 1 || micros > 5000, "no gap at {micros}");
            last = bucket;
        }
        assert_eq!(Histogram::bucket((1 << Histogram::BITS) - 1), Histogram::BUCKETS - 1);
    }

    #[test]
    fn the_figures_of_round_trips_are_last_mean_and_p99() {
        let recorder = HealthRecorder::default();
        let now = Instant::now();
        assert_eq!(recorder.read(now, (0, 0)).rtt, None);
        assert_eq!(format!("{recorder:?}"), "HealthRecorder { .. }", "it prints without its lock");
        (1..=100).for_each(|ms| recorder.pong(Duration::from_millis(ms)));
        let rtt = recorder.read(now, (0, 0)).rtt.unwrap();
        assert_eq!((rtt.last, rtt.mean), (Duration::from_millis(100), Duration::from_micros(50_500)));
        assert!((99..=100).contains(&rtt.p99.as_millis()), "{rtt:?}");
        recorder.pong(Duration::MAX);
        assert_eq!(recorder.read(now, (0, 0)).rtt.unwrap().last, Duration::MAX);
    }

    #[test]
    fn old_round_trips_count_less_and_less() {
        let mut histogram = Histogram::default();
        (0..5000).for_each(|_| histogram.record(Duration::from_secs(1)));
        (0..5000).for_each(|_| histogram.record(Duration::from_millis(10)));
        let figures = histogram.figures().unwrap();
        assert!(figures.mean < Duration::from_millis(100), "{figures:?}");
        assert!(histogram.samples <= Histogram::AGING);
    }

    #[test]
    fn the_counters_tell_what_happened() {
        let recorder = HealthRecorder::default();
        let start = Instant::now();
        recorder.attempt(3, start);
        recorder.connected();
        recorder.state_changed(start);
        recorder.received(2, 30);
        recorder.received(1, 5);
        recorder.sent(4, 40);
        recorder.rejected();
        recorder.late_event();
        recorder.missed_pong();
        recorder.delivery_queue(7);
        recorder.disconnected(DisconnectionSource::NoPongReceived);
        let health = recorder.clone().read(start + Duration::from_secs(2), (5, 500));
        assert_eq!((health.generation, health.attempts, health.connections), (3, 1, 1));
        assert_eq!((health.messages_received, health.bytes_received), (3, 35));
        assert_eq!((health.messages_sent, health.bytes_sent), (4, 40));
        assert_eq!((health.rejects, health.late_events, health.missed_pongs), (1, 1, 1));
        assert_eq!((health.send_queue_messages, health.send_queue_bytes, health.delivery_queue), (5, 500, 7));
        assert_eq!(health.time_in_state, Duration::from_secs(2));
        assert_eq!(health.last_cause.map(|cause| cause.name()), Some("NoPongReceived"));
    }
}
