//! The first example of the README is short enough to be read at a glance, and that of the examples names all of them.

#[test]
fn the_echo_client_of_the_readme_has_at_most_25_lines() {
    let readme = include_str!("../../README.md");
    let example = readme.split("```rust,no_run\n").nth(1).and_then(|rest| rest.split("```").next());
    let lines = example.expect("there is an example").lines().count();
    assert!((15..=25).contains(&lines), "{lines} lines");
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
