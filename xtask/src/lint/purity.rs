//! What decides is pure: it takes `now`, and knows neither a clock nor a runtime.

use super::{Finding, Source};

/// The files and folders that hold decisions.
const CORES: &[&str] = &[
    "client/src/auth/renewal.rs",
    "client/src/core",
    "client/src/decode",
    "client/src/health.rs",
    "client/src/reliable",
    "client/src/state.rs",
    "client/src/stream",
    "netmon/src/system/core.rs",
    "netmon/src/system/netlink.rs",
    "ping/src",
    "recovery/src/budget.rs",
    "recovery/src/core",
    "recovery/src/core.rs",
    "recovery/src/decision.rs",
    "recovery/src/endpoints.rs",
    "recovery/src/ladder.rs",
    "recovery/src/options.rs",
    "recovery/src/output.rs",
    "recovery/src/path.rs",
    "recovery/src/policy.rs",
    "recovery/src/retry_after.rs",
    "recovery/src/strategy",
];

/// What a core may not say, and why.
const FORBIDDEN: [(&str, &str); 5] = [
    ("tokio", "a core knows no runtime; the driver beside it does"),
    ("Instant::now", "a core is told the time as `now`"),
    ("SystemTime::now", "a core is told the wall clock"),
    (".elapsed()", "a core is told the time as `now`, and subtracts"),
    ("fastrand::", "a core draws from the seeded generator that it is given"),
];

pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for core in CORES {
        let mut files = sources.iter().filter(|source| is_within(&source.path, core)).peekable();
        if files.peek().is_none() {
            // A core that was moved would otherwise be pure without being looked at.
            let what = "a core that is not there: correct the list of cores".to_owned();
            findings.push(Finding { place: (*core).to_owned(), what });
        }
        findings.extend(files.flat_map(check_one));
    }
    findings
}

/// Whether a file is one of them, or is in one of their folders.
pub(super) fn is_core(source: &Source) -> bool {
    CORES.iter().any(|core| is_within(&source.path, core))
}

fn check_one(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in source.product_lines() {
        for (word, why) in FORBIDDEN {
            if line.contains(word) {
                let what = format!("`{word}` in a core: {why}");
                findings.push(Finding { place: source.place(number), what });
            }
        }
    }
    findings
}

fn is_within(path: &str, core: &str) -> bool {
    path.strip_prefix(core).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_that_reads_a_clock_or_names_tokio_is_found() {
        for line in [
            "let now = Instant::now();",
            "let now = std::time::SystemTime::now();",
            "use tokio::time::sleep;",
            "if since.elapsed() > limit {}",
            "let delay = fastrand::u64(..);",
        ] {
            let source =
                Source::new("ping/src/controller.rs", &format!("//! The core.\n\nfn f() {{\n{line}\n}}\n"));
            let findings = check_one(&source);
            assert_eq!(findings.len(), 1, "{line}");
            assert_eq!(findings[0].place, "ping/src/controller.rs:4");
        }
    }

    #[test]
    fn comments_texts_and_tests_may_name_them() {
        let text = "//! Knows no tokio.\n\nconst NAME: &str = \"tokio\"; // Instant::now\n\n\
                    #[cfg(test)]\nmod tests {\n    fn t0() -> Instant { Instant::now() }\n}\n";
        assert_eq!(check_one(&Source::new("ping/src/lib.rs", text)), []);
        assert_eq!(check_one(&Source::new("ping/src/tests.rs", "//! Tests.\nfn f() { Instant::now() }")), []);
    }

    #[test]
    fn a_core_that_was_moved_away_is_found() {
        assert_eq!(check(&[]).len(), CORES.len());
    }

    #[test]
    fn a_folder_is_not_its_neighbour_with_a_longer_name() {
        assert!(is_within("recovery/src/core/hints.rs", "recovery/src/core"));
        assert!(!is_within("recovery/src/core.rs", "recovery/src/core"));
        assert!(!is_within("recovery/src/corelike/a.rs", "recovery/src/core"));
    }
}
