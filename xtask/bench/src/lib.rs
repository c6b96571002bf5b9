//! What Everwire costs, beside bare sockets and other clients: `cargo xtask bench`.
//!
//! A *parent* walks through a plan of groups and rounds. For each sample it starts a *child*, pinned to one core, which
//! measures one contender at one task against a *server* on the other core, and prints what it measured. Contenders
//! alternate within a round, and only samples of one round are divided by each other, so that a machine that is slow
//! for a minute spoils no ratio. The server is raw TCP with frames made beforehand: no WebSocket library of any
//! contender is on the other side.
#![expect(clippy::print_stderr, clippy::print_stdout, reason = "a program speaks to its user")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod event;
mod measure;
mod options;
mod parent;
mod peers;
mod plan;
mod quick;
mod report;
mod server;
mod task;
mod wire;
mod work;

use std::process::ExitCode;

/// What both binaries do: they differ in their allocator alone.
pub fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let core = |core: &str| core.parse().unwrap_or(0);
    match arguments[..] {
        // What this program starts itself.
        ["server", on] => server::run(core(on)),
        ["sample", on, task] => match serde_json::from_str(task) {
            Ok(task) if work::run(core(on), &task) => ExitCode::SUCCESS,
            Ok(_) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("bench: no task: {error}");
                ExitCode::FAILURE
            }
        },
        ["instructions", workload, count] => quick::child(workload, count.parse().unwrap_or(0)),
        _ => options::run(),
    }
}
