//! A fleet of whole clients through a proxy that spoils their paths, for minutes; see `everwire_examples::soak`.
//!
//! `cargo run --release -p everwire-examples --bin soak -- --minutes 1 --clients 50`

use std::{alloc::System, error::Error, process::ExitCode};

use clap::Parser as _;
use everwire_examples::soak;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

/// Counts what is allocated, and gives it back.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn live() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated.saturating_sub(stats.bytes_deallocated)
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error + Send + Sync>> {
    soak::run(soak::Options::parse(), live).await
}
