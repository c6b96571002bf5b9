//! `cargo xtask mutants`: changes the cores and the code that decides, one expression at a time, and expects a
//! test to notice each change.
//!
//! What is changed stands in `.cargo/mutants.toml`, and cargo-mutants finds it. All changes of a package are built at
//! once, into a copy of the workspace under `target/mutants`, and run one after the other. A change that no test
//! notices must stand in `xtask/mutants/survivors.txt` with its reason, and at most 5 % may survive.

mod build;
mod json;
mod list;
mod results;
mod survivors;
mod trial;
mod weave;

use std::{path::PathBuf, process::ExitCode};

use self::{
    list::Mutant,
    results::{Results, Verdict},
    survivors::Survivors,
    trial::Trial,
};
use crate::{
    cargo::{exit, has, root},
    copy::Copy,
};

/// The most that may survive, in percent of those that could be tested.
const MOST: usize = 5;

/// One package, and the tests that guard it.
struct Part {
    name: &'static str,
    package: &'static str,
    folder: &'static str,
    features: &'static [&'static str],
    /// The quickest first: only what these do not notice is shown to the next.
    steps: &'static [Step],
}

/// A program of tests, and which of its tests.
struct Step {
    /// `None` for the tests beside the code.
    program: Option<&'static str>,
    filter: &'static [&'static str],
}

const fn beside(filter: &'static [&'static str]) -> Step {
    Step { program: None, filter }
}

const fn program(name: &'static str) -> Step {
    Step { program: Some(name), filter: &[] }
}

const PARTS: &[Part] = &[
    Part { name: "ping", package: "everwire-ping", folder: "ping", features: &[], steps: &[beside(&[])] },
    Part {
        name: "recovery",
        package: "everwire-recovery",
        folder: "recovery",
        features: &["--features", "backoff"],
        steps: &[
            beside(&["--skip", "tests::model", "--skip", "tests::random"]),
            program("client"),
            program("handler"),
            program("make_before_break"),
            beside(&["tests::model", "--skip", "the_model_finds"]),
            beside(&["tests::random"]),
        ],
    },
    Part {
        name: "client",
        package: "everwire-client",
        folder: "client",
        features: &["--features", "metrics"],
        steps: &[
            beside(&["core::"]),
            beside(&["reliable::"]),
            beside(&["send::", "--skip", "every_message_has_exactly"]),
            beside(&["--skip", "core::", "--skip", "reliable::", "--skip", "send::"]),
            program("driver"),
            program("make_before_break"),
            program("metrics"),
            beside(&["every_message_has_exactly"]),
        ],
    },
    Part {
        name: "netmon",
        package: "everwire-netmon",
        folder: "netmon",
        features: &[],
        steps: &[beside(&[])],
    },
    Part {
        name: "engine",
        package: "everwire-engine",
        folder: "engine",
        features: &["--features", "deflate"],
        steps: &[
            beside(&["frames::", "pipeline::head", "pipeline::happy_eyeballs"]),
            beside(&["--skip", "frames::"]),
            program("connector"),
            program("deflate"),
        ],
    },
];

/// What the command was asked for.
#[derive(Debug, Default, Eq, PartialEq)]
struct Wanted<'a> {
    /// Only to tell what is known.
    report: bool,
    /// Only those that survived before, or were never run.
    open: bool,
    /// Only those whose names contain one of these; all where there is none.
    parts_of_names: Vec<&'a str>,
}

impl<'a> Wanted<'a> {
    fn parse(arguments: &'a [String]) -> Result<Self, String> {
        let mut wanted = Self::default();
        for argument in arguments {
            match argument.as_str() {
                "--report" => wanted.report = true,
                "--open" => wanted.open = true,
                option if option.starts_with('-') => return Err(format!("there is no {option}")),
                part => wanted.parts_of_names.push(part),
            }
        }
        Ok(wanted)
    }

    fn wants(&self, mutant: &Mutant, before: &Results) -> bool {
        let named = self.parts_of_names.is_empty()
            || self.parts_of_names.iter().any(|part| mutant.name.contains(part));
        let known = before.get(&mutant.name);
        named && !(self.open && matches!(known, Some(Verdict::Caught | Verdict::Timeout | Verdict::Unviable)))
    }
}

/// Runs the changes whose names contain one of the arguments, such as `recovery/src/core.rs`, or all; with `--report`
/// it only tells what the last runs found, with `--open` it runs what survived or was not run.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let wanted = match Wanted::parse(arguments) {
        Ok(wanted) => wanted,
        Err(problem) => {
            eprintln!("cargo xtask mutants: {problem}; there are --report, --open and parts of names");
            return ExitCode::from(2);
        }
    };
    if !has("mutants") {
        println!("skipped: needs cargo-mutants (cargo install --locked cargo-mutants)");
        return ExitCode::SUCCESS;
    }
    match try_run(&wanted) {
        Ok(good) => exit(good),
        Err(problem) => {
            eprintln!("cargo xtask mutants: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn try_run(wanted: &Wanted<'_>) -> Result<bool, String> {
    let survivors = Survivors::read(&root().join("xtask/mutants/survivors.txt"))?;
    let copy = Copy::refresh("mutants")?;
    let mut all = Vec::new();
    for part in PARTS {
        let path = results_of(part);
        let mutants = list::list(&copy, part.package)?;
        let mut results = Results::new(&mutants, &Results::read(&path));
        let chosen = |mutant: &&Mutant| !wanted.report && wanted.wants(mutant, &results);
        let chosen: Vec<Mutant> = mutants.iter().filter(chosen).cloned().collect();
        if !chosen.is_empty() {
            println!("{}: {} changes", part.name, chosen.len());
            change(&copy, part, &chosen, &mut results)?;
        }
        all.push((part.name, results));
    }
    Ok(judge(&all, &survivors))
}

/// In the build's folder, so that they go when it goes.
fn results_of(part: &Part) -> PathBuf {
    root().join("target/mutants").join(part.name).with_extension("tsv")
}

fn change(copy: &Copy, part: &Part, mutants: &[Mutant], results: &mut Results) -> Result<(), String> {
    let path = results_of(part);
    let built = build::together(copy, part, mutants)?;
    let trial = Trial::new(part, built.programs)?;
    for (number, mutant) in (1..).zip(mutants) {
        if built.alone.contains(&number) {
            continue;
        }
        let verdict =
            if built.unviable.contains(&number) { Verdict::Unviable } else { trial.run(number)?.into() };
        note(results, mutant, verdict);
        results.write(&path)?;
    }
    for number in &built.alone {
        let mutant = &mutants[number - 1];
        let verdict = match build::alone(copy, part, Some(mutant))? {
            Some(programs) => trial.with(programs).run(*number)?.into(),
            None => Verdict::Unviable,
        };
        note(results, mutant, verdict);
        results.write(&path)?;
    }
    // What was noticed counts only where the tests still pass without a change.
    let Some(programs) = build::alone(copy, part, None)? else { return Ok(()) };
    Trial::new(part, programs).map(|_| ())
}

fn note(results: &mut Results, mutant: &Mutant, verdict: Verdict) {
    if verdict == Verdict::Survived {
        println!("survived: {}", mutant.name);
    }
    results.note(mutant, verdict);
}

fn judge(all: &[(&str, Results)], survivors: &Survivors) -> bool {
    let mut good = true;
    println!(
        "{:<10} {:>8} {:>8} {:>8} {:>9} {:>9} {:>9}",
        "part", "changes", "not run", "caught", "no end", "unviable", "survive"
    );
    for (name, results) in all {
        let of = |verdict| results.count(Some(verdict));
        println!(
            "{name:<10} {:>8} {:>8} {:>8} {:>9} {:>9} {:>9}",
            results.all(),
            results.count(None),
            of(Verdict::Caught),
            of(Verdict::Timeout),
            of(Verdict::Unviable),
            of(Verdict::Survived)
        );
    }
    let survived: Vec<_> = all.iter().flat_map(|(_, results)| results.survivors()).collect();
    for mutant in survived.iter().filter(|mutant| survivors.reason(mutant).is_none()) {
        println!("NOT CAUGHT, and not in survivors.txt: {mutant}");
        good = false;
    }
    // What was not run may need its entry.
    let open: Vec<_> =
        all.iter().flat_map(|(_, results)| results.of(None)).chain(survived.iter().copied()).collect();
    for entry in survivors.needless(&open) {
        println!("NOT NEEDED, in survivors.txt: {entry}");
        good = false;
    }
    let viable: usize = all.iter().map(|(_, results)| results.viable()).sum();
    // In tenths of a percent.
    let share = survived.len() * 1_000 / viable.max(1);
    println!(
        "{} of {viable} survive: {}.{} % (at most {MOST} % may)",
        survived.len(),
        share / 10,
        share % 10
    );
    good && survived.len() * 100 <= viable * MOST
}

#[cfg(test)]
mod tests {
    use super::{list::Span, *};

    fn mutant(name: &str) -> Mutant {
        let span = Span { start: (1, 1), end: (1, 2) };
        let (name, file) = (name.to_owned(), "a.rs".to_owned());
        Mutant { name, file, function: None, span, replacement: String::new() }
    }

    fn results(caught: usize, survived: &[&str]) -> Results {
        let mut results = Results::default();
        for number in 0..caught {
            results.note(&mutant(&format!("caught {number}")), Verdict::Caught);
        }
        for name in survived {
            results.note(&mutant(name), Verdict::Survived);
        }
        results
    }

    #[test]
    fn a_survivor_needs_its_reason_and_few_may_survive() {
        let survivors = Survivors::parse("a.rs: replace x -- it is equivalent\n").unwrap();
        let one = ["a.rs:7:1: replace x"];
        assert!(judge(&[("core", results(19, &one))], &survivors));
        assert!(!judge(&[("core", results(18, &one))], &survivors), "more than 5 %");
        assert!(!judge(&[("core", results(99, &["a.rs:7:1: replace y"]))], &survivors), "without a reason");
        assert!(!judge(&[("core", results(99, &[]))], &survivors), "a reason for nothing");
    }

    #[test]
    fn what_is_open_is_what_survived_or_was_not_run() {
        let before = results(1, &["b/c.rs: x"]);
        let arguments = ["--open".to_owned(), "b/".to_owned()];
        let open = Wanted::parse(&arguments).unwrap();
        assert!(open.wants(&mutant("b/c.rs: x"), &before) && open.wants(&mutant("b/new.rs: y"), &before));
        assert!(!open.wants(&mutant("a.rs: z"), &before), "of another name");
        assert!(!Wanted { open: true, ..Wanted::default() }.wants(&mutant("caught 0"), &before));
        assert!(Wanted::default().wants(&mutant("caught 0"), &before));
        Wanted::parse(&["--all".to_owned()]).unwrap_err();
    }

    #[test]
    fn every_part_has_a_name_of_its_own() {
        for (index, part) in PARTS.iter().enumerate() {
            assert!(PARTS[..index].iter().all(|other| other.name != part.name), "{}", part.name);
        }
    }
}
