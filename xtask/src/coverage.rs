//! `cargo xtask coverage`: how many lines the tests reach, and which lines of the cores they do not.
//!
//! A figure and no gate. What decides is to be reached whole; a line that no test can reach stands, with its
//! reason, in `xtask/coverage-reasons.txt`. A reason that no line needs any more is an error.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::ExitCode,
};

use crate::{
    cargo::{exit, has, root, succeeds},
    lint::{self, Core},
    tools,
};

const LIBRARIES: [&str; 5] =
    ["everwire-engine", "everwire-client", "everwire-ping", "everwire-netmon", "everwire-recovery"];
const REPORT: &str = "target/coverage.lcov";
const REASONS: &str = "xtask/coverage-reasons.txt";

/// Runs the tests of the libraries with counters in their code, and reads the counters; with `--report` it tells what
/// the last run left.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let report = arguments == ["--report"];
    if !(report || arguments.is_empty()) {
        eprintln!("cargo xtask coverage: there is --report, and nothing else");
        return ExitCode::from(2);
    }
    let measured = if report { Ok(()) } else { measure() };
    match measured.and_then(|()| read()) {
        Ok(good) => exit(good),
        Err(Problem::Needs(what)) => {
            println!("skipped: needs {what}");
            ExitCode::SUCCESS
        }
        Err(Problem::Failed(what)) => {
            eprintln!("cargo xtask coverage: {what}");
            ExitCode::FAILURE
        }
    }
}

enum Problem {
    Needs(String),
    Failed(String),
}

fn measure() -> Result<(), Problem> {
    let llvm = tools::llvm().map_err(Problem::Needs)?;
    let runner = if has("nextest") { &["nextest", "--no-fail-fast"][..] } else { &["--no-fail-fast"] };
    let mut arguments = runner.to_vec();
    arguments.extend(["--all-features", "--lib", "--tests", "--lcov", "--output-path", REPORT]);
    for library in LIBRARIES {
        arguments.extend(["--package", library]);
    }
    let mut command = tools::LLVM_COV.call(&arguments).map_err(Problem::Needs)?;
    llvm.serve(&mut command).map_err(Problem::Failed)?;
    if !succeeds(&mut command) {
        return Err(Problem::Failed("a test failed, or its counters cannot be read".to_owned()));
    }
    Ok(())
}

/// Whether every reason is needed.
fn read() -> Result<bool, Problem> {
    let read = |path: &str| {
        fs::read_to_string(root().join(path)).map_err(|error| Problem::Failed(format!("{path}: {error}")))
    };
    let files = files(&read(REPORT)?, &root().display().to_string());
    let cores = lint::cores().map_err(|error| Problem::Failed(error.to_string()))?;
    tell(&files);
    let decided = Decided::of(&files, &cores, &reasons(&read(REASONS)?));
    decided.tell();
    Ok(decided.stale.is_empty())
}

/// How often each line of a file ran.
type Lines = BTreeMap<usize, u64>;

/// The files of a report in the form of lcov, by their paths in the repository.
fn files(lcov: &str, root: &str) -> BTreeMap<String, Lines> {
    let mut files: BTreeMap<String, Lines> = BTreeMap::new();
    let mut file = String::new();
    for line in lcov.lines() {
        if let Some(path) = line.strip_prefix("SF:") {
            path.strip_prefix(root).unwrap_or(path).trim_start_matches('/').clone_into(&mut file);
        } else if let Some((number, count)) = line.strip_prefix("DA:").and_then(|data| data.split_once(','))
            && let (Ok(number), Ok(count)) = (number.parse(), count.parse::<u64>())
        {
            *files.entry(file.clone()).or_default().entry(number).or_default() += count;
        }
    }
    files
}

/// A line that no test reaches, for a reason: `path | the line | the reason`.
fn reasons(text: &str) -> BTreeMap<(String, String), String> {
    let mut reasons = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut parts = line.splitn(3, " | ").map(str::trim);
        if let (Some(path), Some(code), Some(reason)) = (parts.next(), parts.next(), parts.next()) {
            reasons.insert((path.to_owned(), code.to_owned()), reason.to_owned());
        }
    }
    reasons
}

/// Reached and counted lines.
fn share<'a>(lines: impl Iterator<Item = &'a u64>) -> (usize, usize) {
    lines.fold((0, 0), |(reached, all), count| (reached + usize::from(*count > 0), all + 1))
}

fn percent((reached, all): (usize, usize)) -> String {
    let permille = (reached * 1000).checked_div(all).unwrap_or(1000);
    format!("{}.{} % of {all} lines", permille / 10, permille % 10)
}

fn tell(files: &BTreeMap<String, Lines>) {
    for member in ["engine", "client", "ping", "netmon", "recovery"] {
        let inside = files.iter().filter(|(path, _)| path.starts_with(&format!("{member}/src/")));
        println!("coverage: {member:<8} {}", percent(share(inside.flat_map(|(_, lines)| lines.values()))));
    }
}

/// How far the tests reach into what decides.
#[derive(Debug, Default, Eq, PartialEq)]
struct Decided {
    /// Reached and counted lines.
    total: (usize, usize),
    /// Not reached, for a reason.
    told: usize,
    /// Not reached, without one.
    open: Vec<String>,
    /// The reasons that no line needs: it is gone, or a test reaches it.
    stale: Vec<String>,
}

impl Decided {
    fn of(
        files: &BTreeMap<String, Lines>,
        cores: &[Core],
        reasons: &BTreeMap<(String, String), String>,
    ) -> Self {
        let mut decided = Self::default();
        let mut needless: BTreeSet<_> = reasons.keys().cloned().collect();
        for core in cores {
            let Some(lines) = files.get(&core.path) else { continue };
            for (number, code) in &core.lines {
                let Some(count) = lines.get(number) else { continue };
                decided.total.1 += 1;
                let line = (core.path.clone(), code.clone());
                if *count > 0 {
                    decided.total.0 += 1;
                } else if reasons.contains_key(&line) {
                    decided.told += 1;
                    needless.remove(&line);
                } else {
                    decided.open.push(format!("{}:{number}: {code}", core.path));
                }
            }
        }
        decided.stale = needless.into_iter().map(|(path, code)| format!("{path} | {code}")).collect();
        decided
    }

    fn tell(&self) {
        let Self { total, told, open, stale } = self;
        let (share, open_count) = (percent(*total), open.len());
        println!("coverage: cores    {share}; {told} not reached for a reason, {open_count} without");
        for line in open {
            println!("  {line}");
        }
        for reason in stale {
            println!("NOT NEEDED, in {REASONS}: {reason}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_file_by_file_and_counts_add_up() {
        let lcov = "SF:/r/a/src/b.rs\nDA:1,0\nDA:2,3\nend_of_record\nSF:/r/c.rs\nDA:1,1\nDA:1,2\n";
        let files = files(lcov, "/r");
        assert_eq!(files["a/src/b.rs"], Lines::from([(1, 0), (2, 3)]));
        assert_eq!(files["c.rs"][&1], 3);
        assert_eq!(share(files["a/src/b.rs"].values()), (1, 2));
    }

    #[test]
    fn a_share_is_told_with_one_digit() {
        assert_eq!(percent((2, 3)), "66.6 % of 3 lines");
        assert_eq!(percent((0, 0)), "100.0 % of 0 lines");
    }

    #[test]
    fn a_line_is_reached_or_has_a_reason_and_a_reason_has_a_line() {
        let line = |number, code: &str| (number, code.to_owned());
        let core = Core {
            path: "a.rs".to_owned(),
            lines: vec![line(1, "one"), line(2, "two"), line(3, "three"), line(4, "four"), line(5, "}")],
        };
        let files = BTreeMap::from([("a.rs".to_owned(), Lines::from([(1, 7), (2, 0), (3, 0), (4, 1)]))]);
        let reasons = reasons("a.rs | two | never\na.rs | four | no longer\na.rs | gone | no longer\n");
        let expected = Decided {
            total: (2, 4),
            told: 1,
            open: vec!["a.rs:3: three".to_owned()],
            stale: vec!["a.rs | four".to_owned(), "a.rs | gone".to_owned()],
        };
        assert_eq!(Decided::of(&files, &[core], &reasons), expected);
    }

    #[test]
    fn a_reason_belongs_to_a_line_of_a_file() {
        let reasons = reasons("# comment\nping/src/a.rs | _ => {} | the core never asks\n");
        let line = ("ping/src/a.rs".to_owned(), "_ => {}".to_owned());
        assert_eq!(reasons[&line], "the core never asks");
    }
}
