//! Walks through the plan: starts the server, and a child for each sample.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    measure,
    peers::foreign,
    plan::{Entry, Group, How},
    task::{Addresses, Measures, Task},
};

/// The cores of server and client; the same where there is only one.
pub(crate) const SERVER_CORE: usize = 1;
const CLIENT_CORE: usize = 0;

/// A sample that takes longer is given up, and said so.
const PATIENCE: Duration = Duration::from_secs(120);

/// The server of a run. It ends when this is dropped, or when this process is gone.
pub(crate) struct Server {
    child: Child,
    pub(crate) addresses: Addresses,
}

impl Server {
    pub(crate) fn start() -> Result<Self, String> {
        let mut child = Command::new(this_program()?)
            .args(["server", &SERVER_CORE.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("the server does not start: {error}"))?;
        let mut line = String::new();
        let said = child.stdout.take().map(|stdout| BufReader::new(stdout).read_line(&mut line));
        match serde_json::from_str(&line) {
            Ok(addresses) => Ok(Self { child, addresses }),
            Err(error) => Err(format!("the server said {line:?} ({said:?}): {error}")),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What was measured of a group: for each round and entry, unless it failed or is not installed.
pub(crate) struct Samples {
    pub(crate) group: Group,
    pub(crate) rounds: Vec<Vec<Option<Measures>>>,
}

/// Measures a group. Entries that are `missing` are left out.
pub(crate) fn measure(group: Group, rounds: usize, server: &Server, home: &Path) -> Samples {
    let start = Instant::now();
    let mut all = Vec::new();
    for _ in 0..rounds.min(group.rounds) {
        let round = group.entries.iter().map(|entry| sample(entry, server, home)).collect();
        all.push(round);
    }
    eprintln!("  {} ({:.0} s)", group.name, start.elapsed().as_secs_f64());
    Samples { group, rounds: all }
}

fn sample(entry: &Entry, server: &Server, home: &Path) -> Option<Measures> {
    let outcome = start(entry, server, home).and_then(|(mut command, trace)| {
        let mut measures = finish(&mut command)?;
        if let Some(trace) = trace {
            measures.insert("calls".to_owned(), calls(&trace)?);
        }
        Ok(measures)
    });
    outcome.map_err(|error| eprintln!("  {} at {:?}: {error}", entry.contender.name(), entry.work)).ok()
}

/// The child, and where strace will write.
fn start(entry: &Entry, server: &Server, home: &Path) -> Result<(Command, Option<PathBuf>), String> {
    if let Some(command) = foreign::command(entry.contender, &entry.work, &server.addresses, home) {
        let mut pinned = Command::new("taskset");
        pinned.args(["-c", &CLIENT_CORE.to_string()]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            pinned.env(name, value.unwrap_or_default());
        }
        return Ok((pinned, None));
    }
    let core = if entry.how == How::SameCore { SERVER_CORE } else { CLIENT_CORE };
    let task =
        Task { contender: entry.contender, work: entry.work.clone(), server: server.addresses.clone() };
    let task = serde_json::to_string(&task).map_err(|error| error.to_string())?;
    let mut program = this_program()?;
    if entry.how == How::Heap {
        program.set_file_name("everwire-bench-heap");
    }
    let trace = (entry.how == How::Strace).then(|| home.join("calls.txt"));
    let mut command = match &trace {
        None => Command::new(program),
        Some(trace) => {
            let mut strace = Command::new("strace");
            strace
                .args(["-f", "-c", "-e", "trace=recvfrom,recvmsg,read,readv", "-o"])
                .arg(trace)
                .arg(program);
            strace
        }
    };
    command.args(["sample", &core.to_string(), &task]);
    Ok((command, trace))
}

/// Waits for the one line that a child prints.
fn finish(command: &mut Command) -> Result<Measures, String> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(_) => break,
            None if Instant::now() > deadline => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("not done after {PATIENCE:?}"));
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    }
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    let line = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(line.trim()).map_err(|_| format!("it ended with {}", output.status))
}

/// The calls that read a socket, of strace's table: its fourth column, the name in the last one.
fn calls(trace: &Path) -> Result<f64, String> {
    let table = std::fs::read_to_string(trace).map_err(|error| error.to_string())?;
    let counts = table.lines().filter_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let is_recv = columns.last().is_some_and(|name| name.starts_with("recv"));
        if is_recv { columns.get(3)?.parse::<f64>().ok() } else { None }
    });
    Ok(counts.sum())
}

pub(crate) fn this_program() -> Result<PathBuf, String> {
    std::env::current_exe().map_err(|error| error.to_string())
}

/// What this machine cannot do, said aloud.
pub(crate) fn warn() {
    if measure::cores() < 2 {
        eprintln!("bench: one core only; client and server share it, and the ratios say little");
    }
}
