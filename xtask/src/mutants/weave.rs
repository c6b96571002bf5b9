//! One text with all changes of a file in it: a function has a body for each of its changes beside its own, and the
//! environment chooses. So all of them are built at once, and each costs no more than its tests.

use std::{collections::BTreeSet, fmt::Write, ops::Range};

use super::list::{Mutant, Span};

/// What chooses a body; it stands in the root of the crate.
pub(super) const CHOICE: &str = "
/// Which of the changed bodies is to run.
pub(crate) fn chosen_mutant() -> usize {
    static CHOSEN: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *CHOSEN.get_or_init(|| std::env::var(\"MUTANT\").ok().and_then(|chosen| chosen.parse().ok()).unwrap_or(0))
}
";

/// A file with its changes.
#[derive(Debug, Default)]
pub(super) struct Woven {
    pub(super) text: String,
    /// The lines of each changed body, and its number.
    pub(super) bodies: Vec<(Range<usize>, usize)>,
    /// The numbers of those that have to be built alone.
    pub(super) alone: Vec<usize>,
}

/// The body of a function, and what is changed in it.
type Group<'a> = (Range<usize>, Vec<(usize, &'a Mutant)>);

/// `mutants` are those of the file, with their numbers. `constant` are the functions that have to stay `const`; the
/// others cease to be, since a constant knows no environment.
pub(super) fn weave(source: &str, mutants: &[(usize, &Mutant)], constant: &BTreeSet<String>) -> Woven {
    let mut woven = Woven::default();
    let text = without_const(source, constant);
    let mut groups: Vec<Group<'_>> = Vec::new();
    for &(number, mutant) in mutants {
        match outermost(mutant, mutants).and_then(|span| body(&text, span)) {
            Some(body) if can_be_woven(&text, mutant, &body) => {
                match groups.iter_mut().find(|(known, _)| *known == body) {
                    Some((_, group)) => group.push((number, mutant)),
                    None => groups.push((body, vec![(number, mutant)])),
                }
            }
            _ => woven.alone.push(number),
        }
    }
    groups.sort_by_key(|(body, _)| body.start);
    let mut done = 0;
    for (body, group) in groups {
        woven.text.push_str(&text[done..body.start]);
        woven.text.push_str(" match crate::chosen_mutant() {\n");
        for (number, mutant) in group {
            let first = line_after(&woven.text);
            let span = bytes(&text, mutant.span);
            let (before, after) = (&text[body.start..span.start], &text[span.end..body.end]);
            let _ = write!(woven.text, "{number} => {{{before}{}{after}\n}}\n", mutant.replacement);
            woven.bodies.push((first..line_after(&woven.text), number));
        }
        let _ = write!(woven.text, "_ => {{{}\n}}\n}} ", &text[body.clone()]);
        done = body.end;
    }
    woven.text.push_str(&text[done..]);
    woven
}

/// The file with this change alone.
pub(super) fn replace(source: &str, mutant: &Mutant) -> String {
    let span = bytes(source, mutant.span);
    format!("{}{}{}", &source[..span.start], mutant.replacement, &source[span.end..])
}

/// Bodies of different functions must not overlap, so that of a function within another is part of the outer one's.
fn outermost(mutant: &Mutant, mutants: &[(usize, &Mutant)]) -> Option<Span> {
    let own = mutant.function.as_ref()?.span;
    let functions = mutants.iter().filter_map(|(_, other)| other.function.as_ref()).map(|other| other.span);
    functions.filter(|other| other.start <= own.start && own.end <= other.end).min_by_key(|span| span.start)
}

/// One type may hide behind `impl`, and each body would have its own.
fn can_be_woven(text: &str, mutant: &Mutant, body: &Range<usize>) -> bool {
    let span = bytes(text, mutant.span);
    let hidden = mutant.function.as_ref().is_some_and(|function| function.returns.contains("impl "));
    let head = text[..body.start].rsplit(['}', ';']).next().unwrap_or_default();
    !hidden && !head.contains("const fn ") && body.start <= span.start && span.end <= body.end
}

/// The same text, character for character, without `const` before functions.
fn without_const(source: &str, constant: &BTreeSet<String>) -> String {
    let mut text = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("const fn ") {
        let name = &rest[at + "const fn ".len()..];
        let name = &name[..name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len())];
        text.push_str(&rest[..at]);
        text.push_str(if constant.contains(name) { "const fn " } else { "      fn " });
        rest = &rest[at + "const fn ".len()..];
    }
    text + rest
}

/// What is between the braces of a function.
fn body(text: &str, function: Span) -> Option<Range<usize>> {
    let function = bytes(text, function);
    let mut at = function.start;
    while at < function.end {
        let rest = &text[at..function.end];
        if rest.starts_with("//") {
            at += rest.find('\n')?;
        } else if rest.starts_with("#[") {
            at += attribute(rest)?;
        } else if rest.starts_with('{') {
            return Some(at + 1..function.end - 1);
        } else {
            at += rest.chars().next()?.len_utf8();
        }
    }
    None
}

/// How long the attribute at the start of a text is.
fn attribute(text: &str) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            '[' if !quoted => depth += 1,
            ']' if !quoted => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

fn bytes(text: &str, span: Span) -> Range<usize> {
    let offset = |(line, column): (usize, usize)| {
        let start: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
        let line = text[start..].chars().take(column - 1).map(char::len_utf8);
        start + line.sum::<usize>()
    };
    offset(span.start)..offset(span.end)
}

/// The number of the line on which what is added next will stand.
fn line_after(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::{super::list::Function, *};

    const SOURCE: &str = "\
/// Not { this.
#[doc = \"nor [{\"]
pub const fn é(a: u8) -> bool {
    // é
    a < 1
}
fn iter() -> impl Iterator { x + 1 }
";

    fn mutant(span: [usize; 4], replacement: &str, function: [usize; 4], returns: &str) -> Mutant {
        let span_of = |[a, b, c, d]: [usize; 4]| Span { start: (a, b), end: (c, d) };
        Mutant {
            name: String::new(),
            file: String::new(),
            function: Some(Function { returns: returns.to_owned(), span: span_of(function) }),
            span: span_of(span),
            replacement: replacement.to_owned(),
        }
    }

    fn less() -> Mutant {
        mutant([5, 7, 5, 8], ">", [1, 1, 6, 2], "-> bool")
    }

    #[test]
    fn a_function_has_a_body_for_each_change_and_its_own() {
        let (operator, whole) = (less(), mutant([4, 5, 5, 10], "true", [1, 1, 6, 2], "-> bool"));
        let woven = weave(SOURCE, &[(7, &operator), (8, &whole)], &BTreeSet::new());
        let expected = "\
/// Not { this.
#[doc = \"nor [{\"]
pub       fn é(a: u8) -> bool { match crate::chosen_mutant() {
7 => {
    // é
    a > 1

}
8 => {
    true

}
_ => {
    // é
    a < 1

}
} }
fn iter() -> impl Iterator { x + 1 }
";
        assert_eq!(woven.text, expected);
        assert_eq!(woven.bodies, [(4..9, 7), (9..13, 8)]);
        assert!(woven.alone.is_empty());
    }

    #[test]
    fn what_has_to_stay_constant_or_hides_its_type_is_built_alone() {
        let hidden = mutant([7, 32, 7, 33], "-", [7, 1, 7, 37], "-> impl Iterator");
        let constant = BTreeSet::from(["é".to_owned()]);
        let woven = weave(SOURCE, &[(1, &less()), (2, &hidden)], &constant);
        assert_eq!((woven.text.as_str(), woven.alone), (SOURCE, vec![1, 2]));
        assert_eq!(replace(SOURCE, &hidden), SOURCE.replace("x + 1", "x - 1"));
    }

    #[test]
    fn a_function_within_another_is_changed_within_the_others_body() {
        let source = "fn f() {\n    fn g() -> u8 { 1 + 1 }\n    g() + 2\n}\n";
        let inner = mutant([2, 22, 2, 23], "-", [2, 5, 2, 29], "-> u8");
        let outer = mutant([3, 9, 3, 10], "*", [1, 1, 4, 2], "");
        let woven = weave(source, &[(1, &inner), (2, &outer)], &BTreeSet::new());
        assert!(woven.text.contains("1 => {\n    fn g() -> u8 { 1 - 1 }\n    g() + 2"), "{}", woven.text);
        assert!(woven.text.contains("2 => {\n    fn g() -> u8 { 1 + 1 }\n    g() * 2"), "{}", woven.text);
    }
}
