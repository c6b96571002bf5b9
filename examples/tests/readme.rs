//! The first example of the README is short enough to be read at a glance.

#[test]
fn the_echo_client_of_the_readme_has_at_most_25_lines() {
    let readme = include_str!("../../README.md");
    let example = readme.split("```rust,no_run\n").nth(1).and_then(|rest| rest.split("```").next());
    let lines = example.expect("there is an example").lines().count();
    assert!((15..=25).contains(&lines), "{lines} lines");
}
