//! A Rust file as the checks see it: its code without comments and texts, and where its tests begin.

use std::{fs, io, path::Path};

/// One file.
#[derive(Debug)]
pub(super) struct Source {
    /// From the root of the repository, with slashes.
    pub(super) path: String,
    text: String,
    /// As long as the text line by line; comments and the insides of literals are left out.
    code: String,
}

/// Reads all Rust files of a folder, in order of their names, without what was built there.
pub(super) fn read(root: &Path, folder: &Path, sources: &mut Vec<Source>) -> io::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if entry.file_name() != "target" {
                read(root, &path, sources)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            sources.push(Source::new(&name.replace('\\', "/"), &fs::read_to_string(&path)?));
        }
    }
    Ok(())
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: code_of(text) }
    }

    /// A line of it, as a terminal makes it a link.
    pub(super) fn place(&self, line: usize) -> String {
        format!("{}:{line}", self.path)
    }

    /// Its code, without comments and texts.
    pub(super) fn code(&self) -> &str {
        &self.code
    }

    /// Whether it says what it is, in its first line.
    pub(super) fn has_header(&self) -> bool {
        self.text.starts_with("//!") || self.text.starts_with("#![doc = include_str!(")
    }

    /// All lines of code, with their numbers.
    pub(super) fn all_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// The lines before the tests; none when the whole file is tests.
    pub(super) fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.all_lines().take(if self.is_tests() { 0 } else { self.lines_before_tests() })
    }

    /// The same lines as they were written.
    pub(super) fn product_text(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.product_lines().count();
        self.text.lines().enumerate().take(lines).map(|(index, line)| (index + 1, line))
    }

    /// Up to the module of tests that stands in this file; one that is only declared here ends nothing.
    fn lines_before_tests(&self) -> usize {
        let lines: Vec<_> = self.code.lines().map(str::trim).collect();
        let begins = |(index, line): (usize, &&str)| {
            let mut item = lines[index + 1..].iter().skip_while(|next| next.starts_with("#["));
            *line == "#[cfg(test)]"
                && item.next().is_some_and(|item| item.starts_with("mod ") && item.contains('{'))
        };
        lines.iter().enumerate().position(begins).unwrap_or(lines.len())
    }

    /// Whether what it prints is meant for somebody.
    pub(super) fn may_print(&self) -> bool {
        self.is_below("examples") || self.is_below("benches") || self.path.starts_with("xtask/")
    }

    fn is_tests(&self) -> bool {
        // Named like this, a module is declared under `#[cfg(test)]`: scenarios, or a model that is walked whole.
        ["/tests.rs", "/model.rs"].iter().any(|name| self.path.ends_with(name)) || self.is_below("tests")
    }

    fn is_below(&self, folder: &str) -> bool {
        let mut parts: Vec<_> = self.path.split('/').collect();
        parts.pop();
        parts.contains(&folder)
    }
}

/// The code of a text: comments are left out, and so is what stands within literals; lines stay where they are.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        // A name that ends with `r` is no raw literal.
        let after_word = code.chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_');
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if next == '"' {
            quoted(rest, '"')
        } else if next == '\'' {
            character(rest)
        } else if next == 'r' && !after_word {
            raw(rest)
        } else {
            0
        };
        if skipped == 0 {
            code.push(next);
            rest = &rest[next.len_utf8()..];
        } else {
            code.extend(rest[..skipped].chars().filter(|c| *c == '\n'));
            rest = &rest[skipped..];
        }
    }
    code
}

/// How long the comment is that begins here; comments nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at.min(text.len())
}

/// How long the literal is that begins here with `quote`.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// How long the character is that begins here; nothing for a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.chars().skip(1);
    match (chars.next(), chars.next()) {
        (Some('\\'), _) => quoted(text, '\''),
        (Some(c), Some('\'')) => c.len_utf8() + 2,
        _ => 0,
    }
}

/// How long the raw literal is that begins here; nothing when none does.
fn raw(text: &str) -> usize {
    let hashes = text[1..].chars().take_while(|c| *c == '#').count();
    let Some(inside) = text[1 + hashes..].strip_prefix('"') else { return 0 };
    let end = format!("\"{}", "#".repeat(hashes));
    inside.find(&end).map_or(text.len(), |at| 2 + hashes + at + end.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_no_code_and_lines_stay() {
        for (text, code) in [
            ("a // b\nc", "a \nc"),
            ("a /* b /* c */\n d */ e", "a \n e"),
            ("f(\"b\\\"c\", d)", "f(, d)"),
            ("f('\"', 'x', '\\'', b)", "f(, , , b)"),
            ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
            ("r#\"a\"b\"# c", " c"),
            ("r\"a\\\" c", " c"),
            ("for x in r#try", "for x in r#try"),
        ] {
            assert_eq!(code_of(text), code, "{text}");
        }
    }

    #[test]
    fn product_ends_where_tests_begin() {
        let source = Source::new("a/src/b.rs", "//! B.\nfn f() {}\n#[cfg(test)]\nmod tests {}\n");
        assert_eq!(source.product_lines().count(), 2);
        assert_eq!(source.all_lines().count(), 4);
        let declared = Source::new("a/src/b.rs", "//! B.\n#[cfg(test)]\nmod tests;\nfn f() {}\n");
        assert_eq!(declared.product_lines().count(), 4);
        assert_eq!(Source::new("a/tests/b.rs", "//! B.\n").product_lines().count(), 0);
    }
}
