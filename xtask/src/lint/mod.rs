//! `cargo xtask lint`: what the compiler's own tools check, and what only this repository knows.
//!
//! Our own checks come first, since they take no time; all are made, also after one that failed.

mod arrows;
mod files;
mod purity;
mod rules;
mod source;

use std::{fs, io, path::Path, process::ExitCode};

use crate::cargo::{cargo, exit, root, succeeds};
use source::Source;

/// Something to repair, and where.
#[derive(Debug, Eq, PartialEq)]
struct Finding {
    /// The file's path in the repository, with its line where there is one.
    place: String,
    what: String,
}

/// The folders that hold the members of the workspace.
const MEMBERS: [&str; 7] = ["engine", "client", "ping", "recovery", "netmon", "examples", "xtask"];

pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let own_alone = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--own"] => true,
        _ => {
            eprintln!("cargo xtask lint: there is --own (our own checks alone), and nothing else");
            return ExitCode::from(2);
        }
    };
    let mut good = own();
    if !own_alone {
        good &= succeeds(&mut cargo(&["fmt", "--all", "--check"]));
        let clippy = ["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];
        good &= succeeds(&mut cargo(&clippy));
        let doc = ["doc", "--workspace", "--all-features", "--no-deps", "--document-private-items"];
        good &= succeeds(cargo(&doc).env("RUSTDOCFLAGS", "-Dwarnings"));
    }
    exit(good)
}

/// Our own checks: arrows, purity, files, rules.
fn own() -> bool {
    let findings = match check(&root()) {
        Ok(findings) => findings,
        Err(error) => {
            eprintln!("lint: the repository cannot be read: {error}");
            return false;
        }
    };
    for finding in &findings {
        eprintln!("{}: {}", finding.place, finding.what);
    }
    println!("arrows, purity, files and rules: {} to repair", findings.len());
    findings.is_empty()
}

/// A file that decides, without its tests.
pub(crate) struct Core {
    /// From the root of the repository, with slashes.
    pub(crate) path: String,
    /// Its lines, with their numbers.
    pub(crate) lines: Vec<(usize, String)>,
}

/// All files that decide.
pub(crate) fn cores() -> io::Result<Vec<Core>> {
    let mut sources = Vec::new();
    for member in MEMBERS {
        source::read(&root(), &root().join(member), &mut sources)?;
    }
    let core = |source: &Source| Core {
        path: source.path.clone(),
        lines: source.product_text().map(|(number, line)| (number, line.trim().to_owned())).collect(),
    };
    Ok(sources.iter().filter(|source| purity::is_core(source)).map(core).collect())
}

fn check(root: &Path) -> io::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let mut sources = Vec::new();
    for member in MEMBERS {
        let manifest = fs::read_to_string(root.join(member).join("Cargo.toml"))?;
        findings.extend(arrows::check(member, &manifest));
        source::read(root, &root.join(member), &mut sources)?;
    }
    findings.extend(sources.iter().flat_map(files::check));
    findings.extend(purity::check(&sources));
    let tests = sources.iter().flat_map(|source| rules::tests(source.code())).collect();
    findings.extend(rules::check(&fs::read_to_string(root.join("docs/rules.md"))?, &tests));
    Ok(findings)
}
