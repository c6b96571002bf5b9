//! `cargo xtask ci`: what has to hold before a change lands. The same on a laptop as on a build server.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use crate::{
    autobahn,
    cargo::{cargo, exit, succeeds},
    coverage, lint, netns, sim, test, tools,
};

/// The crates that others depend on; each builds without its default features and with all of them.
const LIBRARIES: [&str; 5] =
    ["everwire-engine", "everwire-client", "everwire-ping", "everwire-netmon", "everwire-recovery"];

/// How a step ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    Good,
    Failed,
    /// It said what it would have needed.
    Skipped,
}

impl From<bool> for Outcome {
    fn from(good: bool) -> Self {
        if good { Self::Good } else { Self::Failed }
    }
}

type Step = fn() -> Outcome;

/// What is done, in this order. The tests are last, so that the output ends with what their runner says.
const STEPS: [(&str, Step); 8] = [
    ("lint", || command(lint::run, &[])),
    ("features", features),
    ("deny", deny),
    ("sim", || command(sim::run, &["--seconds", SIMULATED])),
    ("autobahn", || command(autobahn::run, &[])),
    ("netns", || command(netns::run, &[])),
    ("coverage", || command(coverage::run, &[])),
    ("test", || command(test::run, &[])),
];

/// How long the simulation runs, in seconds: as many seeds as fit, for a build server that is asked often.
const SIMULATED: &str = "90";

/// Another command of ours. What it lacks it says itself, and then it is no failure.
fn command(run: fn(&[String]) -> ExitCode, arguments: &[&str]) -> Outcome {
    let arguments: Vec<_> = arguments.iter().map(ToString::to_string).collect();
    (run(&arguments) == ExitCode::SUCCESS).into()
}

/// Runs every step, also after one that failed: one run tells all.
#[expect(clippy::disallowed_methods, reason = "tells how long each step took; decides nothing")]
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    if !arguments.is_empty() {
        eprintln!("cargo xtask ci: takes no arguments");
        return ExitCode::from(2);
    }
    let mut good = true;
    let mut told = Vec::new();
    for (name, step) in STEPS {
        if name == "test" {
            // Said before the last step: the runner has the last word.
            println!("== {}", report(&told));
        }
        println!("== {name}");
        let start = Instant::now();
        let outcome = step();
        told.push((name, outcome, start.elapsed()));
        good &= outcome != Outcome::Failed;
    }
    exit(good)
}

fn report(told: &[(&str, Outcome, Duration)]) -> String {
    let step = |(name, outcome, time): &(&str, Outcome, Duration)| {
        let outcome = match outcome {
            Outcome::Good => "good",
            Outcome::Failed => "FAILED",
            Outcome::Skipped => "skipped",
        };
        format!("{name} {outcome} ({} s)", time.as_secs())
    };
    told.iter().map(step).collect::<Vec<_>>().join(", ")
}

fn features() -> Outcome {
    let mut good = true;
    for library in LIBRARIES {
        for features in ["--no-default-features", "--all-features"] {
            good &= succeeds(&mut cargo(&["check", "--quiet", "--package", library, features]));
        }
    }
    good.into()
}

/// What depends on nothing but the lock file. The advisories change without a commit of ours, so `cargo deny check
/// advisories` is for a person's own run, and for a job that runs daily.
fn deny() -> Outcome {
    match tools::DENY.call(&[
        "--all-features",
        "--log-level",
        "error",
        "check",
        "licenses",
        "bans",
        "sources",
    ]) {
        Ok(mut command) => succeeds(&mut command).into(),
        Err(what) => {
            println!("skipped: needs {what}");
            Outcome::Skipped
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_tells_what_failed_and_what_was_skipped() {
        let told = [
            ("lint", Outcome::Good, Duration::from_secs(61)),
            ("deny", Outcome::Skipped, Duration::from_millis(20)),
            ("test", Outcome::Failed, Duration::ZERO),
        ];
        assert_eq!(report(&told), "lint good (61 s), deny skipped (0 s), test FAILED (0 s)");
    }
}
