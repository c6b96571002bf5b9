//! What the README says that could be forgotten when it changes.

use everwire_client::{AttemptStage, Stage};

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

/// Which setter leads to which stage is what the stages themselves say.
#[test]
fn the_table_of_deadlines_is_that_of_the_stages() {
    let table = include_str!("../README.md").split("## Deadlines").nth(1).unwrap_or_default();
    let table = table.split("\n## ").next().unwrap_or_default();
    for stage in [
        AttemptStage::Credentials,
        AttemptStage::Request,
        AttemptStage::Dial,
        AttemptStage::Authentication,
        AttemptStage::HealthCheck,
    ] {
        let row = format!("| `{}` |", stage.setter().unwrap_or_default());
        let row = table.lines().find(|line| line.starts_with(&row)).unwrap_or_default();
        assert!(row.contains(&format!("`{stage:?}`")), "{stage:?} is not in the row of its setter: {row:?}");
    }
    assert!(table.contains("`Engine(…)`") && AttemptStage::Engine(Stage::Tls).setter().is_some());
}
