//! How late this machine is: a bound on a measured time is only as good as the machine that measures.

use std::{
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use super::watcher::now;

/// How long each nap is meant to be.
const NAP: Duration = Duration::from_millis(5);

/// What every nap is late by anyway.
const USUAL: Duration = Duration::from_micros(500);

static NAPS: Mutex<Vec<(Instant, Duration)>> = Mutex::new(Vec::new());

/// Begins to take naps, and to write down by how much each was late. The thread ends with the process.
pub(super) fn start() {
    thread::spawn(|| {
        loop {
            let start = now();
            thread::sleep(NAP);
            let end = now();
            let late = end.saturating_duration_since(start).saturating_sub(NAP + USUAL);
            if !late.is_zero() {
                note(end, late);
            }
        }
    });
}

fn note(end: Instant, late: Duration) {
    // A list stays a list, whoever panicked.
    NAPS.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((end, late));
}

/// For how long, from `start` to `end`, a thread that wanted to run was kept waiting: nobody could have been
/// quicker by more.
pub(super) fn between(start: Instant, end: Instant) -> Duration {
    let naps = NAPS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // One that ends after the end may have been late before it.
    let within =
        naps.iter().filter(|(at, late)| *at >= start && at.checked_sub(*late).is_some_and(|at| at <= end));
    within.map(|(_, late)| *late).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_late_within_the_time_counts() {
        let t0 = now();
        let at = |ms| t0 + Duration::from_millis(ms);
        for (end, late) in [(10, 5), (20, 7), (30, 9), (3000, 11)] {
            note(at(end), Duration::from_millis(late));
        }
        assert_eq!(between(at(15), at(100)), Duration::from_millis(16));
        assert_eq!(between(at(200), at(300)), Duration::ZERO);
        assert_eq!(between(at(200), at(2990)), Duration::from_millis(11), "it was late before the end");
    }
}
