//! `cargo xtask soak`: a fleet of clients through a proxy that spoils their paths, for minutes.

use std::process::ExitCode;

use crate::cargo::{cargo, exit};

/// Runs the program of the examples in release, with the arguments as they are: `--minutes N`, `--clients N`,
/// `--seed N`. It ends by itself, a few minutes after the last fault at the latest.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let mut command =
        cargo(&["run", "--quiet", "--release", "--package", "everwire-examples", "--bin", "soak", "--"]);
    match command.args(arguments).status() {
        Ok(status) => exit(status.success()),
        Err(error) => {
            eprintln!("cargo xtask soak: cargo could not be started: {error}");
            ExitCode::FAILURE
        }
    }
}
