//! What can be changed, as cargo-mutants finds it.

use std::process::Stdio;

use super::json::Json;
use crate::copy::Copy;

/// One change of the code.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Mutant {
    /// `file:line:column: what`.
    pub(super) name: String,
    pub(super) file: String,
    /// The function that it is in, from its attributes to its closing brace.
    pub(super) function: Option<Function>,
    /// What is replaced.
    pub(super) span: Span,
    pub(super) replacement: String,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Function {
    pub(super) returns: String,
    pub(super) span: Span,
}

/// From the first place up to, and without, the last; lines and columns count from 1, columns in characters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Span {
    pub(super) start: (usize, usize),
    pub(super) end: (usize, usize),
}

/// The changes of a package.
pub(super) fn list(copy: &Copy, package: &str) -> Result<Vec<Mutant>, String> {
    let mut command = copy.cargo(&["mutants", "--list", "--json", "--package", package]);
    let output = command.stderr(Stdio::inherit()).output().map_err(|error| format!("cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo-mutants does not list what can be changed in {package}"));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let parsed = Json::parse(&text);
    let mutants = parsed.as_ref().and_then(Json::list).and_then(|list| list.iter().map(mutant).collect());
    mutants.ok_or_else(|| format!("the list of cargo-mutants for {package} is not understood"))
}

fn mutant(json: &Json) -> Option<Mutant> {
    let text = |name: &str| json.field(name)?.text().map(str::to_owned);
    let function = match json.field("function") {
        None | Some(Json::Null) => None,
        Some(function) => Some(Function {
            returns: function.field("return_type")?.text()?.to_owned(),
            span: span(function.field("span")?)?,
        }),
    };
    Some(Mutant {
        name: text("name")?,
        file: text("file")?,
        function,
        span: span(json.field("span")?)?,
        replacement: text("replacement")?,
    })
}

fn span(json: &Json) -> Option<Span> {
    let place = |name: &str| {
        let place = json.field(name)?;
        Some((place.field("line")?.number()?, place.field("column")?.number()?))
    };
    Some(Span { start: place("start")?, end: place("end")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_read_with_the_function_that_it_is_in() {
        let json = r#"{"name": "a.rs:2:5: replace < with > in f", "file": "a.rs", "replacement": ">",
            "function": {"function_name": "f", "return_type": "-> bool",
                "span": {"start": {"line": 1, "column": 1}, "end": {"line": 3, "column": 2}}},
            "span": {"start": {"line": 2, "column": 5}, "end": {"line": 2, "column": 6}}}"#;
        let mutant = mutant(&Json::parse(json).unwrap()).unwrap();
        let function = Function { returns: "-> bool".to_owned(), span: Span { start: (1, 1), end: (3, 2) } };
        assert_eq!(mutant.function, Some(function));
        assert_eq!(mutant.span, Span { start: (2, 5), end: (2, 6) });
        assert_eq!((mutant.file.as_str(), mutant.replacement.as_str()), ("a.rs", ">"));
    }
}
