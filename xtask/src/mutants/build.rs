//! Builds the tests of a package with all its changes in it, and leaves out those that do not compile.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use super::{
    Part, Step,
    list::Mutant,
    weave::{self, CHOICE, Woven},
};
use crate::{cargo::root, copy::Copy};

/// What came of a build.
#[derive(Debug, Default)]
pub(super) struct Built {
    /// The programs of the tests, one for each step of the part.
    pub(super) programs: Vec<PathBuf>,
    /// The numbers of the changes that do not compile.
    pub(super) unviable: BTreeSet<usize>,
    /// The numbers of those that could not be built with the others.
    pub(super) alone: BTreeSet<usize>,
}

/// Builds all of them together. Their numbers are their places in the list, from 1.
pub(super) fn together(copy: &Copy, part: &Part, mutants: &[Mutant]) -> Result<Built, String> {
    let mut built = Built::default();
    let mut constant = BTreeSet::new();
    let choose = format!("{}/src/lib.rs", part.folder);
    copy.write(&choose, &(original(&choose)? + CHOICE))?;
    loop {
        let woven = weave_all(copy, part, mutants, &built.unviable, &constant)?;
        built.alone = woven.values().flat_map(|file| file.alone.iter().copied()).collect();
        let errors = match compile(copy, part)? {
            Ok(programs) => {
                built.programs = programs;
                return Ok(built);
            }
            Err(errors) => errors,
        };
        let mut learnt = false;
        for error in errors.lines().filter_map(Complaint::parse) {
            let body = woven.get(error.file).and_then(|file| {
                file.bodies.iter().find(|(lines, _)| lines.contains(&error.line)).map(|(_, number)| *number)
            });
            learnt |= match (body, error.constant()) {
                (_, Some(function)) => constant.insert(function),
                (Some(number), None) => built.unviable.insert(number),
                (None, None) => false,
            };
        }
        if !learnt {
            return Err(format!("{} does not build:\n{errors}", part.name));
        }
    }
}

/// Builds the package with this change alone, or with none. `None`: it does not compile.
pub(super) fn alone(
    copy: &Copy,
    part: &Part,
    mutant: Option<&Mutant>,
) -> Result<Option<Vec<PathBuf>>, String> {
    for file in part_files(part)? {
        let source = original(&file)?;
        match mutant {
            Some(mutant) if mutant.file == file => copy.write(&file, &weave::replace(&source, mutant))?,
            _ => copy.write(&file, &source)?,
        }
    }
    match (compile(copy, part)?, mutant) {
        (Ok(programs), _) => Ok(Some(programs)),
        (Err(_), Some(_)) => Ok(None),
        (Err(errors), None) => Err(format!("{} does not build:\n{errors}", part.name)),
    }
}

fn weave_all(
    copy: &Copy,
    part: &Part,
    mutants: &[Mutant],
    unviable: &BTreeSet<usize>,
    constant: &BTreeSet<String>,
) -> Result<BTreeMap<String, Woven>, String> {
    let mut all = BTreeMap::new();
    for file in part_files(part)? {
        let numbered = mutants.iter().enumerate().map(|(index, mutant)| (index + 1, mutant));
        let own: Vec<_> =
            numbered.filter(|(number, mutant)| mutant.file == file && !unviable.contains(number)).collect();
        let woven = weave::weave(&original(&file)?, &own, constant);
        if file != format!("{}/src/lib.rs", part.folder) {
            copy.write(&file, &woven.text)?;
        }
        all.insert(file, woven);
    }
    Ok(all)
}

/// All sources of the part's package: any may use in a constant what is none while changes are in it.
fn part_files(part: &Part) -> Result<Vec<String>, String> {
    let mut folders = vec![root().join(part.folder).join("src")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        let problem = |error| format!("{}: {error}", folder.display());
        for entry in fs::read_dir(&folder).map_err(problem)? {
            let path = entry.map_err(problem)?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap_or(&path);
                files.push(name.display().to_string().replace('\\', "/"));
            }
        }
    }
    Ok(files)
}

fn original(file: &str) -> Result<String, String> {
    fs::read_to_string(root().join(file)).map_err(|error| format!("{file}: {error}"))
}

/// The programs of the tests, or what the compiler has to say.
fn compile(copy: &Copy, part: &Part) -> Result<Result<Vec<PathBuf>, String>, String> {
    let mut command = copy.cargo(&["test", "--no-run", "--message-format", "short"]);
    command.args(["--package", part.package, "--lib"]);
    let programs: BTreeSet<_> = part.steps.iter().filter_map(|step| step.program).collect();
    for program in programs {
        command.args(["--test", program]);
    }
    command.args(part.features);
    // Without what a debugger wants; the same for all packages would only build them again.
    command.arg("--config").arg(format!("profile.dev.package.{}.debug=false", part.package));
    command.env("CARGO_TERM_COLOR", "never");
    let output = command.output().map_err(|error| format!("cargo does not start: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return Ok(Err(text.lines().filter(|line| line.contains("error")).collect::<Vec<_>>().join("\n")));
    }
    // `Executable unittests src/lib.rs (/build/debug/deps/everwire_ping-1234)`
    let program = |step: &Step| {
        let source = step.program.map_or_else(|| " src/lib.rs ".to_owned(), |name| format!(" tests/{name}"));
        let line = text.lines().find(|line| line.contains("Executable") && line.contains(&source))?;
        Some(PathBuf::from(line.rsplit_once('(')?.1.trim_end_matches(')')))
    };
    let programs: Option<Vec<_>> = part.steps.iter().map(program).collect();
    programs.map(Ok).ok_or_else(|| format!("{}: cargo does not say where the tests are", part.name))
}

/// An error of the compiler: `file:line:column: error…`.
#[derive(Debug, Eq, PartialEq)]
struct Complaint<'a> {
    file: &'a str,
    line: usize,
    text: &'a str,
}

impl<'a> Complaint<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut parts = line.splitn(4, ':');
        let (file, line) = (parts.next()?, parts.next()?.parse().ok()?);
        let _column: usize = parts.next()?.parse().ok()?;
        let text = parts.next()?.trim_start();
        text.starts_with("error").then_some(Self { file, line, text })
    }

    /// The function that has to stay constant.
    fn constant(&self) -> Option<String> {
        let path = self.text.split_once("cannot call non-const")?.1.split('`').nth(1)?;
        let mut depth = 0;
        let mut without_types = String::new();
        for c in path.chars() {
            depth += usize::from(c == '<');
            if depth == 0 {
                without_types.push(c);
            }
            depth -= usize::from(c == '>' && depth > 0);
        }
        without_types.split("::").filter(|name| !name.is_empty()).last().map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_compiler_is_read() {
        let line = "ping/src/a.rs:12:5: error[E0308]: mismatched types: expected `u8`, found `()`";
        let error = Complaint::parse(line).unwrap();
        assert_eq!((error.file, error.line, error.constant()), ("ping/src/a.rs", 12, None));
        for other in ["ping/src/a.rs:12:5: warning: unused", "error: could not compile `a`", ""] {
            assert_eq!(Complaint::parse(other), None, "{other}");
        }
    }

    #[test]
    fn what_has_to_stay_constant_is_read() {
        for (path, name) in [("Code::<u8>::new", "new"), ("sure::<a::B>", "sure"), ("<A as b::C>::d", "d")] {
            let line =
                format!("a.rs:1:1: error[E0015]: cannot call non-const function `{path}` in constants");
            assert_eq!(Complaint::parse(&line).unwrap().constant().as_deref(), Some(name));
        }
    }
}
