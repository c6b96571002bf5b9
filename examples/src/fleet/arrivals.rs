//! When the clients of a fleet came back.

use std::{fmt, time::Duration};

const TENTH: Duration = Duration::from_millis(100);

/// How wide the longest bar is.
const WIDEST: usize = 50;

/// The times of all arrivals, since the server was back. Printed, it is a histogram.
#[derive(Debug, Default)]
pub(super) struct Arrivals(Vec<Duration>);

impl Arrivals {
    pub(super) fn note(&mut self, at: Duration) {
        self.0.push(at);
    }

    /// Which part of a fleet arrived in the fullest tenth of a second.
    pub(super) fn busiest_share(&self, fleet: usize) -> f64 {
        let busiest = self.counts(TENTH).into_iter().max().unwrap_or_default();
        busiest as f64 / fleet.max(1) as f64
    }

    /// When so many per cent of a fleet were back, if they are.
    pub(super) fn time(&self, percent: usize, fleet: usize) -> Option<Duration> {
        let mut times = self.0.clone();
        times.sort_unstable();
        times.get((fleet * percent).div_ceil(100).checked_sub(1)?).copied()
    }

    fn counts(&self, width: Duration) -> Vec<usize> {
        let mut counts = Vec::new();
        for at in &self.0 {
            let index = (at.as_micros() / width.as_micros().max(1)) as usize;
            if index >= counts.len() {
                counts.resize(index + 1, 0);
            }
            counts[index] += 1;
        }
        counts
    }
}

impl fmt::Display for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.0.iter().max().copied().unwrap_or_default();
        // Some twenty bars, of whole half seconds.
        let width = Duration::from_millis(500) * (last.as_millis() as u32 / 10_000 + 1);
        let counts = self.counts(width);
        let most = counts.iter().copied().max().unwrap_or_default().max(1);
        writeln!(f, "back after the server's return:")?;
        for (index, count) in counts.into_iter().enumerate() {
            let from = (width * index as u32).as_secs_f64();
            let bar = "#".repeat((count * WIDEST).div_ceil(most));
            writeln!(f, "{from:>6.1} s {count:>6} {bar}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_times_and_bars_are_those_of_the_whole_fleet() {
        let mut arrivals = Arrivals::default();
        for ms in [1010, 30, 1020, 1090, 1100, 2600, 640, 50] {
            arrivals.note(Duration::from_millis(ms));
        }
        assert!((arrivals.busiest_share(10) - 0.3).abs() < f64::EPSILON);
        assert_eq!(arrivals.time(50, 10), Some(Duration::from_millis(1020)));
        assert_eq!(arrivals.time(80, 10), Some(Duration::from_millis(2600)));
        assert_eq!(arrivals.time(81, 10), None, "two are missing");
        let shown = arrivals.to_string();
        assert_eq!(shown.lines().count(), 1 + 6, "{shown}");
        assert_eq!(shown.lines().nth(3), Some(format!("   1.0 s      4 {}", "#".repeat(50)).as_str()));
    }
}
