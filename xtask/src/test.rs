//! `cargo xtask test`: all tests of the workspace with all features, then the examples in the documentation.
//!
//! Both are run even when the first fails; at the end stand the closing lines of the runners, as they wrote them.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Command, ExitCode, Stdio},
    thread,
};

use crate::cargo::{cargo, exit, has, shown};

const SCOPE: [&str; 3] = ["--workspace", "--all-features", "--no-fail-fast"];

/// Runs them; what follows the command goes to the runner of the tests, such as a part of a test's name.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let mut tests = if has("nextest") {
        cargo(&["nextest", "run"])
    } else {
        println!(
            "cargo-nextest is not installed: the tests run by `cargo test`, one program after the other"
        );
        // All but the documentation, which follows.
        cargo(&["test", "--all-targets"])
    };
    tests.args(SCOPE).args(arguments);
    let (tests_passed, mut closing) = told(&mut tests);

    let mut examples_passed = true;
    // Somebody who names a test wants that one.
    if arguments.is_empty() {
        let lines;
        (examples_passed, lines) = told(cargo(&["test", "--doc"]).args(SCOPE));
        closing.extend(lines);
    }

    println!();
    for line in closing {
        println!("{line}");
    }
    exit(tests_passed && examples_passed)
}

/// Runs a runner, shows all that it writes as it comes, and tells whether it succeeded and how it closed.
fn told(command: &mut Command) -> (bool, Vec<String>) {
    let name = shown(command);
    println!("$ {name}");
    let mut child = match command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => return (false, vec![format!("{name}: does not start: {error}")]),
    };
    let errors = child.stderr.take().map(|stderr| thread::spawn(|| pass_on(stderr, std::io::stderr())));
    let output = child.stdout.take().map(|stdout| pass_on(stdout, std::io::stdout())).unwrap_or_default();
    let errors = errors.and_then(|thread| thread.join().ok()).unwrap_or_default();
    let good = child.wait().is_ok_and(|status| status.success());
    let mut lines = closing_lines(&output);
    lines.extend(closing_lines(&errors));
    if !good {
        lines.push(format!("failed: {name}"));
    }
    (good, lines)
}

/// Copies line by line, and keeps them.
fn pass_on(from: impl Read, mut to: impl Write) -> Vec<String> {
    let mut kept = Vec::new();
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        // A terminal that is gone is no reason to stop the tests.
        let _ = to.write_all(&line);
        kept.push(String::from_utf8_lossy(&line).trim_end().to_owned());
        line.clear();
    }
    kept
}

/// The lines in which a runner sums up: nextest's summary with what follows it, or each result of `cargo test`
/// and cargo's list of what failed.
fn closing_lines(lines: &[String]) -> Vec<String> {
    if let Some(start) = lines.iter().position(|line| line.trim_start().starts_with("Summary [")) {
        return lines[start..].to_vec();
    }
    let results = lines.iter().filter(|line| line.starts_with("test result:"));
    let failed = lines.iter().skip_while(|line| !line.starts_with("error:"));
    results.chain(failed).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_summary_of_nextest_is_kept_with_the_failures_it_lists() {
        let text = "    PASS [0.1s] a b\n────\n     Summary [1.2s] 2 tests run: 1 passed, 1 failed\n    FAIL [0.1s] a c";
        let kept = closing_lines(&lines(text));
        assert_eq!(kept.len(), 2);
        assert!(kept[0].contains("1 failed") && kept[1].contains("FAIL"));
    }

    #[test]
    fn each_result_of_cargo_test_is_kept() {
        let text = "running 1 test\ntest a ... ok\ntest result: ok. 1 passed\nrunning 0 tests\ntest result: ok. 0 passed";
        assert_eq!(closing_lines(&lines(text)), ["test result: ok. 1 passed", "test result: ok. 0 passed"]);
    }

    #[test]
    fn what_cargo_says_of_a_failure_is_kept() {
        let kept = closing_lines(&lines("   Compiling a\nerror: 1 target failed:\n    `-p a --lib`"));
        assert_eq!(kept, ["error: 1 target failed:", "    `-p a --lib`"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_runner_that_fails_is_a_failure_and_is_named() {
        let (good, lines) = told(Command::new("sh").args(["-c", "echo 'error: 1 target failed'; exit 101"]));
        assert!(!good);
        assert_eq!(lines[0], "error: 1 target failed");
        assert!(lines[1].starts_with("failed: sh"));
    }
}
