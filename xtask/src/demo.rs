//! `cargo xtask demo`: the video chat that survives six faults. Options go to the program: `--json`, `--seed N`.

use std::process::ExitCode;

use crate::cargo::{cargo, exit};

/// Builds and runs it.
pub(crate) fn run(options: &[String]) -> ExitCode {
    let program = ["-p", "everwire-examples", "--bin", "demo"];
    // Cargo shows on standard error how far it is: the first time that is some minutes, and standard output is JSON.
    eprintln!("cargo xtask demo: builds first, and runs the chat then");
    let outcome = cargo(&["build"]).args(program).status().and_then(|built| {
        if built.success() {
            cargo(&["run", "--quiet"]).args(program).arg("--").args(options).status()
        } else {
            Ok(built)
        }
    });
    match outcome {
        Ok(status) => exit(status.success()),
        Err(error) => {
            eprintln!("cargo xtask demo: cargo cannot be started: {error}");
            ExitCode::FAILURE
        }
    }
}
