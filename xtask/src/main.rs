//! `cargo xtask`: the only way anything in this repository is orchestrated.
#![expect(clippy::print_stderr, clippy::print_stdout, reason = "a program speaks to its user")]

mod autobahn;
mod demo;
mod herd;
mod netns;

use std::process::ExitCode;

/// Name, one line of help, and what runs it.
type Task = (&'static str, &'static str, fn(&[String]) -> ExitCode);

const TASKS: &[Task] = &[
    ("demo", "a video chat that survives six faults: --json, --seed N", demo::run),
    ("herd", "fleets after an outage, beside other libraries: --clients N, --seed N, --svg DIR", herd::run),
    ("autobahn", "the Autobahn cases against our engine (Python 3; downloads the suite once)", autobahn::run),
    ("netns", "faults of a network, in namespaces: what is noticed, and when (root)", netns::run),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        for (name, help, _) in TASKS {
            println!("cargo xtask {name:<8} {help}");
        }
        return ExitCode::SUCCESS;
    };
    if let Some((.., run)) = TASKS.iter().find(|(task, ..)| task == name) {
        return run(rest);
    }
    eprintln!("cargo xtask: there is no {name}; `cargo xtask` alone lists what there is");
    ExitCode::from(2)
}
