//! `cargo xtask netns`: faults of a network, made on purpose in network namespaces: what the monitor says of
//! each, and what the whole client makes of it.
//!
//! Needs Linux, root and iproute2, and says so aloud where it has to skip. Nothing leaves the namespaces that
//! it makes, and it removes them when it ends, however it ends. The rows run side by side and are printed in
//! their order; one that fails is tried again, alone, and is found by its name: `cargo xtask netns 'link down'`.

mod crew;
mod eyeballs;
mod guard;
mod judge;
mod lab;
mod lag;
mod matrix;
mod monitor;
mod trial;
mod watcher;

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

/// What runs in the namespaces, besides the monitor's own example.
const PROGRAMS: &[&str] = &[
    "--bin",
    "watch",
    "--bin",
    "echo_server",
    "--bin",
    "courier",
    "--bin",
    "courier_server",
    "--bin",
    "dual_stack",
];

/// How many rows are under way at a time: they wait more than they compute.
const SIDE_BY_SIDE: usize = 8;

/// Runs the rows whose names contain all of `args`.
pub(crate) fn run(args: &[String]) -> ExitCode {
    if let Some(want) = wants() {
        println!("skipped: cargo xtask netns needs {want}");
        return ExitCode::SUCCESS;
    }
    match measure(args) {
        Ok(failed) if failed.is_empty() => ExitCode::SUCCESS,
        Ok(failed) => {
            eprintln!("{} rows are not as they should be; each alone:", failed.len());
            for name in failed {
                eprintln!("    cargo xtask netns '{name}'");
            }
            ExitCode::FAILURE
        }
        Err(problem) => {
            eprintln!("cargo xtask netns: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the names of the rows that are not as they should be.
fn measure(wanted: &[String]) -> Result<Vec<String>, String> {
    let programs = build()?;
    lab::remove_leftovers()?;
    let guard = guard::Guard::start()?;
    lag::start();
    let mut rows = monitor::rows(&programs.join("examples/watch_network"));
    rows.extend(matrix::rows(&programs));
    rows.extend(eyeballs::rows(&programs));
    rows.retain(|row| wanted.iter().all(|part| row.name.contains(part.as_str())));
    if rows.is_empty() {
        return Err(format!("no row's name contains {}", wanted.join(" and ")));
    }
    let start = watcher::now();
    let failed = crew::run(&rows, SIDE_BY_SIDE, |line| println!("{line}"));
    drop(guard);
    println!("\n{} rows in {} s", rows.len(), start.elapsed().as_secs());
    Ok(failed)
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
    for (package, what) in
        [("everwire-netmon", &["--example", "watch_network"][..]), ("everwire-examples", PROGRAMS)]
    {
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
