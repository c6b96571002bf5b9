//! `cargo xtask setup`: installs, on a system with apt, the programs that some tests run against.
//!
//! None is needed to build or to use Everwire. A test that wants one which is missing says aloud that it skips.

use std::process::{Command, ExitCode};

use crate::cargo::{exit, succeeds};

/// A package of the system, and what asks for it.
struct Package {
    name: &'static str,
    reason: &'static str,
}

const PACKAGES: &[Package] = &[
    Package {
        name: "iproute2",
        reason: "`ip`: network namespaces, for faults of a network (cargo xtask netns)",
    },
    Package { name: "haproxy", reason: "a front for TLS that is not ours, for the tests of the engine" },
    Package { name: "microsocks", reason: "a SOCKS5 proxy that is not ours, for the tests of the engine" },
    Package { name: "nginx", reason: "a front for TLS that is not ours, for the tests of the engine" },
    Package {
        name: "nftables",
        reason: "`nft`: loss of packets, where the kernel has no netem (cargo xtask netns)",
    },
    Package { name: "g++", reason: "a C++ compiler: the fuzzer is built with it (cargo xtask fuzz)" },
    Package { name: "python3-venv", reason: "the conformance cases of the protocol (cargo xtask autobahn)" },
    Package {
        name: "python3-websockets",
        reason: "a server that is not ours, for the tests of `watch` and of compression",
    },
    Package { name: "strace", reason: "counts the calls that read a socket (cargo xtask bench)" },
    Package { name: "valgrind", reason: "counts instructions (cargo xtask bench --quick)" },
    Package { name: "tinyproxy-bin", reason: "an HTTP proxy that is not ours, for the tests of the engine" },
];

pub(crate) fn run(arguments: &[String]) -> ExitCode {
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => install(),
        ["--list"] => {
            for package in PACKAGES {
                println!("{:<14} {}", package.name, package.reason);
            }
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("cargo xtask setup: there is --list, and nothing else");
            ExitCode::from(2)
        }
    }
}

fn install() -> ExitCode {
    let missing: Vec<_> =
        PACKAGES.iter().map(|package| package.name).filter(|name| !is_installed(name)).collect();
    if missing.is_empty() {
        println!("setup: everything is installed");
        return ExitCode::SUCCESS;
    }
    let mut command = Command::new("apt-get");
    command.args(["install", "--yes", "--no-install-recommends"]).args(missing);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    // The tests start these programs themselves, with their own configuration: no service is to run beside them.
    command.env("RUNLEVEL", "1");
    let good = succeeds(&mut command);
    if !good {
        eprintln!(
            "setup: apt-get did not install all; it wants root, a system with apt, and `apt-get update` first"
        );
    }
    exit(good)
}

/// Whether the system's package is installed; without dpkg, none is.
fn is_installed(name: &str) -> bool {
    let query =
        Command::new("dpkg-query").args(["--show", "--showformat", "${db:Status-Status}", name]).output();
    query.is_ok_and(|output| output.stdout == b"installed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_has_a_reason_and_stands_once() {
        for (index, package) in PACKAGES.iter().enumerate() {
            assert!(!package.reason.is_empty(), "{}", package.name);
            assert!(PACKAGES[..index].iter().all(|other| other.name != package.name), "{}", package.name);
        }
    }
}
