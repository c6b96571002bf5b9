//! `cargo xtask netns`: faults of a network, made on purpose in network namespaces: what the monitor says of
//! each, and what the whole client makes of it.
//!
//! Needs Linux, root and iproute2, and says so aloud where it has to skip. Nothing leaves the namespaces that
//! it makes, and it removes them when it ends, however it ends; those of a run that was killed go with the
//! next run.

mod judge;
mod lab;
mod matrix;
mod monitor;
mod trial;
mod watcher;

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

/// Runs the faults whose names contain all of `args`.
pub(crate) fn run(args: &[String]) -> ExitCode {
    if let Some(want) = wants() {
        println!("skipped: cargo xtask netns needs {want}");
        return ExitCode::SUCCESS;
    }
    let outcome = build().and_then(|programs| {
        lab::remove_leftovers()?;
        let failures = monitor::run(&programs.join("examples/watch_network"), args)?;
        Ok(failures + matrix::run(&programs, args)?)
    });
    match outcome {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failures) => {
            eprintln!("{failures} expectations did not hold");
            ExitCode::FAILURE
        }
        Err(problem) => {
            eprintln!("cargo xtask netns: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// What is missing to make namespaces here.
fn wants() -> Option<&'static str> {
    let runs = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !cfg!(target_os = "linux") || !Path::new("/proc/self/ns/net").exists() {
        return Some("Linux");
    }
    if !runs("ip", &["-Version"]) {
        return Some("iproute2 (the command `ip`)");
    }
    // A trial tells more than the user's id does: a container's root may not make namespaces.
    let trial = format!("{}trial", lab::prefix());
    if !runs("ip", &["netns", "add", &trial]) {
        return Some("root, with the right to make network namespaces");
    }
    runs("ip", &["netns", "delete", &trial]);
    None
}

/// Builds the programs that run in the namespaces, and tells in which folder they are.
fn build() -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    for (package, what) in [
        ("everwire-netmon", &["--example", "watch_network"][..]),
        ("everwire-examples", &["--bin", "watch", "--bin", "echo_server"]),
    ] {
        let mut command = Command::new(&cargo);
        command.args(["build", "--quiet", "--package", package]).args(what);
        let status = command.status().map_err(|error| format!("cargo does not run: {error}"))?;
        if !status.success() {
            return Err(format!("{} of {package} does not build", what.join(" ")));
        }
    }
    // This program stands in the profile's folder of the same target folder.
    let this = std::env::current_exe().map_err(|error| format!("where am I? {error}"))?;
    let folder = this.parent().ok_or("this program stands in no folder")?;
    Ok(folder.with_file_name("debug"))
}
