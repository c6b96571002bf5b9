//! `cargo xtask herd`: fleets that come back after an outage, on virtual time.

use std::process::{Command, ExitCode};

/// Runs the simulation of the recovery crate in release, with the arguments as they are: `--clients`, `--seed`,
/// `--svg`. It is an example of that crate, so that xtask itself depends on none of ours.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["run", "--quiet", "--release", "--package", "everwire-recovery", "--example", "herd", "--"])
        .args(arguments)
        .status();
    match status {
        Ok(status) => {
            status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
        }
        Err(error) => {
            eprintln!("cargo xtask herd: cargo could not be started: {error}");
            ExitCode::FAILURE
        }
    }
}
