//! A program inside a namespace that prints lines of JSON, and when each line came.

use std::{
    io::{BufRead, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use super::lab::Lab;

/// The program. Dropping it ends the process.
pub(super) struct Watcher {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<(Instant, Line)>,
}

/// One line of JSON: an object without objects in it.
#[derive(Clone, Debug)]
pub(super) struct Line(String);

impl Watcher {
    /// Starts `program` inside a namespace, without any input.
    pub(super) fn start(lab: &Lab, name: &str, program: &Path, arguments: &[&str]) -> Result<Self, String> {
        Self::spawn(lab, name, program, arguments, Stdio::null())
    }

    /// The same, with input from [`say`](Self::say).
    pub(super) fn start_fed(
        lab: &Lab,
        name: &str,
        program: &Path,
        arguments: &[&str],
    ) -> Result<Self, String> {
        Self::spawn(lab, name, program, arguments, Stdio::piped())
    }

    fn spawn(
        lab: &Lab,
        name: &str,
        program: &Path,
        arguments: &[&str],
        input: Stdio,
    ) -> Result<Self, String> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &lab.name(name)]).arg(program).args(arguments);
        // `ip` replaces itself with the program, so the child's id is the program's.
        let mut child = command
            .stdin(input)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{} does not run: {error}", program.display()))?;
        let stdout = child.stdout.take().ok_or("the program has no output")?;
        let (tell, lines) = mpsc::channel();
        // The thread ends with the program's output.
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if tell.send((now(), Line(line))).is_err() {
                    break;
                }
            }
        });
        Ok(Self { input: child.stdin.take(), child, lines })
    }

    /// Gives the program a line to read; a program that is stopped reads it later.
    pub(super) fn say(&mut self, line: &str) -> Result<(), String> {
        let input = self.input.as_mut().ok_or("the program has no input")?;
        writeln!(input, "{line}").map_err(|error| format!("the program does not read: {error}"))
    }

    /// Its input ends here.
    pub(super) fn hush(&mut self) {
        self.input = None;
    }

    /// The next line within `patience`, and when it came.
    pub(super) fn next(&self, patience: Duration) -> Option<(Instant, Line)> {
        self.lines.recv_timeout(patience).ok()
    }

    /// Sends a signal, named as `kill` knows it.
    pub(super) fn signal(&self, signal: &str) -> Result<(), String> {
        let status =
            Command::new("kill").args([&format!("-{signal}"), &self.child.id().to_string()]).status();
        if status.is_ok_and(|status| status.success()) {
            Ok(())
        } else {
            Err(format!("kill -{signal} failed"))
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Line {
    /// The value of a field, as it stands there but without quotes.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let (_, rest) = self.0.split_once(&format!("\"{name}\":"))?;
        if let Some(text) = rest.strip_prefix('"') {
            return text.split('"').next();
        }
        let end = if rest.starts_with('[') { rest.find(']')? + 1 } else { rest.find([',', '}'])? };
        Some(&rest[..end])
    }

    /// Whether a field that is a list of texts has this one.
    pub(super) fn lists(&self, name: &str, text: &str) -> bool {
        self.field(name).is_some_and(|list| list.contains(&format!("\"{text}\"")))
    }
}

#[expect(clippy::disallowed_methods, reason = "a program that orchestrates reads the clock")]
pub(super) fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_a_line_are_found() {
        let line = Line(
            r#"{"ms":12,"status":"online","local_addr":null,"addresses":["10.0.0.1","fd00::2"],"asleep_ms":7}"#.into(),
        );
        assert_eq!(line.field("ms"), Some("12"));
        assert_eq!(line.field("status"), Some("online"));
        assert_eq!(line.field("local_addr"), Some("null"));
        assert_eq!(line.field("asleep_ms"), Some("7"));
        assert!(line.lists("addresses", "fd00::2"));
        assert!(!line.lists("addresses", "10.0.0"));
        assert_eq!(line.field("hint"), None);
    }
}
