//! Shows what the network monitor of this machine says, until it is interrupted or its time is over.
//!
//! ```text
//! cargo run -p everwire-netmon --example watch_network -- [--json] [--for SECONDS] [--towards HOST PORT]
//! ```
//!
//! With `--json` each status is one object on a line of its own, with the milliseconds since the start.

#![expect(clippy::print_stderr, clippy::print_stdout, reason = "a program speaks to its user")]

use std::{net::IpAddr, process::ExitCode, time::Duration};

use everwire_netmon::{Hint, NetworkStatus, Reachability, SystemMonitor};
use futures_util::StreamExt;
use tokio::time::{self, Instant};

#[derive(Default)]
struct Options {
    json: bool,
    duration: Option<Duration>,
    towards: Option<(String, u16)>,
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options::default();
    while let Some(argument) = arguments.next() {
        let mut value = |what| arguments.next().ok_or_else(|| format!("{argument} needs {what}"));
        match argument.as_str() {
            "--json" => options.json = true,
            "--for" => {
                let seconds =
                    value("a number of seconds")?.parse().map_err(|error| format!("--for: {error}"))?;
                options.duration = Some(Duration::from_secs(seconds));
            }
            "--towards" => {
                let host = value("a host and a port")?;
                let port =
                    value("a host and a port")?.parse().map_err(|error| format!("--towards: {error}"))?;
                options.towards = Some((host, port));
            }
            other => return Err(format!("{other} is no option; there are --json, --for and --towards")),
        }
    }
    Ok(options)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("watch_network: {problem}");
            ExitCode::from(2)
        }
    }
}

async fn run() -> Result<(), String> {
    let options = options(std::env::args().skip(1))?;
    let mut builder = SystemMonitor::builder();
    if let Some((host, port)) = options.towards {
        builder = builder.towards(host, port);
    }
    let mut monitor = builder.build().map_err(|error| error.to_string())?;

    #[expect(clippy::disallowed_methods, reason = "a program is its own driver")]
    let start = Instant::now();
    let end = start + options.duration.unwrap_or(Duration::from_secs(3600 * 24 * 365));
    // A deadline on each wait rather than on the whole: what was read is printed in any case.
    while let Ok(Some(status)) = time::timeout_at(end, monitor.next()).await {
        let since = start.elapsed();
        if options.json {
            println!("{}", json(since.as_millis(), &status));
        } else {
            println!("{:>9.3} s  {}", since.as_secs_f64(), plain(&status));
        }
    }
    Ok(())
}

fn plain(status: &NetworkStatus) -> String {
    let path = status.local_addr.map_or_else(|| "no path".to_owned(), |local| format!("from {local}"));
    let addresses = match status.addresses.as_deref() {
        Some(all) => all.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", "),
        None => "not known".to_owned(),
    };
    format!("{:<8} {path:<28} {:<16} addresses: {addresses}", reachability(status), hint(status))
}

/// No text in it needs escaping.
fn json(ms: u128, status: &NetworkStatus) -> String {
    let quoted = |ip: &IpAddr| format!("\"{ip}\"");
    let local = status.local_addr.as_ref().map_or_else(|| "null".to_owned(), quoted);
    let addresses = status.addresses.as_deref().map_or_else(
        || "null".to_owned(),
        |all| format!("[{}]", all.iter().map(quoted).collect::<Vec<_>>().join(",")),
    );
    let asleep = match status.hint {
        Hint::WokeUp { asleep } => format!(",\"asleep_ms\":{}", asleep.as_millis()),
        _ => String::new(),
    };
    format!(
        "{{\"ms\":{ms},\"kind\":\"network\",\"status\":\"{}\",\"hint\":\"{}\",\"local_addr\":{local},\"addresses\":{addresses}{asleep}}}",
        reachability(status),
        hint(status),
    )
}

fn reachability(status: &NetworkStatus) -> &'static str {
    match status.reachability {
        Reachability::Online => "online",
        Reachability::Offline => "offline",
        _ => "unknown",
    }
}

fn hint(status: &NetworkStatus) -> &'static str {
    match status.hint {
        Hint::Started => "started",
        Hint::NetworkChanged => "network_changed",
        Hint::WokeUp { .. } => "woke_up",
        Hint::Continued { .. } => "continued",
        Hint::ClockStepped => "clock_stepped",
        _ => "host",
    }
}
