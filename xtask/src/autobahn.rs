//! `cargo xtask autobahn`: the Autobahn cases against our engine.

use std::{
    collections::BTreeMap,
    error::Error,
    fs, io,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::Duration,
};

/// The suite as a package for today's Python; the original one needs Python 2.
const PACKAGE: &str = "kosoku==0.1.0";

/// Groups 1-7, 9 and 10. Groups 12 and 13 are for permessage-deflate, which the engine does not offer.
const EXCLUDED: [&str; 2] = ["12.*", "13.*"];
const CASES: usize = 301;

/// Runs the suite; what is in `args` goes to the fuzzing server, such as `-i 6.*` for a part of it.
///
/// Fails when a case fails, when cases are missing, or when Python or the package cannot be had.
pub(crate) fn run(args: &[String]) -> ExitCode {
    match play(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn play(args: &[String]) -> Result<(), Box<dyn Error>> {
    let home = Path::new("target/autobahn");
    let venv = home.join("venv");
    let suite = venv.join("bin/kosoku");
    if !suite.exists() {
        fs::create_dir_all(home)?;
        succeed(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        succeed(Command::new(venv.join("bin/pip")).args(["install", "--quiet", PACKAGE]))?;
    }
    succeed(Command::new("cargo").args(["build", "--package", "everwire-engine", "--example", "autobahn"]))?;

    let report = home.join("report");
    if report.exists() {
        fs::remove_dir_all(&report)?;
    }
    let address = free_address()?;
    let mut command = Command::new(&suite);
    command.args(["-m", "fuzzingserver", "-o"]).arg(&report);
    for group in EXCLUDED {
        command.args(["-x", group]);
    }
    let server = Server(command.args(args).arg(&address).stdout(Stdio::null()).spawn()?);
    wait_for(&address)?;
    succeed(Command::new("target/debug/examples/autobahn").arg(format!("ws://{address}")))?;
    wait_for_file(&report.join("index.json"))?;
    drop(server);

    let verdicts = verdicts(&fs::read_to_string(report.join("index.json"))?);
    let mut counts = BTreeMap::new();
    for verdict in verdicts.values() {
        *counts.entry(verdict.as_str()).or_insert(0_usize) += 1;
    }
    println!("autobahn: {} cases: {counts:?}; report: {}", verdicts.len(), report.display());
    let failed: Vec<_> = verdicts
        .iter()
        .filter(|(_, verdict)| !matches!(verdict.as_str(), "OK" | "INFORMATIONAL" | "NON-STRICT"))
        .map(|(case, verdict)| format!("{case} {verdict}"))
        .collect();
    if !failed.is_empty() {
        return Err(format!("autobahn: {}", failed.join(", ")).into());
    }
    if args.is_empty() && verdicts.len() != CASES {
        return Err(format!("autobahn: {CASES} cases were expected, {} ran", verdicts.len()).into());
    }
    Ok(())
}

/// The verdict of each case. The report is written one key a line, so no parser is needed.
fn verdicts(index: &str) -> BTreeMap<String, String> {
    let mut case = String::new();
    let mut verdicts = BTreeMap::new();
    for line in index.lines() {
        let mut parts = line.split('"');
        let (Some(key), Some(rest)) = (parts.nth(1), parts.next()) else { continue };
        if rest.trim_start_matches(':').trim() == "{" {
            key.clone_into(&mut case);
        } else if key == "behavior" {
            verdicts.insert(case.clone(), parts.next().unwrap_or_default().to_owned());
        }
    }
    verdicts
}

/// Ends with its scope, also when something between fails.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn succeed(command: &mut Command) -> Result<(), Box<dyn Error>> {
    let status = command.status().map_err(|error| format!("{command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}").into()) }
}

fn free_address() -> io::Result<String> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.to_string())
}

fn wait_for(address: &str) -> Result<(), Box<dyn Error>> {
    wait(|| TcpStream::connect(address).is_ok(), "the fuzzing server does not listen")
}

fn wait_for_file(path: &Path) -> Result<(), Box<dyn Error>> {
    wait(|| path.exists(), "the fuzzing server wrote no report")
}

fn wait(mut done: impl FnMut() -> bool, complaint: &str) -> Result<(), Box<dyn Error>> {
    for _ in 0..100 {
        if done() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(100));
    }
    Err(complaint.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_gives_a_verdict_per_case() {
        let index = "{\n \"agent\": {\n  \"1.1.1\": {\n   \"behavior\": \"OK\",\n   \"behaviorClose\": \"OK\",\n   \
                     \"duration\": 0\n  },\n  \"6.4.3\": {\n   \"behavior\": \"NON-STRICT\"\n  }\n }\n}";
        let verdicts = verdicts(index);
        assert_eq!(verdicts.len(), 2);
        assert_eq!(verdicts["6.4.3"], "NON-STRICT");
    }
}
