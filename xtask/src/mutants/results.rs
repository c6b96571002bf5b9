//! What became of each change, kept from run to run, so that a part can be run in parts.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use super::{list::Mutant, trial::Said};

/// What became of a change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// A test failed.
    Caught,
    /// The tests never ended, which is noticed too.
    Timeout,
    /// It does not compile, so there is nothing to notice.
    Unviable,
    /// No test noticed.
    Survived,
}

impl Verdict {
    const ALL: [Self; 4] = [Self::Caught, Self::Timeout, Self::Unviable, Self::Survived];

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Caught => "caught",
            Self::Timeout => "timeout",
            Self::Unviable => "unviable",
            Self::Survived => "survived",
        }
    }
}

impl From<Said> for Verdict {
    fn from(said: Said) -> Self {
        match said {
            Said::Nothing => Self::Survived,
            Said::Failed => Self::Caught,
            Said::NoEnd => Self::Timeout,
        }
    }
}

/// The verdicts of one part, by the names of the changes; `None` for one that was not run.
#[derive(Debug, Default)]
pub(super) struct Results(BTreeMap<String, Option<Verdict>>);

impl Results {
    /// What is known from before of these changes, and nothing of others.
    pub(super) fn new(mutants: &[Mutant], before: &Self) -> Self {
        let known = |mutant: &Mutant| before.0.get(&mutant.name).copied().flatten();
        Self(mutants.iter().map(|mutant| (mutant.name.clone(), known(mutant))).collect())
    }

    pub(super) fn note(&mut self, mutant: &Mutant, verdict: Verdict) {
        self.0.insert(mutant.name.clone(), Some(verdict));
    }

    pub(super) fn get(&self, mutant: &str) -> Option<Verdict> {
        self.0.get(mutant).copied().flatten()
    }

    pub(super) fn all(&self) -> usize {
        self.0.len()
    }

    pub(super) fn count(&self, verdict: Option<Verdict>) -> usize {
        self.0.values().filter(|known| **known == verdict).count()
    }

    pub(super) fn survivors(&self) -> impl Iterator<Item = &str> {
        self.of(Some(Verdict::Survived))
    }

    pub(super) fn of(&self, wanted: Option<Verdict>) -> impl Iterator<Item = &str> {
        let wanted = move |(_, verdict): &(_, &Option<Verdict>)| **verdict == wanted;
        self.0.iter().filter(wanted).map(|(name, _)| name.as_str())
    }

    /// Those that compile.
    pub(super) fn viable(&self) -> usize {
        [Verdict::Caught, Verdict::Timeout, Verdict::Survived]
            .map(|verdict| self.count(Some(verdict)))
            .iter()
            .sum()
    }

    /// Nothing where there is no such file.
    pub(super) fn read(path: &Path) -> Self {
        Self::parse(&fs::read_to_string(path).unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        let line = |line: &str| {
            let (word, name) = line.split_once('\t')?;
            Some((name.to_owned(), Verdict::ALL.into_iter().find(|verdict| verdict.word() == word)))
        };
        Self(text.lines().filter_map(line).collect())
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), String> {
        let problem = |error: std::io::Error| format!("{}: {error}", path.display());
        fs::create_dir_all(path.parent().unwrap_or(path)).map_err(problem)?;
        fs::write(path, self.text()).map_err(problem)
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (name, verdict) in &self.0 {
            let _ = writeln!(text, "{}\t{name}", verdict.map_or("not run", Verdict::word));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutants::list::Span;

    fn mutant(name: &str) -> Mutant {
        let span = Span { start: (1, 1), end: (1, 2) };
        let (name, file) = (name.to_owned(), "a.rs".to_owned());
        Mutant { name, file, function: None, span, replacement: String::new() }
    }

    #[test]
    fn what_was_found_before_stays_while_the_change_is_the_same() {
        let before = Results::parse("caught\ta\nsurvived\tb\nnot run\tc\n");
        let mut now = Results::new(&["a", "b", "d", "e"].map(mutant), &before);
        now.note(&mutant("d"), Verdict::Timeout);
        assert_eq!(now.text(), "caught\ta\nsurvived\tb\ntimeout\td\nnot run\te\n");
        assert_eq!((now.all(), now.viable(), now.count(None)), (4, 3, 1));
        assert_eq!(now.survivors().collect::<Vec<_>>(), ["b"]);
        assert_eq!(Results::parse(&now.text()).text(), now.text());
    }
}
