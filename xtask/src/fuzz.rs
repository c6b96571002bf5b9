//! `cargo xtask fuzz`: every fuzz target under libFuzzer, guided by coverage, with the stable compiler.
//!
//! The targets are in `xtask/fuzz`, a package outside the workspace. What is found to be worth keeping goes to
//! `target/fuzz/corpus`; `--keep` adds the smallest part of it that reaches as much to the corpus that is committed,
//! which an ordinary test replays.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use crate::cargo::{cargo, exit, root, succeeds};

/// What the compiler is to put in for libFuzzer: a counter for each edge, and what is compared with what.
const COVERAGE: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    --cfg fuzzing";

/// No input of the fuzzer's is longer; a message of many frames, or a story, fits.
const MAX_LEN: usize = 1024;

/// What is kept in the repository is shorter, so that a target has a few KiB.
const KEPT_LEN: usize = 300;

#[derive(Debug, Default, Eq, PartialEq)]
struct Options {
    /// For all targets together.
    seconds: Option<u64>,
    target: Option<String>,
    replay: Option<PathBuf>,
    keep: bool,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} wants a value"));
            match argument.as_str() {
                "--seconds" => {
                    let seconds = value()?;
                    options.seconds =
                        Some(seconds.parse().map_err(|_| format!("{seconds} is no number of seconds"))?);
                }
                "--target" => options.target = Some(value()?.clone()),
                "--replay" => options.replay = Some(value()?.into()),
                "--keep" => options.keep = true,
                other => {
                    return Err(format!("there is --seconds, --target, --replay and --keep, but no {other}"));
                }
            }
        }
        if options.replay.is_some() && options.target.is_none() {
            return Err("--replay wants --target too".to_owned());
        }
        Ok(options)
    }
}

pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let options = match Options::parse(arguments) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("cargo xtask fuzz: {error}");
            return ExitCode::from(2);
        }
    };
    if !has_compiler() {
        println!(
            "skipped: needs a C++ compiler (cargo xtask setup, or the package g++), since libFuzzer is in C++"
        );
        return ExitCode::SUCCESS;
    }
    match Fuzzer::build() {
        Ok(fuzzer) => exit(fuzzer.run(&options).unwrap_or_else(|error| {
            eprintln!("cargo xtask fuzz: {error}");
            false
        })),
        Err(error) => {
            eprintln!("cargo xtask fuzz: {error}");
            ExitCode::FAILURE
        }
    }
}

/// As the build script of libFuzzer looks for it.
fn has_compiler() -> bool {
    let compiler = env::var_os("CXX").unwrap_or_else(|| "c++".into());
    let mut command = Command::new(compiler);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The program that holds all targets.
struct Fuzzer {
    program: PathBuf,
    /// Where it works: what it found, and what it broke with.
    home: PathBuf,
    /// What is committed.
    corpus: PathBuf,
}

impl Fuzzer {
    fn build() -> Result<Self, String> {
        let host = host()?;
        let home = root().join("target/fuzz");
        let mut command =
            cargo(&["build", "--release", "--quiet", "--manifest-path", "xtask/fuzz/Cargo.toml"]);
        // With a target named, build scripts are built without what is put in.
        command.args(["--target", &host, "--target-dir"]).arg(&home);
        command.env("RUSTFLAGS", COVERAGE);
        if !succeeds(&mut command) {
            return Err("the targets cannot be built".to_owned());
        }
        let program = home.join(&host).join("release/everwire-fuzz");
        Ok(Self { program, home, corpus: root().join("xtask/fuzz/corpus") })
    }

    /// Says whether all held.
    fn run(&self, options: &Options) -> io::Result<bool> {
        let mut targets = Vec::new();
        for folder in fs::read_dir(&self.corpus)? {
            targets.push(folder?.file_name().to_string_lossy().into_owned());
        }
        targets.sort_unstable();
        if let Some(name) = &options.target {
            if !targets.contains(name) {
                return Err(io::Error::other(format!(
                    "there is no target {name}, but {}",
                    targets.join(", ")
                )));
            }
            targets.retain(|target| target == name);
        }
        if let (Some(file), Some(name)) = (&options.replay, &options.target) {
            return Ok(succeeds(self.command(name).arg(file)));
        }
        let seconds = (options.seconds.unwrap_or(60) / targets.len() as u64).max(1);
        println!("{:<18} {:>12} {:>8} {:>9} {:>9}  ", "target", "executions", "corpus", "bytes", "coverage");
        let mut good = true;
        for target in &targets {
            good &= self.fuzz(target, seconds)?;
            if options.keep {
                self.keep(target)?;
            }
        }
        Ok(good)
    }

    /// Runs one target for a time, and tells what came of it.
    fn fuzz(&self, target: &str, seconds: u64) -> io::Result<bool> {
        let found = self.home.join("corpus").join(target);
        let broken = self.home.join("broken").join(target);
        fs::create_dir_all(&found)?;
        fs::create_dir_all(&broken)?;
        let mut command = self.command(target);
        command.arg(format!("-max_total_time={seconds}")).arg(format!("-max_len={MAX_LEN}"));
        command.arg(format!("-artifact_prefix={}/", broken.display()));
        command.args(["-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1"]);
        // What is new goes to the first folder.
        let output = command.arg(&found).arg(self.corpus.join(target)).output()?;
        let told = String::from_utf8_lossy(&output.stderr);
        let figures = Figures::read(&told);
        println!(
            "{target:<18} {:>12} {:>8} {:>9} {:>9}  {}",
            figures.executions,
            figures.inputs,
            figures.bytes,
            figures.coverage,
            if output.status.success() { "" } else { "BROKEN" },
        );
        if !output.status.success() {
            println!(
                "{}",
                told.lines()
                    .rev()
                    .take(60)
                    .collect::<Vec<_>>()
                    .into_iter()
                    .rev()
                    .collect::<Vec<_>>()
                    .join("\n")
            );
            if let Some(file) = broken_file(&told) {
                println!("{target} is broken by {file}; this replays it:");
                println!("cargo xtask fuzz --target {target} --replay {file}");
            }
        }
        Ok(output.status.success())
    }

    /// Adds to the committed corpus what reaches something that it does not.
    fn keep(&self, target: &str) -> io::Result<()> {
        let mut command = self.command(target);
        command.arg("-set_cover_merge=1").arg("-use_counters=0").arg(format!("-max_len={KEPT_LEN}"));
        command.arg(self.corpus.join(target)).arg(self.home.join("corpus").join(target));
        let output = command.output()?;
        if !output.status.success() {
            return Err(io::Error::other(format!("{target}: {}", String::from_utf8_lossy(&output.stderr))));
        }
        Ok(())
    }

    fn command(&self, target: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.env("EVERWIRE_FUZZ_TARGET", target).current_dir(&self.home);
        command
    }
}

fn host() -> Result<String, String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().map_err(|error| format!("rustc: {error}"))?;
    let told = String::from_utf8_lossy(&output.stdout);
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "rustc does not say for which host it is".to_owned())
}

/// What libFuzzer says at its end.
#[derive(Debug, Default, Eq, PartialEq)]
struct Figures {
    executions: u64,
    inputs: u64,
    bytes: String,
    /// Edges.
    coverage: u64,
}

impl Figures {
    fn read(told: &str) -> Self {
        let mut figures = Self::default();
        for line in told.lines() {
            if let Some(number) = line.strip_prefix("stat::number_of_executed_units:") {
                figures.executions = number.trim().parse().unwrap_or_default();
            }
            // Such as `#4096 pulse  cov: 61 ft: 120 corp: 30/412b lim: 43 exec/s: 2048 rss: 40Mb`.
            let Some(rest) = line.strip_prefix('#') else { continue };
            let words: Vec<_> = rest.split_whitespace().collect();
            for pair in words.windows(2) {
                match pair[0] {
                    "cov:" => figures.coverage = pair[1].parse().unwrap_or_default(),
                    "corp:" => {
                        let (inputs, bytes) = pair[1].split_once('/').unwrap_or((pair[1], ""));
                        figures.inputs = inputs.parse().unwrap_or_default();
                        bytes.clone_into(&mut figures.bytes);
                    }
                    _ => {}
                }
            }
        }
        figures
    }
}

/// The file that libFuzzer wrote, as seen from the root of the repository.
fn broken_file(told: &str) -> Option<String> {
    let file = told
        .lines()
        .find_map(|line| line.split_once("Test unit written to "))
        .map(|(_, file)| file.trim())?;
    Some(Path::new(file).strip_prefix(root()).unwrap_or_else(|_| Path::new(file)).display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn the_options_are_read_and_nonsense_is_refused() {
        assert_eq!(parse(""), Ok(Options::default()));
        let options = parse("--seconds 30 --target url --keep").unwrap();
        assert_eq!((options.seconds, options.target.as_deref(), options.keep), (Some(30), Some("url"), true));
        assert!(parse("--seconds soon").unwrap_err().contains("soon"));
        assert!(parse("--seconds").is_err() && parse("--fast").is_err() && parse("--replay a").is_err());
    }

    #[test]
    fn the_last_figures_of_libfuzzer_count() {
        let told = "#2\tINITED cov: 5 ft: 5 corp: 1/1b exec/s: 0 rss: 30Mb\n\
                    #4096\tpulse  cov: 61 ft: 120 corp: 30/412b lim: 43 exec/s: 2048 rss: 40Mb\n\
                    #5000\tDONE   cov: 62 ft: 121 corp: 31/9Kb lim: 43 exec/s: 1000 rss: 40Mb\n\
                    stat::number_of_executed_units: 5000\nstat::average_exec_per_sec:     1000\n";
        let expected = Figures { executions: 5000, inputs: 31, bytes: "9Kb".to_owned(), coverage: 62 };
        assert_eq!(Figures::read(told), expected);
    }

    #[test]
    fn the_file_that_broke_a_target_is_found() {
        let told = "==1== ERROR: libFuzzer: deadly signal\n\
                    artifact_prefix='a/'; Test unit written to /elsewhere/crash-1234\nBase64: AA==";
        assert_eq!(broken_file(told).as_deref(), Some("/elsewhere/crash-1234"));
        assert_eq!(broken_file("all is well"), None);
    }
}
