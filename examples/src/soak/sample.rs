//! What the process holds, sampled every second, and whether it grew.

use std::{fs, time::Duration};

use super::fleet::Totals;

/// What this process holds at a moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    /// Of the allocator, in bytes.
    live: u64,
    /// Of the machine's memory, in bytes.
    resident: u64,
    descriptors: u64,
    tasks: u64,
}

impl Sample {
    /// Where the system does not tell, a figure is 0, and so never grows.
    pub(super) fn take(live: usize) -> Self {
        let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
        Self {
            live: live as u64,
            resident: pages * 4096,
            descriptors: fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64),
            tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks() as u64,
        }
    }
}

/// All samples of a run.
#[derive(Debug)]
pub(super) struct Samples {
    pub(super) lasts: Duration,
    taken: Vec<Sample>,
}

/// Takes a figure out of a sample.
type Figure = fn(&Sample) -> u64;

/// What may grow, with how much more of it the last minute may hold than the second one: a tenth, and so much on top
/// for what comes and goes.
const FIGURES: [(&str, Figure, u64); 4] = [
    ("bytes allocated", |sample| sample.live, 1 << 20),
    ("bytes resident", |sample| sample.resident, 8 << 20),
    ("descriptors", |sample| sample.descriptors, 16),
    ("tasks", |sample| sample.tasks, 16),
];

impl Samples {
    pub(super) const fn new(lasts: Duration) -> Self {
        Self { lasts, taken: Vec::new() }
    }

    pub(super) const fn len(&self) -> usize {
        self.taken.len()
    }

    pub(super) const fn head() -> &'static str {
        "  second  allocated   resident  descriptors  tasks  connected  connections      sent  received"
    }

    /// Keeps a sample, and prints one line for each window.
    pub(super) fn add(&mut self, at: Duration, sample: Sample, totals: Totals) {
        self.taken.push(sample);
        if self.taken.len().is_multiple_of(self.window()) {
            let mib = |bytes: u64| format!("{}.{} MiB", bytes >> 20, ((bytes & 0xF_FFFF) * 10) >> 20);
            println!(
                "{:>8} {:>10} {:>10} {:>12} {:>6} {:>10} {:>12} {:>9} {:>9}",
                at.as_secs(),
                mib(sample.live),
                mib(sample.resident),
                sample.descriptors,
                sample.tasks,
                totals.connected,
                totals.connections,
                totals.sent,
                totals.received,
            );
        }
    }

    /// How many samples are compared: a minute, or a sixth of a run that is shorter than six.
    fn window(&self) -> usize {
        usize::try_from((self.lasts.as_secs() / 6).min(60)).unwrap_or(60).max(1)
    }

    /// What grew between the second window and the last, by their medians.
    pub(super) fn judge(&self) -> Vec<String> {
        let window = self.window();
        if self.taken.len() < 3 * window {
            return vec![format!("{} samples are too few to judge", self.taken.len())];
        }
        let (second, last) = (&self.taken[window..2 * window], &self.taken[self.taken.len() - window..]);
        let grew = FIGURES.iter().filter_map(|(name, figure, slack)| {
            let (before, after) = (median(second, figure), median(last, figure));
            let most = before + before / 10 + slack;
            (after > most).then(|| format!("{name} grew from {before} to {after}; {most} is the most"))
        });
        grew.collect()
    }
}

fn median(samples: &[Sample], figure: impl Fn(&Sample) -> u64) -> u64 {
    let mut figures: Vec<_> = samples.iter().map(figure).collect();
    figures.sort_unstable();
    figures[figures.len() / 2]
}

/// All clients are gone: so must be their tasks and descriptors.
pub(super) async fn nothing_is_left(before: &Sample, bytes: fn() -> usize) -> Option<String> {
    let mut after = Sample::take(bytes());
    for _ in 0..150 {
        if after.tasks <= before.tasks && after.descriptors <= before.descriptors {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        after = Sample::take(bytes());
    }
    let (tasks, descriptors) = (after.tasks - before.tasks.min(after.tasks), after.descriptors);
    Some(format!("{tasks} tasks are left, and {descriptors} descriptors instead of {}", before.descriptors))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(figure: impl Fn(u64) -> Sample) -> Samples {
        Samples { lasts: Duration::from_secs(60), taken: (0..60).map(figure).collect() }
    }

    #[test]
    fn what_is_flat_passes_and_what_grows_is_named() {
        let flat = |at| Sample { live: 50 << 20, resident: 90 << 20, descriptors: 100 + at % 3, tasks: 400 };
        assert_eq!(samples(flat).judge(), Vec::<String>::new());
        for (name, grow) in [
            ("bytes allocated", (|sample, at| sample.live += at << 18) as fn(&mut Sample, u64)),
            ("bytes resident", |sample, at| sample.resident += at << 20),
            ("descriptors", |sample, at| sample.descriptors += at),
            ("tasks", |sample, at| sample.tasks += 4 * at),
        ] {
            let growing = samples(|at| {
                let mut sample = flat(at);
                grow(&mut sample, at);
                sample
            });
            let [what] = &growing.judge()[..] else { panic!("{name}: {:?}", growing.judge()) };
            assert!(what.starts_with(name), "{what}");
        }
        assert!(Samples::new(Duration::from_secs(60)).judge()[0].contains("too few"));
    }
}
