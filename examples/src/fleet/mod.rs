//! `fleet`: ten thousand live connections in one process, and a server in another that is killed and started again.
//!
//! Each client is a whole one, a [courier](crate::courier) with ping, recovery and monitor; they share an engine per
//! source address and the monitor's one watcher. Everything stays on loopback.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program whose output is its purpose")]
#![expect(clippy::cast_precision_loss, reason = "counts of clients and of their bytes are far below 2^52")]

mod arrivals;
mod process;

use std::{
    error::Error,
    ffi::OsString,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::{ExitCode, Stdio},
    time::{Duration, Instant},
};

use clap::Parser;
use everwire_client::ConnectRequest;
use everwire_engine::TungsteniteEngine;
use everwire_netmon::SystemMonitor;
use everwire_ping::PingConfig;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    sync::{mpsc, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    cli::{parse_duration, show_duration},
    clock,
    courier::{Count, CourierConfig, Report, run},
};
use arrivals::Arrivals;

/// An address of loopback has some 28,000 ports.
const PER_ADDRESS: usize = 5000;

/// Clients that begin in a tenth of a second.
const BEGIN: usize = 200;

/// Within so long all are connected at first, and all are back.
const PATIENCE: Duration = Duration::from_secs(180);

type Problem = Box<dyn Error + Send + Sync>;

/// Thousands of live connections, and a server that is killed and started again.
#[derive(Debug, Parser)]
#[command(name = "fleet", version)]
struct Options {
    /// How many clients
    #[arg(long, default_value_t = 10_000)]
    clients: usize,
    /// How long there is no server
    #[arg(long, value_parser = parse_duration, default_value = "20s")]
    outage: Duration,
    /// A message from and to each client so often
    #[arg(long, value_parser = parse_duration, default_value = "10s")]
    pace: Duration,
}

/// The whole program. The exit code is 0 if every client came back and no acknowledged message was lost, doubled or
/// out of order.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let options = Options::parse_from(arguments);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(measure(&options)));
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("fleet: {problem}");
            ExitCode::from(2)
        }
    }
}

/// A client got a connection, or lost it.
#[derive(Clone, Copy, Debug)]
struct Change {
    at: Instant,
    up: bool,
}

async fn measure(options: &Options) -> Result<bool, Problem> {
    process::allow_descriptors(options.clients as u64 + 200)?;
    let mut server = Server::start(options).await?;
    println!("{} clients, an outage of {}", options.clients, show_duration(options.outage));

    let empty = process::rss_of_this()?;
    let begin = clock::now();
    let (stop, stopped) = watch::channel(false);
    let (tell, mut changes) = mpsc::unbounded_channel();
    let mut fleet = Fleet { clients: JoinSet::new(), up: 0 };
    fleet.begin(options, server.address, &stopped, &tell).await?;
    drop(tell);
    fleet.wait(&mut changes, |up| up == options.clients, |_| {}).await.map_err(|up| {
        format!("{up} of {} clients connected within {}", options.clients, show_duration(PATIENCE))
    })?;
    println!("all connected after {}", show_duration(clock::now() - begin));
    // A moment of peace, in which the buffers of the handshakes are given back.
    sleep(Duration::from_secs(3)).await;
    let (full, far) = (process::rss_of_this()?, process::rss(server.id())?);
    let each = |bytes: u64| bytes as f64 / 1024.0 / options.clients as f64;
    println!(
        "memory: {:.1} KiB per client here, {:.1} KiB per session at the server",
        each(full.saturating_sub(empty)),
        each(far)
    );

    let (busy, started) = (process::cpu_of_this()?, clock::now());
    server.kill().await?;
    fleet
        .wait(&mut changes, |up| up == 0, |_| {})
        .await
        .map_err(|up| format!("{up} clients did not notice the death of the server"))?;
    sleep(options.outage.saturating_sub(clock::now() - started)).await;
    let outage_cpu = process::cpu_of_this()?.saturating_sub(busy);
    server.again(options).await?;
    let back = clock::now();
    let mut arrivals = Arrivals::default();
    let all = fleet
        .wait(
            &mut changes,
            |up| up == options.clients,
            |at| arrivals.note(at.saturating_duration_since(back)),
        )
        .await;
    let (cpu, took) = (process::cpu_of_this()?.saturating_sub(busy), clock::now() - started);
    print!("{arrivals}");
    println!(
        "busiest 100 ms: {:.2} % of the fleet; t50 {}, t95 {}, the last {}",
        100.0 * arrivals.busiest_share(options.clients),
        shown(arrivals.time(50, options.clients)),
        shown(arrivals.time(95, options.clients)),
        shown(arrivals.time(100, options.clients)),
    );
    println!(
        "processor: {:.1} s in the outage, {:.1} s in all of the {}",
        outage_cpu.as_secs_f64(),
        cpu.as_secs_f64(),
        show_duration(took),
    );
    if let Err(up) = &all {
        println!("{up} of {} clients are back after {}", options.clients, show_duration(PATIENCE));
        return Ok(false);
    }

    stop.send_replace(true);
    let books =
        timeout(PATIENCE, fleet.close_books()).await.map_err(|_| "not everything was acknowledged")??;
    let Count { sent, lost, duplicated, reordered, .. } = books;
    println!(
        "acknowledged messages: {sent} sent, {lost} lost, {duplicated} duplicated, {reordered} reordered"
    );
    Ok(books.is_clean())
}

fn shown(time: Option<Duration>) -> String {
    time.map_or_else(|| "never".to_owned(), show_duration)
}

struct Fleet {
    clients: JoinSet<Result<Report, Problem>>,
    /// How many are connected.
    up: usize,
}

impl Fleet {
    /// Begins all clients, some at a time.
    async fn begin(
        &mut self,
        options: &Options,
        server: SocketAddr,
        stopped: &watch::Receiver<bool>,
        tell: &mpsc::UnboundedSender<Change>,
    ) -> Result<(), Problem> {
        let request = ConnectRequest::new(&format!("ws://{server}/"))?;
        let mut engine = TungsteniteEngine::builder().build()?;
        for index in 0..options.clients {
            if index % PER_ADDRESS == 0 {
                let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, u8::try_from(2 + index / PER_ADDRESS)?));
                engine = TungsteniteEngine::builder().many_idle().bind_address(source).build()?;
            }
            let config = CourierConfig {
                request: request.clone(),
                engine: engine.clone(),
                session: index.to_string(),
                pace: options.pace,
                ping: PingConfig::default(),
                monitor: SystemMonitor::towards(server.ip().to_string(), server.port())?,
                seed: index as u64,
            };
            let (tell, mut was_up) = (tell.clone(), false);
            self.clients.spawn(run(config, stopped.clone(), move |snapshot| {
                let up = snapshot.state.is_connected();
                if up != was_up {
                    was_up = up;
                    // Nobody listens any more at the end.
                    let _ = tell.send(Change { at: clock::now(), up });
                }
            }));
            if index % BEGIN == BEGIN - 1 {
                sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(())
    }

    /// Waits until `done` says so of how many are connected; an error says how many are when patience ends.
    async fn wait(
        &mut self,
        changes: &mut mpsc::UnboundedReceiver<Change>,
        done: impl Fn(usize) -> bool,
        mut arrived: impl FnMut(Instant),
    ) -> Result<(), usize> {
        let waiting = async {
            while !done(self.up) {
                let Some(change) = changes.recv().await else { return false };
                if change.up {
                    self.up += 1;
                    arrived(change.at);
                } else {
                    self.up -= 1;
                }
            }
            true
        };
        let in_time = timeout(PATIENCE, waiting).await;
        if in_time == Ok(true) { Ok(()) } else { Err(self.up) }
    }

    /// The books of all clients, both ways together.
    async fn close_books(&mut self) -> Result<Count, Problem> {
        let mut books = Count::default();
        while let Some(report) = self.clients.join_next().await {
            let report = report??;
            books = books.plus(report.up).plus(report.down);
        }
        Ok(books)
    }
}

/// The server, a process that ends with this one.
struct Server {
    child: Child,
    address: SocketAddr,
    journal: PathBuf,
}

impl Server {
    async fn start(options: &Options) -> Result<Self, Problem> {
        let journal = std::env::temp_dir().join(format!("everwire-fleet-{}.journal", std::process::id()));
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (child, address) = spawn(any, &journal, options.pace).await?;
        Ok(Self { child, address, journal })
    }

    fn id(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    async fn kill(&mut self) -> Result<(), Problem> {
        Ok(self.child.kill().await?)
    }

    /// Starts it again where it was.
    async fn again(&mut self, options: &Options) -> Result<(), Problem> {
        self.child = spawn(self.address, &self.journal, options.pace).await?.0;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.journal);
    }
}

/// A server, and where it listens.
async fn spawn(
    address: SocketAddr,
    journal: &PathBuf,
    pace: Duration,
) -> Result<(Child, SocketAddr), Problem> {
    let program =
        std::env::current_exe()?.with_file_name(format!("courier_server{}", std::env::consts::EXE_SUFFIX));
    let mut child = Command::new(&program)
        .arg(address.to_string())
        .arg("--journal")
        .arg(journal)
        .args(["--pace", &format!("{}ms", pace.as_millis()), "--until-input-ends"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{}: {error}; `cargo xtask fleet` builds it", program.display()))?;
    let output = child.stdout.take().ok_or("the server has no output")?;
    let first = timeout(Duration::from_secs(30), BufReader::new(output).lines().next_line()).await??;
    let first = first.ok_or("the server does not start")?;
    Ok((child, first.trim_start_matches("listening on ").parse()?))
}
