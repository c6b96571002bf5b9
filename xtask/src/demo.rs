//! `cargo xtask demo`: the video chat that survives six faults. Options go to the program: `--json`, `--seed N`.

use std::process::{Command, ExitCode};

/// Builds and runs it.
pub(crate) fn run(options: &[String]) -> ExitCode {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let program = ["run", "--quiet", "-p", "everwire-examples", "--bin", "demo", "--"];
    match Command::new(cargo).args(program).args(options).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo xtask demo: cargo cannot be started: {error}");
            ExitCode::FAILURE
        }
    }
}
