//! The first example of the README is short enough to be read at a glance, and that of the examples names all of them.

#[test]
fn the_echo_client_of_the_readme_has_at_most_25_lines() {
    let readme = include_str!("../../README.md");
    let example = readme.split("```rust,no_run\n").nth(1).and_then(|rest| rest.split("```").next());
    let lines = example.expect("there is an example").lines().count();
    assert!((15..=25).contains(&lines), "{lines} lines");
}

/// What a newcomer pastes has all crates that the example uses, and the Rust that they need is that of the manifest.
#[test]
fn the_readme_says_what_to_depend_on_and_which_rust_it_takes() {
    let readme = include_str!("../../README.md");
    let block = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block");
    let example = readme.split("```rust,no_run\n").nth(1).and_then(|rest| rest.split("```").next());
    let used = example.expect("there is an example").lines().filter_map(|line| line.strip_prefix("use "));
    for line in used {
        let name = line.split("::").next().unwrap_or_default().replace('_', "-");
        assert!(block.lines().any(|line| line.starts_with(&format!("{name} = "))), "{name} is missing");
    }
    let manifest = include_str!("../../Cargo.toml");
    let rust = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).expect("a version");
    for readme in [readme, include_str!("../../client/README.md")] {
        assert!(readme.contains(&format!("Rust {} or newer", rust.trim_matches('"'))), "{rust}");
    }
}

#[test]
fn the_readme_of_the_examples_names_every_program() {
    let readme = include_str!("../README.md");
    let table: String = readme.lines().filter(|line| line.starts_with("| `")).collect();
    for folder in ["src/bin", "examples"] {
        let programs =
            std::fs::read_dir(format!("{}/{folder}", env!("CARGO_MANIFEST_DIR"))).expect("a folder");
        for program in programs {
            let path = program.expect("an entry").path();
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            assert!(table.contains(&format!("`{name}`")), "{name} is missing");
        }
    }
}
