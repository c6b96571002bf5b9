//! The one place that reads clocks: that of the machine which runs now, on virtual time.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

thread_local! {
    /// Between two steps no machine runs; the world says how late it is.
    static BETWEEN: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// How late it is in the run that this thread simulates.
pub(crate) fn elapsed() -> Duration {
    turmoil::sim_elapsed().unwrap_or_else(|| BETWEEN.get())
}

/// The world is between two steps, and it is so late.
pub(crate) fn set(elapsed: Duration) {
    BETWEEN.set(elapsed);
}

/// The clock of the machine that runs.
#[expect(clippy::disallowed_methods, reason = "the drivers of the simulation read the clock here")]
pub(crate) fn now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// The clock on the wall, to tell how fast the simulation is.
#[expect(clippy::disallowed_methods, reason = "tells how long the runs take; decides nothing of a run")]
pub(crate) fn wall() -> Instant {
    Instant::now()
}
