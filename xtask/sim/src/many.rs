//! Many seeds, on all cores.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{clock, outcome::Outcome, plan::Plan, plant::Plant, trace, world};

/// So many failures are enough to read.
const ENOUGH: usize = 5;
/// Every so many seeds one is run twice, and both traces must be the same.
const TWICE: u64 = 100;

/// Which seeds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Runs {
    pub(crate) first: u64,
    pub(crate) count: Option<u64>,
    /// As many as fit.
    pub(crate) lasts: Option<Duration>,
}

/// What came of all.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    seeds: u64,
    all: Outcome,
    took: Duration,
    twice: u64,
}

/// Runs them. Tells what came of all, and the runs that failed.
pub(crate) fn run(runs: &Runs) -> (Sum, Vec<Outcome>) {
    let start = clock::wall();
    let next = AtomicU64::new(runs.first);
    let done = Mutex::new((Sum::default(), Vec::new()));
    let lock = || done.lock().unwrap_or_else(PoisonError::into_inner);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let is_last = runs.count.is_some_and(|count| seed - runs.first >= count);
            let is_late = runs.lasts.is_some_and(|lasts| clock::wall() - start >= lasts);
            if is_last || is_late || lock().1.len() >= ENOUGH {
                return;
            }
            let outcome = one(seed);
            let mut done = lock();
            done.0.seeds += 1;
            done.0.twice += u64::from(seed.is_multiple_of(TWICE));
            done.0.all.merge(&outcome);
            if !outcome.violations.is_empty() {
                done.1.push(outcome);
            }
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(work))));
    let (mut sum, mut failed) = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    sum.took = clock::wall() - start;
    failed.sort_by_key(|outcome: &Outcome| outcome.seed);
    (sum, failed)
}

fn one(seed: u64) -> Outcome {
    let plan = Plan::draw(seed);
    if !seed.is_multiple_of(TWICE) {
        return world::run(&plan, Plant::Nothing);
    }
    let (mut outcome, first) = trace::told(|| world::run(&plan, Plant::Nothing));
    let (_, second) = trace::told(|| world::run(&plan, Plant::Nothing));
    if let Some(difference) = trace::difference(&first, &second) {
        outcome.violations.push(format!("the same seed had another trace the second time: {difference}"));
    }
    outcome
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seeds, all, took, twice } = self;
        let hours = all.elapsed.as_secs_f64() / 3600.0;
        let seconds = took.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "counts of seeds are far below 2^52")]
        let pace = *seeds as f64 / seconds;
        writeln!(
            f,
            "{seeds} seeds in {seconds:.1} s ({pace:.1} seeds per second), {hours:.1} simulated hours"
        )?;
        writeln!(f, "{twice} of them twice, with the same trace byte for byte")?;
        write!(f, "{all}")
    }
}

/// The faults by their kinds, on few lines.
pub(crate) fn faults(faults: &BTreeMap<&'static str, u64>) -> String {
    let told: Vec<_> = faults.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    told.chunks(6).map(|line| format!("  {}", line.join(", "))).collect::<Vec<_>>().join("\n")
}
