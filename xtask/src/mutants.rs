//! `cargo xtask mutants`: changes the cores and the code that decides, one expression at a time, and expects a
//! test to notice each change.
//!
//! What is changed stands in `.cargo/mutants.toml`. A change that no test notices must stand in
//! `xtask/mutants/survivors.txt` with its reason, and at most 5 % may survive.

mod survivors;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use self::survivors::Survivors;
use crate::cargo::{cargo, exit, has, root, succeeded_with};

/// The most that may survive, in percent of those that could be tested.
const MOST: usize = 5;

/// One run: a part of the code, and the tests that guard it. Narrow ones, since they run for every change.
struct Part {
    name: &'static str,
    package: &'static str,
    /// What is listed of the package and belongs to another part.
    without: &'static [&'static str],
    tests: &'static [&'static str],
}

const PARTS: &[Part] = &[
    Part { name: "ping", package: "everwire-ping", without: &[], tests: &[] },
    Part {
        name: "client-core",
        package: "everwire-client",
        without: &["client/src/reliable/*", "client/src/send/*"],
        tests: &["core::"],
    },
    Part {
        name: "client-reliable",
        package: "everwire-client",
        without: &["client/src/core/*", "client/src/send/*"],
        tests: &["reliable::"],
    },
    Part {
        name: "client-send",
        package: "everwire-client",
        without: &["client/src/core/*", "client/src/reliable/*"],
        tests: &["send::"],
    },
    Part {
        name: "recovery",
        package: "everwire-recovery",
        without: &[],
        tests: &["--skip", "the_model_finds", "--skip", "tests::random"],
    },
    Part { name: "netmon", package: "everwire-netmon", without: &[], tests: &[] },
    Part { name: "engine", package: "everwire-engine", without: &[], tests: &[] },
];

/// What became of the changes of one part.
#[derive(Debug, Default)]
struct Outcome {
    caught: usize,
    /// The tests never ended, which is noticed too.
    timeouts: usize,
    /// They do not compile, so there is nothing to notice.
    unviable: usize,
    missed: Vec<String>,
}

impl Outcome {
    fn read(folder: &Path) -> Result<Self, String> {
        let lines = |name: &str| {
            let path = folder.join("mutants.out").join(name);
            let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            Ok::<_, String>(text.lines().map(str::to_owned).collect::<Vec<_>>())
        };
        Ok(Self {
            caught: lines("caught.txt")?.len(),
            timeouts: lines("timeout.txt")?.len(),
            unviable: lines("unviable.txt")?.len(),
            missed: lines("missed.txt")?,
        })
    }

    /// Those that compile.
    fn viable(&self) -> usize {
        self.caught + self.timeouts + self.missed.len()
    }
}

/// Runs the parts that are named, or all; with `--report` it only tells what the last runs found.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let (options, names): (Vec<_>, Vec<_>) = arguments.iter().partition(|word| word.starts_with('-'));
    let report = options == ["--report"];
    let known = |name: &&String| PARTS.iter().any(|part| part.name == name.as_str());
    if !(options.is_empty() || report) || !names.iter().all(known) {
        let all: Vec<_> = PARTS.iter().map(|part| part.name).collect();
        eprintln!("cargo xtask mutants: there are --report and the parts {}", all.join(", "));
        return ExitCode::from(2);
    }
    if !report && !has("mutants") {
        println!("skipped: needs cargo-mutants (cargo install --locked cargo-mutants)");
        return ExitCode::SUCCESS;
    }
    let chosen = |part: &&Part| names.is_empty() || names.iter().any(|name| *name == part.name);
    let mut outcomes = Vec::new();
    for part in PARTS.iter().filter(chosen) {
        let folder = folder(part);
        if report && !folder.exists() {
            println!("{}: was not run", part.name);
            continue;
        }
        if !report && !change(part, &folder) {
            eprintln!("cargo xtask mutants: {}: the tests fail without a change, or do not build", part.name);
            return ExitCode::FAILURE;
        }
        match Outcome::read(&folder) {
            Ok(outcome) => outcomes.push((part.name, outcome)),
            Err(problem) => {
                eprintln!("cargo xtask mutants: {problem}");
                return ExitCode::FAILURE;
            }
        }
    }
    match Survivors::read(&root().join("xtask/mutants/survivors.txt")) {
        Ok(survivors) => exit(judge(&outcomes, &survivors)),
        Err(problem) => {
            eprintln!("cargo xtask mutants: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn folder(part: &Part) -> PathBuf {
    root().join("target/mutants").join(part.name)
}

fn change(part: &Part, folder: &Path) -> bool {
    let mut command = cargo(&["mutants", "--package", part.package, "--no-shuffle"]);
    for files in part.without {
        command.args(["--exclude", files]);
    }
    // Only the tests beside the code: those of drivers and whole programs take longer to build than to think.
    command.arg("--cargo-arg=--lib").arg("--output").arg(folder).args(["--", "--"]).args(part.tests);
    // Without what a debugger wants, and with a model that is walked less deep.
    command.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_PROFILE_TEST_DEBUG", "0");
    command.env("EVERWIRE_MODEL_DEPTH", "4");
    // 2: some survive; 3: some tests never ended.
    succeeded_with(&mut command, &[0, 2, 3])
}

fn judge(outcomes: &[(&str, Outcome)], survivors: &Survivors) -> bool {
    let mut good = true;
    println!(
        "{:<16} {:>8} {:>8} {:>9} {:>9} {:>9}",
        "part", "mutants", "caught", "timeouts", "unviable", "survive"
    );
    for (name, outcome) in outcomes {
        let Outcome { caught, timeouts, unviable, missed } = outcome;
        let all = outcome.viable() + unviable;
        println!("{name:<16} {all:>8} {caught:>8} {timeouts:>9} {unviable:>9} {:>9}", missed.len());
    }
    let missed: Vec<_> = outcomes.iter().flat_map(|(_, outcome)| &outcome.missed).collect();
    for mutant in missed.iter().filter(|mutant| survivors.reason(mutant).is_none()) {
        println!("NOT CAUGHT, and not in survivors.txt: {mutant}");
        good = false;
    }
    let viable: usize = outcomes.iter().map(|(_, outcome)| outcome.viable()).sum();
    // In tenths of a percent.
    let share = missed.len() * 1_000 / viable.max(1);
    println!("{} of {viable} survive: {}.{} % (at most {MOST} % may)", missed.len(), share / 10, share % 10);
    good && missed.len() * 100 <= viable * MOST
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(caught: usize, missed: &[&str]) -> Outcome {
        let missed = missed.iter().map(|&mutant| mutant.to_owned()).collect();
        Outcome { caught, missed, ..Outcome::default() }
    }

    #[test]
    fn a_survivor_needs_its_reason_and_few_may_survive() {
        let survivors = Survivors::parse("a.rs: replace x -- it is equivalent\n").unwrap();
        let one = ["a.rs:7:1: replace x"];
        assert!(judge(&[("core", outcome(19, &one))], &survivors));
        assert!(!judge(&[("core", outcome(18, &one))], &survivors), "more than 5 %");
        assert!(!judge(&[("core", outcome(99, &["a.rs:7:1: replace y"]))], &survivors), "without a reason");
    }

    #[test]
    fn every_part_has_a_name_of_its_own() {
        for (index, part) in PARTS.iter().enumerate() {
            assert!(PARTS[..index].iter().all(|other| other.name != part.name), "{}", part.name);
        }
    }
}
