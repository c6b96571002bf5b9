//! A fleet of whole clients over real sockets, through a proxy that spoils their paths, for minutes: does anything
//! grow, does anything get lost?
//!
//! Server and proxy run in a process of their own, so that memory, descriptors and tasks of this one are the clients'.
//! Everything stays on loopback.

#![expect(clippy::print_stdout, reason = "a program whose output is its purpose")]

mod fleet;
mod path;
mod sample;

use std::{
    process::{ExitCode, Stdio},
    time::Duration,
};

use clap::Parser;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, Command},
    time::{sleep_until, timeout},
};

use fleet::Fleet;
use sample::{Sample, Samples};

type Problem = Box<dyn std::error::Error + Send + Sync>;

/// How long the clients may take, after the last fault, until all is delivered.
const PATIENCE: Duration = Duration::from_secs(90);

/// Soaks a fleet of clients, and says whether anything grew or was lost.
#[derive(Clone, Debug, Parser)]
#[command(name = "soak")]
pub struct Options {
    /// How many minutes the faults last.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// How many clients, an even number.
    #[arg(long, default_value_t = 1000)]
    clients: usize,
    /// Decides which connection suffers what.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Runs server and proxy only; for the program itself.
    #[arg(long, hide = true)]
    path: bool,
}

/// Runs it.
///
/// # Errors
/// When it cannot start: no descriptors, no port, no second process.
pub async fn run(options: Options, bytes: fn() -> usize) -> Result<ExitCode, Problem> {
    // Each client is a descriptor here, and three in the other process.
    rlimit::increase_nofile_limit(4 * options.clients as u64 + 256)?;
    if options.path {
        path::run(options.seed).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut other = Other::start(options.seed).await?;
    let mut samples = Samples::new(Duration::from_secs(60 * options.minutes));
    let before = Sample::take(bytes());
    let fleet = Fleet::start(options.clients.next_multiple_of(2), &other.url, &other.ca_pem, options.seed)?;
    println!("{}", Samples::head());
    let start = crate::clock::now();
    while start.elapsed() < samples.lasts {
        samples.add(start.elapsed(), Sample::take(bytes()), fleet.totals());
        let next = start + Duration::from_secs(samples.len() as u64);
        sleep_until(next.into()).await;
    }
    other.say("peace").await?;
    let mut failures = Vec::from_iter(fleet.settle(PATIENCE).await);
    println!(
        "the last fault is over; whole again after {:.1} s",
        start.elapsed().saturating_sub(samples.lasts).as_secs_f64()
    );
    failures.extend(fleet.end(PATIENCE).await);
    failures.extend(samples.judge());
    failures.extend(sample::nothing_is_left(&before, bytes).await);
    println!("faults: {}", other.end().await?);
    for failure in &failures {
        println!("FAILED {failure}");
    }
    println!("soak {}", if failures.is_empty() { "passed" } else { "failed" });
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The process with the server and the proxy.
struct Other {
    child: Child,
    orders: ChildStdin,
    answers: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
    url: String,
    /// A session wants an authority to trust, also where its path is not secured.
    ca_pem: String,
}

impl Other {
    async fn start(seed: u64) -> Result<Self, Problem> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--path", "--seed", &seed.to_string()]).kill_on_drop(true);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let orders = child.stdin.take().ok_or("the other process has no input")?;
        let stdout = child.stdout.take().ok_or("the other process has no output")?;
        let mut answers = BufReader::new(stdout).lines();
        let url = answers.next_line().await?.ok_or("the other process did not start")?;
        let ca_pem = answers.next_line().await?.unwrap_or_default().replace('|', "\n");
        Ok(Self { child, orders, answers, url, ca_pem })
    }

    async fn say(&mut self, order: &str) -> Result<(), Problem> {
        self.orders.write_all(format!("{order}\n").as_bytes()).await?;
        Ok(self.orders.flush().await?)
    }

    /// Ends it, and returns what it did.
    async fn end(mut self) -> Result<String, Problem> {
        self.say("end").await?;
        let told = timeout(Duration::from_secs(10), self.answers.next_line()).await??;
        timeout(Duration::from_secs(10), self.child.wait()).await??;
        Ok(told.unwrap_or_default())
    }
}
