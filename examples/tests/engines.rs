//! The engines that are not ours, as the examples show them: each program proves itself, and is run here.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "all of this is test code, also the helpers")]

use std::{path::PathBuf, process::Command};

/// Where cargo puts an example, which it builds with the tests of the whole package.
fn example(name: &str) -> Option<PathBuf> {
    let mut path = std::env::current_exe().unwrap();
    path.pop(); // from deps/this-test
    path.pop();
    let path = path.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    path.exists().then_some(path)
}

#[test]
fn each_example_of_an_engine_runs_to_its_end() {
    for name in ["closure_engine", "tower_adaptor", "second_engine"] {
        let Some(path) = example(name) else {
            eprintln!("skipped: needs the example {name} (cargo build -p everwire-examples --examples)");
            continue;
        };
        let output = Command::new(path).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{name}: {said}{}", String::from_utf8_lossy(&output.stderr));
        assert!(!said.is_empty(), "{name} shows something");
    }
}

#[test]
fn the_second_engine_runs_the_conformance_suite_in_less_than_150_lines() {
    let source = include_str!("../examples/second_engine.rs");
    assert!(source.lines().count() < 150);
    assert!(source.contains("conformance::check("));
}
