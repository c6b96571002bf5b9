//! The changes that no test notices, each with the reason why none has to.

use std::{fs, path::Path};

/// The list. A line is `file: change -- reason`; the place within the file is left out, since it moves.
#[derive(Debug)]
pub(super) struct Survivors(Vec<(String, String)>);

impl Survivors {
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Self::parse(&text)
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
        let parse = |line: &str| match line.split_once(" -- ") {
            Some((change, reason)) if !reason.trim().is_empty() => {
                Ok((change.trim().to_owned(), reason.trim().to_owned()))
            }
            _ => Err(format!("a survivor without a reason: {line}")),
        };
        lines.map(parse).collect::<Result<_, _>>().map(Self)
    }

    /// The entries that none of these mutants needs.
    pub(super) fn needless<'a>(&'a self, open: &[&str]) -> Vec<&'a str> {
        let open: Vec<_> = open.iter().map(|mutant| without_place(mutant)).collect();
        self.0
            .iter()
            .map(|(change, _)| change.as_str())
            .filter(|change| !open.iter().any(|o| o == change))
            .collect()
    }

    /// Why this one may survive.
    pub(super) fn reason(&self, mutant: &str) -> Option<&str> {
        let change = without_place(mutant);
        self.0.iter().find(|(known, _)| *known == change).map(|(_, reason)| reason.as_str())
    }
}

/// `a.rs:7:1: replace x` without line and column.
fn without_place(mutant: &str) -> String {
    let mut parts = mutant.splitn(4, ':');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(file), Some(_), Some(_), Some(change)) => format!("{file}:{change}"),
        _ => mutant.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_survivor_is_known_wherever_it_stands_in_its_file() {
        let survivors = Survivors::parse("# why\n\na.rs: replace + with - in f -- no difference\n").unwrap();
        for place in ["a.rs:7:1", "a.rs:99:12"] {
            assert_eq!(survivors.reason(&format!("{place}: replace + with - in f")), Some("no difference"));
        }
        assert_eq!(survivors.reason("b.rs:7:1: replace + with - in f"), None);
    }

    #[test]
    fn an_entry_that_nothing_needs_is_found() {
        let survivors = Survivors::parse("a.rs: replace x -- so\na.rs: replace y -- so\n").unwrap();
        assert_eq!(survivors.needless(&["a.rs:7:1: replace y", "b.rs:7:1: replace x"]), ["a.rs: replace x"]);
    }

    #[test]
    fn a_survivor_without_a_reason_is_refused() {
        for line in ["a.rs: replace x", "a.rs: replace x -- "] {
            Survivors::parse(line).unwrap_err();
        }
    }
}
