//! `cargo xtask model`: the cores together against everything that can happen, in every order, up to a depth.

use std::process::ExitCode;

use crate::cargo::{cargo, exit, succeeds};

/// Some three million worlds, a third of them distinct: about a minute, most of it to build.
const DEPTH: u32 = 8;

/// Runs the model of the recovery crate in release. It is a test of that crate, so that the cores are seen from
/// inside and xtask itself depends on none of ours; an ordinary run of the tests goes less deep.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let depth = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Ok(DEPTH),
        ["--depth", depth] => depth.parse(),
        _ => "".parse(),
    };
    let Ok(depth) = depth else {
        eprintln!("cargo xtask model: there is --depth N, and nothing else");
        return ExitCode::from(2);
    };
    let mut test =
        cargo(&["test", "--release", "--package", "everwire-recovery", "--lib", "core::tests::model"]);
    test.args(["--", "--nocapture", "--test-threads", "1"]).env("EVERWIRE_MODEL_DEPTH", depth.to_string());
    exit(succeeds(&mut test))
}
