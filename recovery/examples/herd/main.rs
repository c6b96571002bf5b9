//! Fleets that come back after an outage, on virtual time: ours by its real core, beside the formulas of other
//! libraries.
//!
//! `cargo run --release -p everwire-recovery --example herd -- [--clients 100000] [--seed 1] [--svg DIR]`
//!
//! Exits with 1 when ours misses its goals: at most 0.8 % of the fleet in the busiest 100 ms after an outage of
//! 60 s, 95 % back within 25 s, and at most 4 connections in 10 s to a server that accepts and closes.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program whose output is its purpose")]
#![expect(clippy::cast_precision_loss, reason = "counts of clients are far below 2^52")]

mod draw;
mod fleet;
mod formulas;

use std::{error::Error, path::PathBuf, process::ExitCode, time::Duration};

use fleet::{Arrivals, Scenario, accept_then_close};
use formulas::LIBRARIES;

struct Args {
    clients: usize,
    seed: u64,
    svg: Option<PathBuf>,
}

fn main() -> ExitCode {
    match args().and_then(|args| run(&args)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn args() -> Result<Args, Box<dyn Error>> {
    let mut args = Args { clients: 100_000, seed: 1, svg: None };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let value = given.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--clients" => args.clients = value.parse()?,
            "--seed" => args.seed = value.parse()?,
            "--svg" => args.svg = Some(value.into()),
            _ => return Err(format!("unknown option {name}; there are --clients, --seed, --svg").into()),
        }
    }
    if args.clients == 0 {
        return Err("--clients must be above zero".into());
    }
    Ok(args)
}

fn run(args: &Args) -> Result<bool, Box<dyn Error>> {
    let seconds = Duration::from_secs;
    // Clients that meet at the server are all in memory at once.
    let limited = args.clients.min(20_000);
    let mut good = true;
    println!("fleets on virtual time, seed {}", args.seed);
    for (scenario, clients) in [
        (Scenario::Outage(seconds(0)), args.clients),
        (Scenario::Outage(seconds(60)), args.clients),
        (Scenario::Outage(seconds(600)), args.clients),
        (Scenario::RollingRestart, args.clients),
        (Scenario::LimitedRate(seconds(60), (limited / 20).max(1) as u32), limited),
    ] {
        println!("\n{}, {clients} clients", scenario.name());
        println!("| library | busiest 100 ms | t50 | t95 | dials per client | gave up |");
        println!("|---|---:|---:|---:|---:|---:|");
        let mut lines = Vec::new();
        for (index, library) in LIBRARIES.iter().enumerate() {
            let arrivals = fleet::run(library, scenario, clients, args.seed);
            println!("{}", row(library.name, &arrivals));
            let sixty = matches!(scenario, Scenario::Outage(time) if time == seconds(60));
            if index == 0 && sixty {
                let on_time = arrivals.time(95).is_some_and(|time| time <= seconds(25));
                good &= arrivals.busiest() <= 0.008 && on_time;
            }
            if sixty && args.svg.is_some() {
                let shares = arrivals.dials.iter().map(|dials| f64::from(*dials) / clients as f64);
                lines.push((library.name, shares.collect()));
            }
        }
        if let Some(folder) = args.svg.as_deref().filter(|_| !lines.is_empty()) {
            let title = format!("{clients} clients after an outage of 60 s");
            draw::draw(&folder.join("herd.svg"), &title, &lines)?;
        }
    }
    println!("\na server that accepts and closes at once: connections in 10 s, the worst of 100 clients");
    println!("| library | connections |\n|---|---:|");
    for (index, library) in LIBRARIES.iter().enumerate() {
        let connects = accept_then_close(library, args.seed);
        println!("| {} | {connects} |", library.name);
        good &= index != 0 || connects <= 4;
    }
    println!(
        "\nour goals (0.8 % and 25 s after 60 s, 4 connections): {}",
        if good { "met" } else { "MISSED" }
    );
    Ok(good)
}

fn row(name: &str, arrivals: &Arrivals) -> String {
    let time = |percent| {
        arrivals.time(percent).map_or_else(|| "–".to_owned(), |time| format!("{:.1} s", time.as_secs_f64()))
    };
    format!(
        "| {name} | {:.2} % | {} | {} | {:.1} | {:.0} % |",
        arrivals.busiest() * 100.0,
        time(50),
        time(95),
        arrivals.attempts(),
        arrivals.gave_up() * 100.0
    )
}
