//! `watch`: connects to any WebSocket endpoint through the five boxes and shows what a resilient client sees
//! and decides.

mod decoder;
mod feed;
mod line;
mod options;
mod session;

use std::{cell::Cell, ffi::OsString, io::Write as _, process::ExitCode};

use serde::Serialize;
use tracing_subscriber::EnvFilter;

use crate::{
    cli::{Output, show_duration},
    clock,
};
use line::Line;
use options::Refusal;
use session::End;

/// The whole program.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let checked = match options::parse(arguments) {
        Ok(checked) => checked,
        Err(refusal) => return refuse(refusal),
    };
    log_to_stderr();
    // One thread is plenty, and states, decisions and messages keep the order in which they happened.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(Refusal::Bad(format!("the runtime cannot start: {error}"))),
    };
    let output = Output::new(checked.options.json);
    let end = runtime.block_on(async { session::run(checked, &Printer::new(output)).await });
    // A read of standard input that is still under way cannot be interrupted, and need not be waited for.
    runtime.shutdown_background();
    match end {
        Ok(End::Graceful) => ExitCode::SUCCESS,
        Ok(End::GaveUp(why)) => {
            complain(&format!("gave up: {why}"));
            ExitCode::from(3)
        }
        Ok(End::Interrupted) => ExitCode::from(130),
        Err(refusal) => refuse(refusal),
    }
}

fn refuse(refusal: Refusal) -> ExitCode {
    match refusal {
        Refusal::Asked(text) => {
            // A reader that has gone away is no error.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Refusal::Bad(sentence) => {
            complain(&sentence);
            ExitCode::from(2)
        }
    }
}

fn complain(sentence: &str) {
    let _ = writeln!(std::io::stderr(), "watch: {sentence}");
}

/// Logs go to standard error, by `RUST_LOG`; without it, warnings.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

/// Prints lines with their time.
struct Printer {
    output: Output,
    started: std::time::Instant,
    /// Nobody reads what is printed any more.
    closed: Cell<bool>,
}

#[derive(Serialize)]
struct Timed<'a> {
    ms: u64,
    #[serde(flatten)]
    line: &'a Line,
}

impl Printer {
    fn new(output: Output) -> Self {
        Self { output, started: clock::now(), closed: Cell::new(false) }
    }

    fn print(&self, line: &Line) {
        let elapsed = clock::now().saturating_duration_since(self.started);
        let written = if self.output.is_json() {
            let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
            self.output.object(&Timed { ms, line })
        } else {
            let paint = self.output.paint();
            let time = paint.dim(format!("{:>12}", show_duration(elapsed)));
            self.output.line(format!("{time}  {}", line.show(paint)))
        };
        self.note(written);
    }

    /// A line for people only.
    fn remark(&self, text: &str) {
        if !self.output.is_json() {
            self.note(self.output.line(self.output.paint().dim(text)));
        }
    }

    /// Whether the reader has gone away (`watch ... | head`).
    fn is_closed(&self) -> bool {
        self.closed.get()
    }

    fn note(&self, written: bool) {
        if !written {
            self.closed.set(true);
        }
    }
}
