//! Dependencies among our own crates point one way only: recovery → client → engine and ping; recovery → netmon.
//!
//! Dependencies of tests may point elsewhere; nobody who uses a crate gets them.

use super::Finding;

/// What each member may depend on, of ours.
const ARROWS: [(&str, &[&str]); 7] = [
    ("engine", &[]),
    ("ping", &[]),
    ("netmon", &[]),
    ("client", &["everwire-engine", "everwire-ping"]),
    ("recovery", &["everwire-client", "everwire-netmon"]),
    // Where the boxes are assembled.
    (
        "examples",
        &["everwire-client", "everwire-engine", "everwire-netmon", "everwire-ping", "everwire-recovery"],
    ),
    ("xtask", &[]),
];

/// Members that depend on nothing at all.
const BARE: [&str; 2] = ["ping", "xtask"];

/// Checks the text of a member's `Cargo.toml`.
pub(super) fn check(member: &str, manifest: &str) -> Vec<Finding> {
    let place = format!("{member}/Cargo.toml");
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == member) else {
        return vec![Finding {
            place,
            what: "a member without arrows: tell what it may depend on".to_owned(),
        }];
    };
    let mut findings = Vec::new();
    for (number, line) in dependencies(manifest) {
        let place = format!("{place}:{number}");
        if BARE.contains(&member) {
            findings
                .push(Finding { place, what: format!("{member} has no dependencies, but here is `{line}`") });
            continue;
        }
        for name in ours(line) {
            if !allowed.contains(&name) {
                let what = format!("{member} must not depend on {name}: dependencies point one way only");
                findings.push(Finding { place: place.clone(), what });
            }
        }
    }
    findings
}

/// The lines that declare a dependency which users get, with their numbers.
fn dependencies(manifest: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut inside = false;
    manifest.lines().enumerate().filter_map(move |(index, line)| {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(section) = line.strip_prefix('[').filter(|_| !line.contains('=')) {
            let section = section.trim_end_matches(']');
            let section = section.rsplit_once("'.").map_or(section, |(_target, rest)| rest);
            let table = ["dependencies", "build-dependencies"].contains(&section);
            let one = section.starts_with("dependencies.") || section.starts_with("build-dependencies.");
            inside = table || one;
            return one.then_some((index + 1, line));
        }
        (inside && !line.is_empty()).then_some((index + 1, line))
    })
}

/// The names of our crates in a line, also where one is renamed.
fn ours(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').filter(|word| word.starts_with("everwire-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arrows_of_the_design_are_allowed() {
        let manifest =
            "[dependencies]\neverwire-engine.workspace = true\neverwire-ping = { workspace = true }\n";
        assert_eq!(check("client", manifest), []);
    }

    #[test]
    fn an_arrow_that_is_added_is_found() {
        for (member, line) in [
            ("client", "everwire-recovery.workspace = true"),
            ("engine", "everwire-ping = \"0.1\""),
            ("recovery", "everwire-engine = { workspace = true, optional = true }"),
            ("netmon", "links = { package = \"everwire-engine\", version = \"0.1\" }"),
        ] {
            for section in ["[dependencies]", "[build-dependencies]", "[target.'cfg(unix)'.dependencies]"] {
                let findings = check(member, &format!("[package]\nname = \"x\"\n\n{section}\n{line}\n"));
                assert_eq!(findings.len(), 1, "{member} {section} {line}");
                assert_eq!(findings[0].place, format!("{member}/Cargo.toml:5"));
            }
        }
        assert_eq!(check("engine", "[dependencies.everwire-client]\nversion = \"0.1\"\n").len(), 1);
    }

    #[test]
    fn dependencies_of_tests_and_names_of_features_are_no_arrows() {
        let manifest = "[features]\ntesting = [\"everwire-client/testing\"]\n\n[dependencies] # none of ours\n\
                        bytes = \"1\" # not everwire-client\n\n[dev-dependencies]\neverwire-client = \"0.1\"\n";
        assert_eq!(check("engine", manifest), []);
    }

    #[test]
    fn ping_depends_on_nothing() {
        assert_eq!(check("ping", "[dependencies]\n\n[lints]\nworkspace = true\n"), []);
        assert_eq!(check("ping", "[dependencies]\nbytes = \"1\"\n").len(), 1);
    }
}
