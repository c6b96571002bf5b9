//! `cargo xtask autobahn`: the Autobahn cases against our engine and against the full client.

use std::{
    collections::BTreeMap,
    error::Error,
    fs, io,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

/// The suite as a package for today's Python; the original one needs Python 2.
const PACKAGE: &str = "kosoku==0.1.0";

/// Who is put to the test.
struct Agent {
    package: &'static str,
    /// The example of the package that echoes.
    example: &'static str,
}

/// Both play all cases.
const AGENTS: [Agent; 2] = [
    Agent { package: "everwire-engine", example: "autobahn" },
    Agent { package: "everwire-client", example: "autobahn_client" },
];
const CASES: usize = 517;

/// The cases, in parts that run side by side, the longest first: their patterns, and what the agent is told.
///
/// In 13.2, 13.5 and 13.6 the server wants messages that are compressed each by itself, and asks for it only when that
/// was announced; in the others it was not.
const PARTS: [(&[&str], &[&str]); 6] = [
    (&["12.2.*"], &[]),
    (&["12.3.*", "12.1.*"], &[]),
    (&["12.4.*", "12.5.*"], &[]),
    (&["13.1.*", "13.3.*", "13.4.*", "13.7.*"], &[]),
    (&["13.2.*", "13.5.*", "13.6.*"], &["--no-context-takeover"]),
    (&["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"], &[]),
];

/// Runs the suite. With arguments, only the cases of these patterns, such as `6.* 13.2.*`.
///
/// Fails when an agent fails a case or could be stricter in it, and when cases are missing. Says that it skips when
/// Python or the suite cannot be had.
pub(crate) fn run(patterns: &[String]) -> ExitCode {
    let suite = match install() {
        Ok(suite) => suite,
        Err(error) => {
            println!(
                "skipped: needs python3 with venv and pip, and {PACKAGE} from PyPI (cargo xtask setup): {error}"
            );
            return ExitCode::SUCCESS;
        }
    };
    match play(&suite, patterns) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("autobahn: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The suite in a virtual environment of its own, which is made when there is none.
fn install() -> Result<PathBuf, Box<dyn Error>> {
    let venv = home().join("venv");
    let suite = venv.join("bin/kosoku");
    if !suite.exists() {
        fs::create_dir_all(home())?;
        succeed(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        succeed(Command::new(venv.join("bin/pip")).args(["install", "--quiet", PACKAGE]))?;
    }
    Ok(suite)
}

fn home() -> &'static Path {
    Path::new("target/autobahn")
}

/// One agent, and the part of the cases that it plays.
struct Job {
    agent: &'static str,
    program: String,
    arguments: &'static [&'static str],
    patterns: Vec<String>,
    report: PathBuf,
}

#[expect(clippy::disallowed_methods, reason = "tells how long it took; decides nothing")]
fn play(suite: &Path, patterns: &[String]) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    for Agent { package, example } in AGENTS {
        let mut build = Command::new("cargo");
        build.args(["build", "--quiet", "--package", package, "--all-features", "--example", example]);
        succeed(&mut build)?;
    }
    let built = start.elapsed();
    let reports = home().join("report");
    if reports.exists() {
        fs::remove_dir_all(&reports)?;
    }
    let jobs = Mutex::new(jobs(patterns, &reports));
    let verdicts = Mutex::new(BTreeMap::<_, BTreeMap<_, _>>::new());
    // One job more than processors: a server that waits for a case to end leaves one free.
    let workers = thread::available_parallelism().map_or(2, usize::from) + 1;
    thread::scope(|scope| {
        let work = || -> Result<(), String> {
            loop {
                let Some(job) = jobs.lock().expect("no worker panics").pop() else { return Ok(()) };
                let told = job.play(suite).map_err(|error| format!("{}: {error}", job.agent))?;
                verdicts.lock().expect("no worker panics").entry(job.agent).or_default().extend(told);
            }
        };
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("no worker panics"))
    })?;
    println!(
        "autobahn: built in {} s, played in {} s; reports: {}",
        built.as_secs(),
        start.elapsed().saturating_sub(built).as_secs(),
        reports.display()
    );
    judge(&verdicts.into_inner()?, patterns.is_empty())
}

/// What is to be done, the last first.
fn jobs(patterns: &[String], reports: &Path) -> Vec<Job> {
    let mut jobs = Vec::new();
    for (number, (part, arguments)) in PARTS.into_iter().enumerate() {
        for Agent { package: agent, example } in AGENTS {
            let asked = |all: &&str| -> Vec<String> {
                if patterns.is_empty() {
                    return vec![(*all).to_owned()];
                }
                patterns.iter().filter(|pattern| covers(all, pattern)).cloned().collect()
            };
            let patterns: Vec<_> = part.iter().flat_map(asked).collect();
            if !patterns.is_empty() {
                let program = format!("target/debug/examples/{example}");
                let report = reports.join(format!("{agent}-{number}"));
                jobs.push(Job { agent, program, arguments, patterns, report });
            }
        }
    }
    jobs.reverse();
    jobs
}

/// Whether all cases of a pattern are among those of another, which ends with a star.
fn covers(all: &str, pattern: &str) -> bool {
    pattern.starts_with(all.trim_end_matches('*'))
}

impl Job {
    /// The verdict of each case, and that on how it was closed.
    fn play(&self, suite: &Path) -> Result<BTreeMap<String, [String; 2]>, Box<dyn Error>> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.to_string();
        let mut command = Command::new(suite);
        command.args(["-m", "fuzzingserver", "-o"]).arg(&self.report);
        for pattern in &self.patterns {
            command.args(["-i", pattern]);
        }
        fs::create_dir_all(&self.report)?;
        let log = fs::File::create(self.report.join("server.log"))?;
        let mut server = Server(command.arg(&address).stdout(log.try_clone()?).stderr(log).spawn()?);
        wait(|| TcpStream::connect(&address).is_ok(), "the fuzzing server does not listen")?;
        let url = format!("ws://{address}");
        succeed(Command::new(&self.program).arg(url).args(self.arguments))?;
        // It ends by itself when all reports are written.
        wait(|| matches!(server.0.try_wait(), Ok(Some(_))), "the fuzzing server does not end")?;
        Ok(verdicts(&fs::read_to_string(self.report.join("index.json"))?))
    }
}

/// Prints how each agent did, and fails when one did not do well.
fn judge(verdicts: &BTreeMap<&str, BTreeMap<String, [String; 2]>>, all: bool) -> Result<(), Box<dyn Error>> {
    let mut faults = Vec::new();
    for (agent, verdicts) in verdicts {
        let mut counts = BTreeMap::new();
        for [verdict, _] in verdicts.values() {
            *counts.entry(verdict.as_str()).or_insert(0_usize) += 1;
        }
        let counts: Vec<_> = counts.iter().map(|(verdict, count)| format!("{count} {verdict}")).collect();
        println!("autobahn: {agent}: {} cases: {}", verdicts.len(), counts.join(", "));
        for (case, [behavior, close]) in verdicts {
            let good = |verdict: &str| matches!(verdict, "OK" | "INFORMATIONAL");
            if !good(behavior) || !good(close) {
                faults.push(format!("{agent} {case} {behavior} (close: {close})"));
            }
        }
        if all && verdicts.len() != CASES {
            faults.push(format!("{agent}: {CASES} cases were expected, {} were played", verdicts.len()));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n").into()) }
}

/// The verdicts of each case. The report is written one key a line, so no parser is needed.
fn verdicts(index: &str) -> BTreeMap<String, [String; 2]> {
    let mut case = String::new();
    let mut verdicts = BTreeMap::<_, [String; 2]>::new();
    for line in index.lines() {
        let mut parts = line.split('"');
        let (Some(key), Some(rest)) = (parts.nth(1), parts.next()) else { continue };
        if rest.trim_start_matches(':').trim() == "{" {
            key.clone_into(&mut case);
        } else if let Some(at) = ["behavior", "behaviorClose"].iter().position(|&known| known == key) {
            let verdict = parts.next().unwrap_or_default();
            verdict.clone_into(&mut verdicts.entry(case.clone()).or_default()[at]);
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

fn wait(mut done: impl FnMut() -> bool, complaint: &str) -> io::Result<()> {
    for _ in 0..300 {
        if done() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(100));
    }
    Err(io::Error::other(complaint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_gives_two_verdicts_per_case() {
        let index = "{\n \"agent\": {\n  \"1.1.1\": {\n   \"behavior\": \"OK\",\n   \"behaviorClose\": \"OK\",\n   \
                     \"duration\": 0\n  },\n  \"6.4.3\": {\n   \"behavior\": \"NON-STRICT\",\n   \
                     \"behaviorClose\": \"UNCLEAN\"\n  }\n }\n}";
        let verdicts = verdicts(index);
        assert_eq!(verdicts.len(), 2);
        assert_eq!(verdicts["1.1.1"], ["OK", "OK"]);
        assert_eq!(verdicts["6.4.3"], ["NON-STRICT", "UNCLEAN"]);
    }

    #[test]
    fn a_case_that_is_not_ok_or_is_missing_is_a_fault() {
        let told = |behavior: &str, close: &str| {
            let verdicts = BTreeMap::from([("6.4.3".to_owned(), [behavior.to_owned(), close.to_owned()])]);
            BTreeMap::from([("agent", verdicts)])
        };
        assert!(judge(&told("OK", "INFORMATIONAL"), false).is_ok());
        for (behavior, close) in
            [("NON-STRICT", "OK"), ("OK", "UNCLEAN"), ("UNIMPLEMENTED", "OK"), ("FAILED", "OK")]
        {
            assert!(judge(&told(behavior, close), false).is_err(), "{behavior} {close}");
        }
        assert!(judge(&told("OK", "OK"), true).unwrap_err().to_string().contains("1 were played"));
    }

    #[test]
    fn patterns_choose_the_parts_that_have_their_cases() {
        let chosen = |pattern: &str| jobs(&[pattern.to_owned()], Path::new("r"));
        assert!(chosen("13.2.1").iter().all(|job| job.arguments == ["--no-context-takeover"]));
        assert_eq!(chosen("6.4.*").len(), AGENTS.len());
        // Not those of groups 10, 12 and 13.
        assert_eq!(chosen("1.*").iter().map(|job| &job.patterns[0]).collect::<Vec<_>>(), ["1.*", "1.*"]);
        let all = jobs(&[], Path::new("r"));
        assert_eq!(all.len(), AGENTS.len() * PARTS.len());
    }
}
