//! What holds for every file: a header, a length that a reader can hold, no `unsafe`, no print.

use super::{Finding, Source};

/// Lines before the tests. About 250 is the aim.
const MOST_LINES: usize = 400;

const PRINTS: [&str; 5] = ["println!", "eprintln!", "print!", "eprint!", "dbg!"];

pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !source.has_header() {
        let what = "opens without `//!`: say what the module is, and why".to_owned();
        findings.push(Finding { place: source.place(1), what });
    }
    let lines = source.product_lines().count();
    if lines > MOST_LINES {
        let what = format!("{lines} lines before the tests, {MOST_LINES} is the most: split it");
        findings.push(Finding { place: source.path.clone(), what });
    }
    for (number, line) in source.all_lines() {
        if words(line).any(|word| word == "unsafe") {
            findings
                .push(Finding { place: source.place(number), what: "`unsafe` is not used here".to_owned() });
        }
    }
    if !source.may_print() {
        for (number, line) in source.product_lines() {
            if let Some(print) = prints(line) {
                let what = format!("`{print}` outside examples and xtask: use tracing");
                findings.push(Finding { place: source.place(number), what });
            }
        }
    }
    findings
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_')
}

fn prints(line: &str) -> Option<&'static str> {
    PRINTS.into_iter().find(|print| {
        let mut before = line.match_indices(print).map(|(at, _)| line[..at].chars().next_back());
        // `eprint!` also ends with `print!`, and so does a macro of somebody's own.
        before.any(|before| !before.is_some_and(|c| c.is_alphanumeric() || c == '_'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        check(&Source::new(path, text)).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_file_without_a_header_is_found() {
        assert!(found("client/src/a.rs", "fn f() {}\n")[0].contains("//!"));
        assert!(found("client/src/a.rs", "// No module's header.\nfn f() {}\n")[0].contains("//!"));
        assert_eq!(found("client/src/a.rs", "//! A.\nfn f() {}\n").len(), 0);
        assert_eq!(found("client/src/lib.rs", "#![doc = include_str!(\"../README.md\")]\n").len(), 0);
    }

    #[test]
    fn a_file_that_is_too_long_is_found_and_its_tests_do_not_count() {
        let long = format!("//! A.\n{}", "fn f() {}\n".repeat(MOST_LINES));
        assert!(found("client/src/a.rs", &long)[0].contains("401 lines"));
        assert_eq!(found("client/src/tests.rs", &long).len(), 0);
        let tested = format!("//! A.\n#[cfg(test)]\nmod tests {{\n{}}}\n", "fn f() {}\n".repeat(MOST_LINES));
        assert_eq!(found("client/src/a.rs", &tested).len(), 0);
    }

    #[test]
    fn unsafe_code_is_found_also_in_tests() {
        let text = "//! Nothing unsafe here.\n#[cfg(test)]\nmod tests { fn f() { unsafe { g() } } }\n";
        assert_eq!(found("engine/src/a.rs", text), ["`unsafe` is not used here"]);
        assert_eq!(found("engine/src/a.rs", "//! A.\n#![forbid(unsafe_code)]\n").len(), 0);
    }

    #[test]
    fn a_print_is_found_outside_examples_and_xtask() {
        for print in PRINTS {
            let text = format!("//! A.\nfn f() {{ {print}(\"here\"); }}\n");
            let what = format!("`{print}` outside examples and xtask: use tracing");
            assert_eq!(found("netmon/src/a.rs", &text), [what]);
            for path in ["examples/src/a.rs", "xtask/src/a.rs", "netmon/examples/a.rs", "netmon/tests/a.rs"] {
                assert_eq!(found(path, &text).len(), 0, "{path}");
            }
        }
    }
}
