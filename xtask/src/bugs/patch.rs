//! A bug as a file.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use crate::{cargo::root, copy::Copy};

/// One bug.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Patch {
    pub(super) name: String,
    pub(super) what: String,
    pub(super) package: String,
    /// `--lib` or `--test NAME`.
    pub(super) target: String,
    pub(super) test: String,
    /// The whole file; what stands before the diff is no part of it.
    pub(super) text: String,
}

impl Patch {
    /// Puts the bug in. `false`: the patch does not fit any more.
    pub(super) fn apply(&self, copy: &Copy) -> Result<bool, String> {
        self.git_apply(copy, &[])
    }

    /// Takes the bug out again.
    pub(super) fn take_back(&self, copy: &Copy) -> Result<(), String> {
        if self.git_apply(copy, &["--reverse"])? {
            return Ok(());
        }
        Err(format!(
            "{} could not be taken back; remove {} and run again",
            self.name,
            copy.folder().display()
        ))
    }

    fn git_apply(&self, copy: &Copy, arguments: &[&str]) -> Result<bool, String> {
        let mut command = Command::new("git");
        command.arg("apply").args(arguments).arg("-").current_dir(copy.folder());
        // Within a repository git would look for the files in that one.
        command.env("GIT_CEILING_DIRECTORIES", root().join("target/bugs"));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|error| format!("git does not start: {error}"))?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(self.text.as_bytes()).map_err(|error| format!("{}: {error}", self.name))?;
        }
        let status = child.wait().map_err(|error| format!("git is lost: {error}"))?;
        Ok(status.success())
    }
}

/// All bugs of a folder, in the order of their names.
pub(super) fn read(folder: &Path) -> Result<Vec<Patch>, String> {
    let problem = |error| format!("{}: {error}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(problem)? {
        let path = entry.map_err(problem)?.path();
        if path.extension().is_some_and(|extension| extension == "patch") {
            files.push(path);
        }
    }
    files.sort();
    let parsed = |path: &std::path::PathBuf| {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        parse(&name, text)
    };
    files.iter().map(parsed).collect()
}

fn parse(name: &str, text: String) -> Result<Patch, String> {
    let field = |field: &str| {
        let line = text
            .lines()
            .take_while(|line| !line.starts_with("--- "))
            .find_map(|line| line.strip_prefix(field));
        line.map(|value| value.trim().to_owned())
            .ok_or_else(|| format!("{name}: the line `{field}` is missing"))
    };
    let (what, place) = (field("What:")?, field("Test:")?);
    let words: Vec<_> = place.split_whitespace().collect();
    let [package, target @ .., noticed_by] = &words[..] else {
        return Err(format!("{name}: `Test:` wants a package, a target and a test"));
    };
    if target.is_empty() {
        return Err(format!("{name}: `Test:` wants a target, such as --lib"));
    }
    let (package, target) = ((*package).to_owned(), target.join(" "));
    Ok(Patch { name: name.to_owned(), what, package, target, test: (*noticed_by).to_owned(), text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bug_says_what_it_is_and_who_must_notice() {
        let text = "What: it is wrong\nTest: a-crate --test driver rule_1\n\n--- a/x\n+++ b/x\n".to_owned();
        let patch = parse("01-wrong", text).unwrap();
        assert_eq!((patch.what.as_str(), patch.package.as_str()), ("it is wrong", "a-crate"));
        assert_eq!((patch.target.as_str(), patch.test.as_str()), ("--test driver", "rule_1"));
    }

    #[test]
    fn a_bug_without_a_test_is_refused() {
        for text in
            ["What: it\n", "Test: a --lib t\n", "What: it\nTest: a t\n", "--- a\nWhat: it\nTest: a --lib t\n"]
        {
            parse("01-wrong", text.to_owned()).unwrap_err();
        }
    }
}
