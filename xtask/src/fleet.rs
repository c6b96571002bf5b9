//! `cargo xtask fleet`: thousands of live connections, and a server that is killed and started again.

use std::process::{Command, ExitCode};

use crate::cargo::{cargo, exit, root, succeeds};

/// Builds both programs in release and runs the fleet with the arguments as they are: `--clients`, `--outage`,
/// `--pace`. It is a program of the examples, so that xtask itself depends on none of ours.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    if !cfg!(target_os = "linux") {
        println!("skipped: cargo xtask fleet needs Linux, whose /proc tells memory and processor");
        return ExitCode::SUCCESS;
    }
    let package = ["build", "--quiet", "--release", "--package", "everwire-examples"];
    if !succeeds(cargo(&package).args(["--bin", "fleet", "--bin", "courier_server"])) {
        return ExitCode::FAILURE;
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into);
    exit(succeeds(Command::new(target.join("release/fleet")).args(arguments)))
}
