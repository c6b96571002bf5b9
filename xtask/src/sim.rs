//! `cargo xtask sim`: whole clients on virtual time, over a simulated network that is spoilt by seed.

use std::process::ExitCode;

use crate::cargo::{cargo, exit};

/// Runs the simulation in release, with the arguments as they are: `--seeds N`, `--from S`, `--seconds T` or
/// `--seed S`. It is a package of its own, so that xtask itself depends on nothing.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let mut command = cargo(&["run", "--quiet", "--release", "--package", "everwire-sim", "--"]);
    match command.args(arguments).status() {
        Ok(status) => exit(status.success()),
        Err(error) => {
            eprintln!("cargo xtask sim: cargo could not be started: {error}");
            ExitCode::FAILURE
        }
    }
}
