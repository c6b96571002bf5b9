//! Standard output, as lines for people or as JSON lines for programs.

use std::{
    fmt,
    io::{self, IsTerminal as _, Write as _},
};

use serde::Serialize;

/// Where a program prints its findings: whole lines, each written at once.
///
/// A reader that has gone away (`watch ... | head`) is no error: what it does not want to read is dropped.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
    paint: Paint,
}

impl Output {
    /// Standard output, for programs when `json`. Colours appear on terminals only, and not when the
    /// environment has `NO_COLOR`.
    pub fn new(json: bool) -> Self {
        let colours = !json && io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { json, paint: Paint { colours } }
    }

    /// Whether JSON lines are wanted.
    pub const fn is_json(&self) -> bool {
        self.json
    }

    /// The colours of this output.
    pub const fn paint(&self) -> Paint {
        self.paint
    }

    /// Prints a line for people. False when nobody reads any more.
    pub fn line(&self, line: impl fmt::Display) -> bool {
        write_out(format!("{line}\n").as_bytes())
    }

    /// Prints an object on a line of its own. False when nobody reads any more.
    ///
    /// # Panics
    /// When the object's own serialization fails, which derived ones never do.
    pub fn object(&self, object: &impl Serialize) -> bool {
        let mut line = serde_json::to_vec(object).expect("what the programs print always serializes");
        line.push(b'\n');
        write_out(&line)
    }
}

fn write_out(line: &[u8]) -> bool {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(line).and_then(|()| stdout.flush());
    !written.is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Colours, where they are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    colours: bool,
}

impl Paint {
    /// No colours.
    pub const PLAIN: Self = Self { colours: false };

    /// Good news.
    pub fn green(self, text: impl fmt::Display) -> String {
        self.code("32", text)
    }

    /// Bad news.
    pub fn red(self, text: impl fmt::Display) -> String {
        self.code("31", text)
    }

    /// Something is under way.
    pub fn yellow(self, text: impl fmt::Display) -> String {
        self.code("33", text)
    }

    /// Beside the point.
    pub fn dim(self, text: impl fmt::Display) -> String {
        self.code("2", text)
    }

    /// A heading.
    pub fn bold(self, text: impl fmt::Display) -> String {
        self.code("1", text)
    }

    fn code(self, code: &str, text: impl fmt::Display) -> String {
        if self.colours { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_string() }
    }
}
