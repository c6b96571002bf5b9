//! How many crates come with client and engine, TLS included, as `cargo tree` shows them.

use std::{collections::BTreeSet, path::Path, process::Command};

use super::Row;
use crate::{plan::Unit, report::table};

const MOST: usize = 60;

pub(super) fn row() -> Row {
    let count = count();
    Row {
        name: "dependencies of client and engine with TLS".to_owned(),
        goal: Some(format!("≤ {MOST}")),
        value: count.map_or(f64::NAN, |count| count as f64),
        unit: table::unit(Unit::Crates),
        met: count.map(|count| count <= MOST),
        noisy: None,
        ours: f64::NAN,
        theirs: None,
        per_second: None,
    }
}

/// All crates that a user builds, ours among them.
fn count() -> Option<usize> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["tree", "--package", "everwire-client", "--package", "everwire-engine"])
        .args(["--edges", "normal", "--prefix", "none", "--no-dedupe", "--format", "{p}", "--manifest-path"])
        .arg(root)
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let crates: BTreeSet<(&str, &str)> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?, words.next()?))
        })
        .collect();
    Some(crates.len()).filter(|count| *count > 0)
}
