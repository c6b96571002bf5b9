//! The suspend detector: were we away, or was only the wall clock set?
//!
//! A monotonic clock stands still while a Linux or macOS machine sleeps, so a sleep is the drift between it
//! and a clock that goes on. On Linux the boot-time clock goes on and is never set, which makes it the truth.
//! Elsewhere the wall clock has to do, and a large step forward cannot be told from a sleep. A process that
//! was stopped and continued drifts nowhere, but wakes much later than its timer asked for; where the system does not
//! tell how long it slept, that is taken for a sleep too, since there a monotonic clock may go on through one.

use std::time::{Duration, Instant, SystemTime};

use crate::Hint;

/// From here on we were away.
const AWAY: Duration = Duration::from_secs(5);

/// From here on the wall clock was set. Below it, it is merely being slewed.
const STEP: Duration = Duration::from_secs(1);

/// All clocks, read together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) now: Instant,
    pub(crate) wall: SystemTime,
    /// How long the machine has slept since it was started, where the system tells.
    pub(crate) slept: Option<Duration>,
}

/// Compares each reading with the last one.
#[derive(Debug)]
pub(crate) struct Detector {
    last: Reading,
}

impl Detector {
    pub(crate) fn new(reading: Reading) -> Self {
        Self { last: reading }
    }

    /// What happened since the last reading, when the timer was to ring at `due`.
    pub(crate) fn handle_reading(&mut self, reading: Reading, due: Instant) -> Option<Hint> {
        let last = std::mem::replace(&mut self.last, reading);
        let awake = reading.now.saturating_duration_since(last.now);
        let known_sleep = match (reading.slept, last.slept) {
            (Some(slept), Some(before)) => Some(slept.saturating_sub(before)),
            _ => None,
        };
        // How far the wall clock went beyond what the other clocks account for.
        let (ahead, behind) = match reading.wall.duration_since(last.wall) {
            Ok(elapsed) => split(elapsed, awake + known_sleep.unwrap_or_default()),
            Err(back) => (Duration::ZERO, back.duration() + awake),
        };
        let late = reading.now.saturating_duration_since(due);
        let asleep = known_sleep.unwrap_or(ahead) + late;
        if asleep >= AWAY {
            // Where the system tells what was sleep, the rest was not.
            if known_sleep.is_some_and(|slept| slept < STEP) {
                return Some(Hint::Continued { stopped: late });
            }
            return Some(Hint::WokeUp { asleep });
        }
        (ahead.max(behind) >= STEP).then_some(Hint::ClockStepped)
    }
}

/// How much `a` exceeds `b`, and how much it falls short of it.
fn split(a: Duration, b: Duration) -> (Duration, Duration) {
    (a.saturating_sub(b), b.saturating_sub(a))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test begins at some instant, whichever")]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_secs(2);

    struct Case {
        name: &'static str,
        /// What passed on each clock between two readings, in seconds.
        awake: f64,
        wall: f64,
        slept: Option<f64>,
        told: Option<Hint>,
    }

    fn woke(seconds: f64) -> Hint {
        Hint::WokeUp { asleep: Duration::from_secs_f64(seconds) }
    }

    /// §5: a drift of 5 s and more is "woke up", a stepped clock is not.
    #[test]
    fn rule_5_sleep_step_and_stop_are_told_apart() {
        let stepped = Some(Hint::ClockStepped);
        let none = None;
        for case in [
            Case { name: "an ordinary tick", awake: 2., wall: 2., slept: Some(0.), told: None },
            Case { name: "an ordinary tick, elsewhere", awake: 2., wall: 2., slept: none, told: None },
            Case { name: "slewed", awake: 2., wall: 2.001, slept: Some(0.), told: None },
            Case {
                name: "slept an hour",
                awake: 2.,
                wall: 3602.,
                slept: Some(3600.),
                told: Some(woke(3600.)),
            },
            Case {
                name: "slept an hour, elsewhere",
                awake: 2.,
                wall: 3602.,
                slept: none,
                told: Some(woke(3600.)),
            },
            Case { name: "slept 5 s", awake: 2., wall: 7., slept: Some(5.), told: Some(woke(5.)) },
            Case { name: "slept 4.9 s", awake: 2., wall: 6.9, slept: Some(4.9), told: None },
            Case { name: "drifted 4.9 s, elsewhere", awake: 2., wall: 6.9, slept: none, told: stepped },
            Case { name: "set forward while awake", awake: 2., wall: 3602., slept: Some(0.), told: stepped },
            Case { name: "set back", awake: 2., wall: -3600., slept: Some(0.), told: stepped },
            Case { name: "set back by a moment", awake: 2., wall: -0.5, slept: Some(0.), told: stepped },
            Case { name: "set back, elsewhere", awake: 2., wall: -3600., slept: none, told: stepped },
            Case { name: "set back a little", awake: 2., wall: 0.5, slept: Some(0.), told: stepped },
            Case {
                name: "slept, clock set back",
                awake: 2.,
                wall: -60.,
                slept: Some(60.),
                told: Some(woke(60.)),
            },
            Case {
                name: "stopped and continued",
                awake: 12.,
                wall: 12.,
                slept: Some(0.),
                told: Some(Hint::Continued { stopped: Duration::from_secs(10) }),
            },
            Case { name: "stopped, elsewhere", awake: 12., wall: 12., slept: none, told: Some(woke(10.)) },
            Case { name: "a busy moment", awake: 6., wall: 6., slept: Some(0.), told: None },
            Case {
                name: "stopped, and slept no less than a step",
                awake: 12.,
                wall: 12. + STEP.as_secs_f64(),
                slept: Some(STEP.as_secs_f64()),
                told: Some(woke(10. + STEP.as_secs_f64())),
            },
            Case { name: "stopped, then slept", awake: 5., wall: 9., slept: Some(4.), told: Some(woke(7.)) },
        ] {
            let t0 = Instant::now();
            let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
            let slept = case.slept.map(|_| Duration::from_secs(77));
            let mut detector = Detector::new(Reading { now: t0, wall, slept });
            let step = Duration::from_secs_f64(case.wall.abs());
            let reading = Reading {
                now: t0 + Duration::from_secs_f64(case.awake),
                wall: if case.wall < 0. { wall - step } else { wall + step },
                slept: slept.map(|s| s + Duration::from_secs_f64(case.slept.unwrap_or_default())),
            };
            assert_eq!(detector.handle_reading(reading, t0 + TICK), case.told, "{}", case.name);
            // Whatever it was, it is told once.
            let next = Reading { now: reading.now + TICK, wall: reading.wall + TICK, ..reading };
            assert_eq!(detector.handle_reading(next, reading.now + TICK), None, "after {}", case.name);
        }
    }
}
