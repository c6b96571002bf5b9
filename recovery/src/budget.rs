//! A retry budget that many clients of a process share.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{Cause, InvalidConfig, Moment, ReconnectionPolicy, Ruling, Situation};

/// A token bucket of attempts. Clone it into the policy of each client: all clones draw from one bucket, so
/// that a process with thousands of connections does not dial them all at once.
///
/// An attempt without a token waits for the next one; it is never given up. What the user asks for needs no token,
/// and draws none: neither `connect` nor [`retry_now`](crate::ConnectionRecoveryHandler::retry_now). Put the budget last in a chain of `and`s: a token is drawn when everything before it has allowed.
///
/// ```
/// use everwire_recovery::RetryBudget;
/// use std::time::Duration;
///
/// // A burst of 50, then 10 a second.
/// let budget = RetryBudget::new(50, Duration::from_millis(100));
/// let for_another_client = budget.clone();
/// ```
#[derive(Clone, Debug)]
pub struct RetryBudget {
    capacity: u32,
    refill: Duration,
    bucket: Arc<Mutex<Bucket>>,
}

#[derive(Debug)]
struct Bucket {
    tokens: u32,
    /// When the bucket last gained a token, or was full. `None` before the first question.
    filled: Option<Instant>,
}

impl RetryBudget {
    /// A full bucket of `capacity` tokens that gains one every `refill`.
    pub fn new(capacity: u32, refill: Duration) -> Self {
        Self { capacity, refill, bucket: Arc::new(Mutex::new(Bucket { tokens: capacity, filled: None })) }
    }

    fn draw(&self, now: Instant, take: bool) -> Result<(), Duration> {
        // Nothing here can panic half way; a poisoned lock still guards a sound bucket.
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let filled = *bucket.filled.get_or_insert(now);
        let elapsed = now.saturating_duration_since(filled);
        let gained = elapsed.as_nanos() / self.refill.as_nanos().max(1);
        let room = self.capacity - bucket.tokens;
        if gained >= u128::from(room) {
            bucket.tokens = self.capacity;
            bucket.filled = Some(filled.max(now));
        } else {
            bucket.tokens += gained as u32;
            bucket.filled = Some(filled + self.refill * gained as u32);
        }
        if bucket.tokens == 0 {
            let next = bucket.filled.unwrap_or(now) + self.refill;
            return Err(next.saturating_duration_since(now));
        }
        if take {
            bucket.tokens -= 1;
        }
        Ok(())
    }
}

impl ReconnectionPolicy for RetryBudget {
    fn rule(&self, situation: &Situation<'_>) -> Ruling {
        if situation.cause == Cause::UserAsked {
            return Ruling::Allow;
        }
        match self.draw(situation.now, situation.moment == Moment::Firing) {
            Ok(()) => Ruling::Allow,
            Err(wait) => Ruling::Wait(Some(wait)),
        }
    }

    fn validate(&self) -> Result<(), InvalidConfig> {
        if self.capacity == 0 {
            return Err(InvalidConfig::new("capacity", "must be above zero, or nobody ever reconnects"));
        }
        if self.refill.is_zero() {
            return Err(InvalidConfig::new("refill", "must be above zero, or the budget limits nothing"));
        }
        Ok(())
    }
}
