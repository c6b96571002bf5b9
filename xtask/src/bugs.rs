//! `cargo xtask bugs`: puts bugs of the past back, one at a time, and expects the test that must catch each to
//! fail.
//!
//! A bug is a file `xtask/bugs/NN-name.patch`: a line `What:` that says what is wrong, a line `Test:` with the
//! package, the target and the test that must notice, and the change as a unified diff. It is applied to a copy
//! of the workspace under `target/bugs`, never to the workspace itself.

mod patch;

use std::{
    process::{Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use self::patch::Patch;
use crate::{
    cargo::root,
    copy::{self, Copy},
};

/// A test that a bug keeps from ending has noticed it.
const PATIENCE: Duration = Duration::from_secs(60);

/// What became of one bug.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    Caught,
    /// The test never ended.
    Hung,
    /// The test passed: it does not guard what it says.
    Missed,
    /// The code has moved on, and the patch with it must.
    DoesNotApply,
    DoesNotBuild,
}

impl Verdict {
    const fn words(self) -> &'static str {
        match self {
            Self::Caught => "caught",
            Self::Hung => "caught (the test never ends)",
            Self::Missed => "NOT CAUGHT",
            Self::DoesNotApply => "DOES NOT APPLY",
            Self::DoesNotBuild => "DOES NOT BUILD",
        }
    }

    const fn is_good(self) -> bool {
        matches!(self, Self::Caught | Self::Hung)
    }
}

/// Runs the bugs whose names contain one of the arguments, or all.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    match try_run(arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("cargo xtask bugs: {problem}");
            ExitCode::from(2)
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "tells how long it took; decides nothing")]
fn try_run(arguments: &[String]) -> Result<bool, String> {
    let mut patches = patch::read(&root().join("xtask/bugs"))?;
    patches.retain(|patch| {
        arguments.is_empty() || arguments.iter().any(|part| patch.name.contains(part.as_str()))
    });
    if patches.is_empty() {
        return Err("no bug has such a name".to_owned());
    }
    let start = Instant::now();
    let copy = Copy::refresh("bugs")?;
    check_that_tests_pass(&copy, &patches)?;

    let mut told = Vec::new();
    for patch in &patches {
        let verdict = put_back(&copy, patch)?;
        println!("{:<34} {}", patch.name, verdict.words());
        told.push((patch, verdict));
    }
    println!();
    for (patch, verdict) in told.iter().filter(|(_, verdict)| !verdict.is_good()) {
        println!("{}: {}: {} ({})", verdict.words(), patch.name, patch.what, patch.test);
    }
    let caught = told.iter().filter(|(_, verdict)| verdict.is_good()).count();
    println!("{caught} of {} bugs caught in {} s", told.len(), start.elapsed().as_secs());
    Ok(caught == told.len())
}

/// A test that fails without the bug proves nothing, and neither does one that is not there.
fn check_that_tests_pass(copy: &Copy, patches: &[Patch]) -> Result<(), String> {
    let mut targets: Vec<_> = patches.iter().map(|patch| (&patch.package, &patch.target)).collect();
    targets.sort();
    targets.dedup();
    for (package, target) in targets {
        let own = patches.iter().filter(|patch| (&patch.package, &patch.target) == (package, target));
        let tests: Vec<_> = own.map(|patch| patch.test.as_str()).collect();
        let output = test(copy, package, target)
            .arg("--")
            .args(&tests)
            .output()
            .map_err(|error| format!("cargo does not start: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            return Err(format!("the tests of {package} {target} fail without a bug:\n{text}{errors}"));
        }
        if let Some(test) = tests.iter().find(|test| !text.contains(*test)) {
            return Err(format!("{package} {target} has no test {test}"));
        }
    }
    Ok(())
}

fn put_back(copy: &Copy, patch: &Patch) -> Result<Verdict, String> {
    if !patch.apply(copy)? {
        return Ok(Verdict::DoesNotApply);
    }
    let verdict = judge(copy, patch);
    patch.take_back(copy)?;
    verdict
}

#[expect(clippy::disallowed_methods, reason = "a test that hangs has to be ended")]
fn judge(copy: &Copy, patch: &Patch) -> Result<Verdict, String> {
    let quiet = |command: &mut Command| {
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map_err(|error| format!("cargo does not start: {error}"))
    };
    let mut build = quiet(test(copy, &patch.package, &patch.target).arg("--no-run"))?;
    if !build.wait().is_ok_and(|status| status.success()) {
        return Ok(Verdict::DoesNotBuild);
    }
    let mut running = quiet(test(copy, &patch.package, &patch.target).args(["--", &patch.test]))?;
    let start = Instant::now();
    loop {
        match running.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(Verdict::Missed),
            Ok(Some(_)) => return Ok(Verdict::Caught),
            Ok(None) if start.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(50)),
            Ok(None) => {
                copy::end(&mut running);
                return Ok(Verdict::Hung);
            }
            Err(error) => return Err(format!("the test is lost: {error}")),
        }
    }
}

/// `cargo test` of one target in the copy.
fn test(copy: &Copy, package: &str, target: &str) -> Command {
    let mut command = copy.cargo(&["test", "--package", package]);
    command.args(target.split(' ')).env("EVERWIRE_MODEL_DEPTH", "5");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bug_that_a_test_noticed_is_good() {
        for (verdict, good) in [
            (Verdict::Caught, true),
            (Verdict::Hung, true),
            (Verdict::Missed, false),
            (Verdict::DoesNotApply, false),
            (Verdict::DoesNotBuild, false),
        ] {
            assert_eq!(verdict.is_good(), good, "{}", verdict.words());
        }
    }

    #[test]
    fn there_are_twenty_bugs_and_more_each_with_its_test() {
        let patches = patch::read(&root().join("xtask/bugs")).unwrap();
        assert!(patches.len() >= 20, "{} bugs", patches.len());
    }
}
