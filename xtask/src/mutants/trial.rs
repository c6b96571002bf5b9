//! Runs the tests against one change, and says whether they noticed.

use std::{
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::Part;
use crate::cargo::root;

/// What the tests said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Said {
    /// All passed.
    Nothing,
    /// One failed.
    Failed,
    /// They did not end in time.
    NoEnd,
}

/// Time for a run, however busy the machine: a test that is only slow has noticed nothing.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same for what it computes, which depends on no other program.
const COMPUTING: Duration = Duration::from_secs(2);
/// Or so many times what it takes without a change, if that is longer.
const TIMES: u32 = 10;

/// What the system ends a program with that computes for too long.
#[cfg(unix)]
const SIGXCPU: i32 = 24;
#[cfg(unix)]
const SIGKILL: i32 = 9;

/// The programs of the steps, and how long each may take, if that is longer than is granted to all.
pub(super) struct Trial<'a> {
    part: &'a Part,
    programs: Vec<(PathBuf, Duration)>,
}

impl<'a> Trial<'a> {
    /// Measures the programs with no change; an error where they fail then.
    #[expect(clippy::disallowed_methods, reason = "says when a test that hangs is ended")]
    pub(super) fn new(part: &'a Part, programs: Vec<PathBuf>) -> Result<Self, String> {
        let long = Duration::from_secs(600);
        let mut trial =
            Self { part, programs: programs.into_iter().map(|program| (program, long)).collect() };
        for index in 0..trial.programs.len() {
            let start = Instant::now();
            if trial.run_one(index, 0)? != Said::Nothing {
                return Err(format!(
                    "{}: {} fails without a change",
                    part.name,
                    trial.programs[index].0.display()
                ));
            }
            trial.programs[index].1 = start.elapsed() * TIMES;
        }
        Ok(trial)
    }

    /// The same limits, for programs that were built again.
    pub(super) fn with(&self, programs: Vec<PathBuf>) -> Self {
        let limits = self.programs.iter().map(|(_, limit)| *limit);
        Self { part: self.part, programs: programs.into_iter().zip(limits).collect() }
    }

    /// Runs them in their order until one notices the change. Number 0 is no change.
    pub(super) fn run(&self, number: usize) -> Result<Said, String> {
        for index in 0..self.programs.len() {
            let said = self.run_one(index, number)?;
            if said != Said::Nothing {
                return Ok(said);
            }
        }
        Ok(Said::Nothing)
    }

    #[expect(clippy::disallowed_methods, reason = "a test that hangs has to be ended")]
    fn run_one(&self, index: usize, number: usize) -> Result<Said, String> {
        let (program, limit) = &self.programs[index];
        let filter = self.part.steps[index].filter;
        let mut child = spawn(program, filter, number, COMPUTING.max(*limit), self.part)?;
        let start = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return Ok(said(status)),
                Ok(None) if start.elapsed() < PATIENCE.max(*limit) => thread::sleep(pause),
                Ok(None) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Ok(Said::NoEnd);
                }
                Err(error) => return Err(format!("{}: {error}", program.display())),
            }
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }
}

fn said(status: ExitStatus) -> Said {
    #[cfg(unix)]
    if std::os::unix::process::ExitStatusExt::signal(&status)
        .is_some_and(|signal| [SIGXCPU, SIGKILL].contains(&signal))
    {
        return Said::NoEnd;
    }
    if status.success() { Said::Nothing } else { Said::Failed }
}

/// A change may compute, or ask for memory, without end, so there are limits where the system can set them.
fn spawn(
    program: &PathBuf,
    filter: &[&str],
    number: usize,
    limit: Duration,
    part: &Part,
) -> Result<Child, String> {
    let mut command = if cfg!(unix) {
        let mut shell = Command::new("sh");
        let seconds = limit.as_secs();
        shell
            .arg("-c")
            .arg(format!("ulimit -v 8388608; ulimit -t {seconds}; exec \"$0\" \"$@\""))
            .arg(program);
        shell
    } else {
        Command::new(program)
    };
    command.args(filter).current_dir(root().join("target/mutants/workspace").join(part.folder));
    command.env("MUTANT", number.to_string());
    // The model is walked less deep, and a random case that fails is not made smaller for anybody.
    command.env("EVERWIRE_MODEL_DEPTH", "4").env("PROPTEST_MAX_SHRINK_ITERS", "0");
    command.env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1");
    command.env("CARGO_MANIFEST_DIR", root().join("target/mutants/workspace").join(part.folder));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map_err(|error| format!("{}: {error}", program.display()))
}
