//! Clocks, memory, cores, and the counter of messages that starts and stops them.

use std::{
    fs,
    time::{Duration, Instant},
};

use nix::{
    sys::resource::{Resource, getrlimit, setrlimit},
    time::{ClockId, clock_gettime},
};

use crate::task::Measures;

/// A moment, on the clock of the wall and on that of this process's CPU time (all threads, user and system).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pub(crate) wall: Instant,
    pub(crate) cpu: Duration,
}

impl Mark {
    pub(crate) fn now() -> Self {
        let cpu = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("every Linux has this clock");
        Self { wall: Instant::now(), cpu: cpu.into() }
    }

    /// What `count` operations since this moment cost each.
    pub(crate) fn since(self, count: u64) -> Measures {
        let now = Self::now();
        let (wall, cpu) = (now.wall - self.wall, now.cpu - self.cpu);
        let count = count as f64;
        [("cpu_ns", cpu.as_secs_f64() * 1e9 / count), ("per_s", count / wall.as_secs_f64())]
            .map(|(name, value)| (name.to_owned(), value))
            .into()
    }
}

/// Counts messages: the first tenth warms up, the rest is measured.
#[derive(Debug)]
pub(crate) struct Meter {
    seen: u64,
    next: u64,
    count: u64,
    start: Option<Mark>,
}

impl Meter {
    pub(crate) const fn new(count: u64) -> Self {
        let warm_up = if count >= 10 { count / 10 } else { 1 };
        Self { seen: 0, next: warm_up, count, start: None }
    }

    /// Counts one message; the last one yields what all have cost.
    #[inline]
    pub(crate) fn hit(&mut self) -> Option<Measures> {
        self.seen += 1;
        if self.seen == self.next { self.turn() } else { None }
    }

    #[cold]
    fn turn(&mut self) -> Option<Measures> {
        match self.start {
            None => {
                self.start = Some(Mark::now());
                self.next = self.count;
                None
            }
            Some(start) => {
                let warm_up = if self.count >= 10 { self.count / 10 } else { 1 };
                Some(start.since(self.count - warm_up))
            }
        }
    }
}

/// A line of `/proc/self/status`, in bytes.
fn status(name: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    let kilobytes = line.trim_start_matches(':').trim().trim_end_matches(" kB");
    kilobytes.parse::<f64>().unwrap_or(f64::NAN) * 1024.0
}

/// What of this process is in memory now.
pub(crate) fn resident() -> f64 {
    status("VmRSS")
}

/// The most that was in memory since the process began.
pub(crate) fn peak_resident() -> f64 {
    status("VmHWM")
}

/// Pins this thread, and the threads that it will start, to a core. `false` where that cannot be done.
pub(crate) fn pin(core: usize) -> bool {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    cores.get(core % cores.len().max(1)).is_some_and(|core| core_affinity::set_for_current(*core))
}

pub(crate) fn cores() -> usize {
    core_affinity::get_core_ids().map_or(1, |cores| cores.len())
}

/// As many open files as the system allows; gives their number.
pub(crate) fn raise_file_limit() -> u64 {
    let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 0 };
    let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    hard
}

/// The value below which `share` of the sorted values lie.
pub(crate) fn percentile(sorted: &[f64], share: f64) -> f64 {
    let at = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len());
    sorted[at - 1]
}

/// The middle one; the mean of the middle two.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => values[len / 2],
        len => f64::midpoint(values[len / 2 - 1], values[len / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_tenth_of_the_messages_is_not_measured() {
        let mut meter = Meter::new(100);
        let seen = (1..=100).find(|_| meter.hit().is_some());
        assert_eq!(seen, Some(100));
        assert!(meter.start.is_some());
    }

    #[test]
    fn medians_and_percentiles_are_those_of_the_textbook() {
        assert!((median([3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median([4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median([]).is_nan());
        let sorted: Vec<f64> = (1..=100).map(f64::from).collect();
        assert!((percentile(&sorted, 0.99) - 99.0).abs() < 1e-9);
        assert!((percentile(&sorted, 0.5) - 50.0).abs() < 1e-9);
    }

    #[test]
    fn this_process_is_in_memory() {
        assert!(resident() > 0.0 && peak_resident() >= resident() * 0.9);
    }
}
