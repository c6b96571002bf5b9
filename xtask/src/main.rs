//! `cargo xtask`: the only way anything in this repository is orchestrated.
//!
//! Each command is a module with a function `run`, and one line in [`COMMANDS`]. Only the standard library is used,
//! so that this program is built in seconds on a machine that has nothing but Rust.
#![expect(clippy::print_stderr, clippy::print_stdout, reason = "a program speaks to its user")]

mod autobahn;
mod bench;
mod bugs;
mod cargo;
mod ci;
mod copy;
mod coverage;
mod demo;
mod fleet;
mod fuzz;
mod herd;
mod lint;
mod model;
mod mutants;
mod netns;
mod setup;
mod sim;
mod soak;
mod test;
mod tools;

use std::process::ExitCode;

/// One command of `cargo xtask`.
struct Command {
    name: &'static str,
    /// What it is for, on one line.
    help: &'static str,
    /// Gets what follows the name.
    run: fn(&[String]) -> ExitCode,
}

/// What there is, by what one comes for.
const COMMANDS: &[(&str, &[Command])] = &[
    (
        "See it",
        &[Command {
            name: "demo",
            help: "a video chat that survives six faults: --json, --seed N",
            run: demo::run,
        }],
    ),
    (
        "Before a change lands",
        &[
            Command {
                name: "test",
                help: "all tests of the workspace, and all examples in the documentation",
                run: test::run,
            },
            Command {
                name: "lint",
                help: "format, clippy, documentation, arrows, purity, file headers",
                run: lint::run,
            },
            Command {
                name: "ci",
                help: "lint, features, dependencies, sim, autobahn, netns, coverage, test: what has to hold",
                run: ci::run,
            },
            Command {
                name: "setup",
                help: "installs the system packages that some tests use (root; --list tells which)",
                run: setup::run,
            },
        ],
    ),
    (
        "Whether it is right",
        &[
            Command {
                name: "sim",
                help: "whole clients on virtual time, spoilt by seed: --seeds N, --seconds T, --seed S",
                run: sim::run,
            },
            Command {
                name: "model",
                help: "the cores together against everything that can happen, in every order: --depth N",
                run: model::run,
            },
            Command {
                name: "fuzz",
                help: "all fuzz targets on stable: --seconds N, --target NAME, --replay FILE, --keep (C++ compiler)",
                run: fuzz::run,
            },
            Command {
                name: "autobahn",
                help: "the Autobahn cases against engine and client, or those of PATTERNS (Python 3)",
                run: autobahn::run,
            },
            Command {
                name: "netns",
                help: "faults of a network, in namespaces: what is noticed, and when (root)",
                run: netns::run,
            },
            Command {
                name: "soak",
                help: "a fleet through a proxy that spoils, for minutes: --minutes N, --clients N, --seed N",
                run: soak::run,
            },
        ],
    ),
    (
        "Whether the tests would notice",
        &[
            Command {
                name: "coverage",
                help: "how many lines the tests reach, and which of the cores they do not: --report",
                run: coverage::run,
            },
            Command {
                name: "bugs",
                help: "puts bugs of the past back, one at a time: each must be caught by its test; [NAME...]",
                run: bugs::run,
            },
            Command {
                name: "mutants",
                help: "changes what decides, one expression at a time: a test must notice; --report, --open, [NAME...]",
                run: mutants::run,
            },
        ],
    ),
    (
        "What it costs",
        &[
            Command {
                name: "bench",
                help: "what it costs beside other clients: --rounds N, --filter NAME; --quick counts instructions",
                run: bench::run,
            },
            Command {
                name: "fleet",
                help: "thousands of live connections after a server's death: --clients N, --outage 20s",
                run: fleet::run,
            },
            Command {
                name: "herd",
                help: "fleets after an outage, beside other libraries: --clients N, --seed N, --svg DIR",
                run: herd::run,
            },
        ],
    ),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        print!("{}", list());
        return ExitCode::SUCCESS;
    };
    let Some(command) = commands().find(|command| command.name == name) else {
        eprintln!("cargo xtask: there is no {name}; `cargo xtask` alone lists what there is");
        return ExitCode::from(2);
    };
    (command.run)(rest)
}

fn commands() -> impl Iterator<Item = &'static Command> {
    COMMANDS.iter().flat_map(|(_, commands)| commands.iter())
}

/// All commands, group by group, in two columns.
fn list() -> String {
    let width = commands().map(|command| command.name.len()).max().unwrap_or_default();
    let group = |(title, commands): &(&str, &[Command])| {
        let line = |command: &Command| format!("  cargo xtask {:<width$}  {}\n", command.name, command.help);
        format!("{title}\n{}", commands.iter().map(line).collect::<String>())
    };
    COMMANDS.iter().map(group).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_name_of_its_own_and_one_line_of_help() {
        let all: Vec<_> = commands().collect();
        for (index, command) in all.iter().enumerate() {
            assert!(all[..index].iter().all(|other| other.name != command.name), "{}", command.name);
            assert!(!command.help.is_empty() && !command.help.contains('\n'), "{}", command.name);
        }
    }

    #[test]
    fn the_list_has_two_columns_and_fits_a_terminal() {
        let list = list();
        let lines: Vec<_> = list.lines().filter(|line| line.starts_with("  ")).collect();
        assert_eq!(lines.len(), commands().count());
        for (line, command) in lines.iter().zip(commands()) {
            assert_eq!(line.find(command.help), lines[0].find(commands().next().unwrap().help), "{line}");
            assert!(line.len() <= 120, "{line}");
        }
    }
}
