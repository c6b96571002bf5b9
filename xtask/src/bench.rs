//! `cargo xtask bench`: what Everwire costs, beside bare sockets and other clients.

use std::process::{Command, ExitCode};

use crate::cargo::{exit, root, succeeds};

/// Builds the package of the benchmarks, which is a workspace of its own so that the other clients never enter our lock
/// file, and runs it with the arguments as they are.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let mut build = cargo(&["build", "--quiet", "--release"]);
    if !succeeds(&mut build) {
        return ExitCode::FAILURE;
    }
    let program = root().join("target/bench/release/everwire-bench");
    exit(succeeds(Command::new(program).args(arguments).current_dir(root())))
}

fn cargo(arguments: &[&str]) -> Command {
    let mut command = crate::cargo::cargo(arguments);
    command.args(["--manifest-path", "xtask/bench/Cargo.toml", "--target-dir", "target/bench"]);
    command
}
