//! What a user can say, and the whole of a run.

use std::{fs, path::PathBuf, process::ExitCode, time::Instant};

use clap::Parser;

use crate::{
    parent::{self, Server, measure},
    peers::foreign,
    plan::plan,
    quick, report,
};

/// What Everwire costs, beside bare sockets and other clients.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench")]
struct Options {
    /// How many rounds; contenders alternate within each.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Only groups whose names contain this. Charts are not drawn then.
    #[arg(long)]
    filter: Option<String>,
    /// Counts instructions instead (with valgrind), and compares them with the committed figures.
    #[arg(long)]
    quick: bool,
    /// With --quick: takes the figures of this run as the committed ones.
    #[arg(long, requires = "quick")]
    bless: bool,
    /// Where report.json goes, and what other languages' clients need.
    #[arg(long, default_value = "target/bench")]
    home: PathBuf,
    /// Where the charts and the page of figures go.
    #[arg(long, default_value = "docs")]
    charts: PathBuf,
}

pub(crate) fn run() -> ExitCode {
    let options = Options::parse();
    let outcome = if options.quick { quick::run(&options.home, options.bless) } else { bench(&options) };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bench(options: &Options) -> Result<(), String> {
    let begun = Instant::now();
    parent::warn();
    fs::create_dir_all(&options.home).map_err(|error| format!("{}: {error}", options.home.display()))?;
    let missing = foreign::install(&options.home);
    for (contender, words) in &missing {
        println!("skipped: {}: {words}", contender.name());
    }
    let server = Server::start()?;
    let mut samples = Vec::new();
    for mut group in plan() {
        if options.filter.as_ref().is_some_and(|filter| !group.name.contains(filter.as_str())) {
            continue;
        }
        // Rows name entries by their place, and those of other languages come last.
        group.entries.retain(|entry| !missing.iter().any(|(contender, _)| *contender == entry.contender));
        samples.push(measure(group, options.rounds, &server, &options.home));
    }
    drop(server);
    let mut report = report::Report::new(&samples, options.rounds);
    if options.filter.is_none() {
        report.add_dependencies();
    }
    println!("{}", report.text());
    let path = options.home.join("report.json");
    fs::write(&path, report.json()?).map_err(|error| format!("{}: {error}", path.display()))?;
    println!("\n{} · {:.0} s", path.display(), begun.elapsed().as_secs_f64());
    if options.filter.is_none() {
        fs::create_dir_all(&options.charts).map_err(|error| error.to_string())?;
        report::charts::draw(&report, &options.charts)?;
        let page = options.charts.join("speed-figures.md");
        fs::write(&page, report.page()).map_err(|error| format!("{}: {error}", page.display()))?;
        println!("charts: {}", options.charts.display());
    }
    Ok(())
}
