//! `cargo xtask sim`: whole clients on virtual time, over a simulated network that is spoilt by seed.
//!
//! Each seed draws a plan of machines, clients and faults; the world carries it out with the client, the engine and
//! the recovery that are shipped; ledgers say whether everything was as promised.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program whose output is its purpose")]

mod clock;
mod fault;
mod hall;
mod judge;
mod ledger;
mod many;
mod observer;
mod outcome;
mod participant;
mod plan;
mod plant;
mod protocol;
mod server;
mod setup;
mod talker;
#[cfg(test)]
mod tests;
mod told;
mod trace;
mod wire;
mod world;

use std::{process::ExitCode, time::Duration};

use many::Runs;
use outcome::Outcome;
use plan::Plan;
use plant::Plant;

/// How much of a story is shown when a run has failed; all of it with `--seed`.
const TAIL: usize = 80;

fn main() -> ExitCode {
    let wanted = match arguments() {
        Ok(wanted) => wanted,
        Err(error) => {
            eprintln!("cargo xtask sim: {error}; there are --seeds N, --from S, --seconds T, and --seed S");
            return ExitCode::from(2);
        }
    };
    outcome::keep_panics();
    let runs = match wanted {
        Wanted::One(seed) => return one(seed),
        Wanted::Many(runs) => runs,
    };
    let (sum, failed) = many::run(&runs);
    println!("{sum}");
    for outcome in &failed {
        explain(outcome);
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One seed with its story, or many.
enum Wanted {
    One(u64),
    Many(Runs),
}

fn arguments() -> Result<Wanted, String> {
    let mut runs = Runs { first: 1, count: Some(2000), lasts: None };
    let mut one = None;
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let value = given.next().ok_or_else(|| format!("{name} needs a value"))?;
        let value: u64 = value.parse().map_err(|_| format!("{value} of {name} is no number"))?;
        match name.as_str() {
            "--seeds" => runs.count = Some(value),
            "--from" => runs.first = value,
            "--seconds" => (runs.count, runs.lasts) = (None, Some(Duration::from_secs(value))),
            "--seed" => one = Some(value),
            _ => return Err(format!("unknown option {name}")),
        }
    }
    Ok(one.map_or(Wanted::Many(runs), Wanted::One))
}

/// Runs one seed and tells its story.
fn one(seed: u64) -> ExitCode {
    let plan = Plan::draw(seed);
    let (outcome, story) = trace::told(|| world::run(&plan, Plant::Nothing));
    println!("{story}{outcome}");
    for violation in &outcome.violations {
        println!("VIOLATED {violation}");
    }
    if outcome.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The seed, the end of the story of its trace, and how to see it again.
fn explain(outcome: &Outcome) {
    let seed = outcome.seed;
    let plan = Plan::draw(seed);
    let (again, story) = trace::told(|| world::run(&plan, Plant::Nothing));
    println!("\nseed {seed} failed; the end of its story:");
    let lines: Vec<_> = story.lines().collect();
    for line in &lines[lines.len().saturating_sub(TAIL)..] {
        println!("{line}");
    }
    for violation in &outcome.violations {
        println!("VIOLATED {violation}");
    }
    if again.violations != outcome.violations {
        println!("VIOLATED the same seed ended differently the second time: {:?}", again.violations);
    }
    println!("replay: cargo xtask sim --seed {seed}");
}
