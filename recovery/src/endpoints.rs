//! Which endpoint the next attempt goes to: rotation by weight, with a memory of what failed.

use std::time::{Duration, Instant};

use crate::{InvalidConfig, Rng};

/// A pure choice of endpoints, for the request provider of a client that is asked before each attempt. `E` is
/// whatever names an endpoint: a URL, a region, a whole request.
///
/// The next endpoint is, in this order:
/// 1. a one-time endpoint that was [pushed](Self::push_one_time), each handed out once;
/// 2. the server's [redirection](Self::redirect), until it fails or expires;
/// 3. one of the list, drawn by weight among those without a penalty;
/// 4. when all have one, the one whose penalty ends first: a pool never refuses an answer.
///
/// A failure costs an endpoint a penalty of 10 s, doubled with each further failure in a row, at most 5 minutes.
/// A success forgives all.
///
/// ```
/// use everwire_recovery::{EndpointPool, Rng};
/// use std::time::Instant;
///
/// # fn main() -> Result<(), everwire_recovery::InvalidConfig> {
/// let mut pool = EndpointPool::new([("wss://a.example", 3), ("wss://b.example", 1)], Rng::seeded(1))?;
/// let now = Instant::now();
/// let first = pool.pick(now);
/// pool.failed(now, &first);
/// assert_ne!(pool.pick(now), first);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct EndpointPool<E> {
    entries: Vec<Entry<E>>,
    one_time: Vec<E>,
    redirection: Option<(E, Option<Instant>)>,
    penalty: Duration,
    penalty_cap: Duration,
    rng: Rng,
}

#[derive(Clone, Debug)]
struct Entry<E> {
    endpoint: E,
    weight: u32,
    failures: u32,
    until: Option<Instant>,
}

impl<E: Clone + Eq> EndpointPool<E> {
    /// A pool of endpoints with their weights: one of weight 3 is drawn three times as often as one of 1.
    ///
    /// # Errors
    /// When there is no endpoint, or one of weight zero.
    pub fn new(endpoints: impl IntoIterator<Item = (E, u32)>, rng: Rng) -> Result<Self, InvalidConfig> {
        let entries: Vec<_> = endpoints
            .into_iter()
            .map(|(endpoint, weight)| Entry { endpoint, weight, failures: 0, until: None })
            .collect();
        if entries.is_empty() {
            return Err(InvalidConfig::new("endpoints", "must not be empty"));
        }
        if entries.iter().any(|entry| entry.weight == 0) {
            return Err(InvalidConfig::new("weight", "must be above zero; leave the endpoint out instead"));
        }
        Ok(Self {
            entries,
            one_time: Vec::new(),
            redirection: None,
            penalty: Duration::from_secs(10),
            penalty_cap: Duration::from_secs(300),
            rng,
        })
    }

    /// The penalty of a first failure, and the most it grows to. Default: 10 s and 5 minutes.
    pub const fn penalty(mut self, first: Duration, cap: Duration) -> Self {
        self.penalty = first;
        self.penalty_cap = cap;
        self
    }

    /// The endpoint for the next attempt.
    pub fn pick(&mut self, now: Instant) -> E {
        if !self.one_time.is_empty() {
            return self.one_time.remove(0);
        }
        if let Some((endpoint, until)) = &self.redirection {
            if until.is_none_or(|until| now < until) {
                return endpoint.clone();
            }
            self.redirection = None;
        }
        let sound = |entry: &Entry<E>| entry.until.is_none_or(|until| until <= now);
        let total =
            self.entries.iter().filter(|entry| sound(entry)).map(|entry| u64::from(entry.weight)).sum();
        let mut drawn = self.rng.below(total);
        for entry in self.entries.iter().filter(|entry| sound(entry)) {
            match drawn.checked_sub(u64::from(entry.weight)) {
                Some(rest) => drawn = rest,
                None => return entry.endpoint.clone(),
            }
        }
        let soonest = self.entries.iter().min_by_key(|entry| entry.until);
        // The first entry exists: a pool is never empty.
        soonest.unwrap_or(&self.entries[0]).endpoint.clone()
    }

    /// The attempt to this endpoint failed, or the connection did not last.
    pub fn failed(&mut self, now: Instant, endpoint: &E) {
        if self.redirection.as_ref().is_some_and(|(redirected, _)| redirected == endpoint) {
            self.redirection = None;
        }
        for entry in self.entries.iter_mut().filter(|entry| entry.endpoint == *endpoint) {
            let doubled = self.penalty.saturating_mul(1 << entry.failures.min(20));
            entry.failures += 1;
            entry.until = Some(now + doubled.min(self.penalty_cap));
        }
    }

    /// The connection to this endpoint is established.
    pub fn succeeded(&mut self, endpoint: &E) {
        for entry in self.entries.iter_mut().filter(|entry| entry.endpoint == *endpoint) {
            entry.failures = 0;
            entry.until = None;
        }
    }

    /// The server told to go elsewhere, until then or until that fails.
    pub fn redirect(&mut self, endpoint: E, until: Option<Instant>) {
        self.redirection = Some((endpoint, until));
    }

    /// An endpoint for one attempt only: a URL with a ticket in it. Handed out once, first come first served.
    pub fn push_one_time(&mut self, endpoint: E) {
        self.one_time.push(endpoint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[expect(clippy::disallowed_methods, reason = "any instant will do as the start of a virtual clock")]
    fn t0() -> Instant {
        Instant::now()
    }

    fn pool(endpoints: &[(&'static str, u32)]) -> EndpointPool<&'static str> {
        EndpointPool::new(endpoints.iter().copied(), Rng::seeded(1)).unwrap()
    }

    #[test]
    fn rule_8_2_weights_are_respected() {
        let mut pool = pool(&[("a", 3), ("b", 1)]);
        let now = t0();
        let a = (0..4_000).filter(|_| pool.pick(now) == "a").count();
        assert!((2_850..3_150).contains(&a), "{a} of 4000 for a weight of 3 in 4");
    }

    #[test]
    fn rule_8_2_what_failed_rests_longer_each_time_and_a_success_forgives() {
        let mut pool = pool(&[("a", 1), ("b", 1)]);
        let mut now = t0();
        for penalty in [10, 20, 40, 80, 160, 300, 300] {
            pool.failed(now, &"a");
            assert!((0..100).all(|_| pool.pick(now + S(penalty - 1)) == "b"), "{penalty}");
            now += S(penalty);
            assert!((0..100).any(|_| pool.pick(now) == "a"), "{penalty}");
        }
        pool.succeeded(&"a");
        pool.failed(now, &"a");
        assert!((0..100).any(|_| pool.pick(now + S(10)) == "a"));
    }

    #[test]
    fn rule_8_2_how_long_it_rests_may_be_set() {
        let mut pool = pool(&[("a", 1), ("b", 1)]).penalty(S(2), S(3));
        let mut now = t0();
        for penalty in [2, 3, 3] {
            pool.failed(now, &"a");
            assert!((0..100).all(|_| pool.pick(now + S(penalty - 1)) == "b"), "{penalty}");
            now += S(penalty);
            assert!((0..100).any(|_| pool.pick(now) == "a"), "{penalty}");
        }
    }

    #[test]
    fn rule_8_2_when_all_have_failed_the_one_that_rests_shortest_is_tried() {
        let mut pool = pool(&[("a", 1), ("b", 100)]);
        let now = t0();
        pool.failed(now, &"a");
        pool.failed(now + S(1), &"b");
        assert_eq!(pool.pick(now + S(2)), "a");
    }

    #[test]
    fn rule_8_2_a_redirection_holds_until_it_fails_or_expires() {
        let mut pool = pool(&[("a", 1)]);
        let now = t0();
        pool.redirect("z", Some(now + S(60)));
        assert_eq!((pool.pick(now), pool.pick(now + S(59)), pool.pick(now + S(60))), ("z", "z", "a"));
        pool.redirect("z", None);
        assert_eq!(pool.pick(now + S(3_600)), "z");
        pool.failed(now, &"z");
        assert_eq!(pool.pick(now), "a");
    }

    #[test]
    fn rule_8_2_a_one_time_endpoint_is_handed_out_once() {
        let mut pool = pool(&[("a", 1)]);
        let now = t0();
        pool.push_one_time("ticket-1");
        pool.push_one_time("ticket-2");
        assert_eq!((pool.pick(now), pool.pick(now), pool.pick(now)), ("ticket-1", "ticket-2", "a"));
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let refused = |endpoints: &[(&'static str, u32)]| {
            EndpointPool::new(endpoints.iter().copied(), Rng::seeded(1)).unwrap_err().field()
        };
        assert_eq!(refused(&[]), "endpoints");
        assert_eq!(refused(&[("a", 0)]), "weight");
    }
}
