//! What the README says that could be forgotten when it changes.

/// Every feature that a user may switch on is explained, and no other.
#[test]
fn the_table_of_features_is_that_of_the_manifest() {
    let manifest = include_str!("../Cargo.toml");
    let section =
        manifest.split("[features]").nth(1).unwrap_or_default().split("\n\n").next().unwrap_or_default();
    let lines = section.lines().filter(|line| !line.starts_with('#'));
    let known: Vec<_> = lines.filter_map(|line| Some(line.split_once(" = ")?.0)).collect();
    let mut known: Vec<_> = known.into_iter().filter(|&name| !matches!(name, "default" | "model")).collect();
    let table = include_str!("../README.md").split("## Features").nth(1).unwrap_or_default();
    let mut told: Vec<_> =
        table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    known.sort_unstable();
    told.sort_unstable();
    assert_eq!(told, known);
    assert!(!known.is_empty());
}
