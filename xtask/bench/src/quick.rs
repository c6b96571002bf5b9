//! `--quick`: how many instructions a message takes, counted by callgrind. The count is the same whatever else the
//! machine does, so a change of a few per cent shows; what the kernel does is not in it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use bytes::Bytes;
use everwire_client::{Client, ClientEvent, JsonDecoder, RawDecoder, WsEvent};
use everwire_engine::{TungsteniteEngine, connector_fn};
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::{client_async, tungstenite};

use crate::{event::Event, parent::this_program, peers::Outcome, wire::Wire};

/// Less is what another order of the linker does.
const MOVED: f64 = 0.02;
/// Two counts; their difference is free of what starts and ends a program.
const COUNTS: [u64; 2] = [5_000, 25_000];

const WORKLOADS: [&str; 9] = [
    "receive-64-handler",
    "receive-64-stream",
    "receive-64-bare",
    "receive-1024-handler",
    "receive-1024-bare",
    "json-stream",
    "json-bare",
    "send-64-handle",
    "send-64-bare",
];

type Figures = BTreeMap<String, f64>;

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.json")
}

/// Counts, compares, says what moved. A change is no failure: it is for people to judge.
pub(crate) fn run(home: &Path, bless: bool) -> Result<(), String> {
    let has = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    if !has.is_ok_and(|status| status.success()) {
        println!("skipped: needs valgrind (cargo xtask setup)");
        return Ok(());
    }
    fs::create_dir_all(home).map_err(|error| error.to_string())?;
    let before: Figures = fs::read_to_string(committed())
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    println!("{:<24} {:>10} {:>10}", "instructions a message", "committed", "now");
    let mut now = Figures::new();
    for workload in WORKLOADS {
        let [few, many] = COUNTS.map(|count| count_instructions(workload, count, home));
        let each = (many? - few?) / (COUNTS[1] - COUNTS[0]) as f64;
        let each = (each * 10.0).round() / 10.0;
        let verdict = match before.get(workload) {
            None => "new".to_owned(),
            Some(before) if (each / before - 1.0).abs() <= MOVED => String::new(),
            Some(before) => format!("moved by {:+.1} %", (each / before - 1.0) * 100.0),
        };
        let was = before.get(workload).map(|before| format!("{before:.1}")).unwrap_or_default();
        println!("{workload:<24} {was:>10} {each:>10.1}  {verdict}");
        now.insert(workload.to_owned(), each);
    }
    println!("profiles: callgrind_annotate {}/callgrind.NAME.{}", home.display(), COUNTS[1]);
    if bless {
        let text = serde_json::to_string_pretty(&now).map_err(|error| error.to_string())? + "\n";
        fs::write(committed(), text).map_err(|error| error.to_string())?;
        println!("taken as the committed figures");
    }
    Ok(())
}

fn count_instructions(workload: &str, count: u64, home: &Path) -> Result<f64, String> {
    let out = home.join(format!("callgrind.{workload}.{count}"));
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(this_program()?)
        .args(["instructions", workload, &count.to_string()])
        .status()
        .map_err(|error| error.to_string())?;
    let profile = fs::read_to_string(&out).map_err(|error| format!("{}: {error}", out.display()))?;
    let total = profile.lines().rev().find_map(|line| line.strip_prefix("totals: "));
    let total = total.and_then(|total| total.trim().parse().ok());
    total.filter(|_| status.success()).ok_or_else(|| format!("{workload} ended with {status}"))
}

/// What runs under valgrind.
pub(crate) fn child(workload: &str, count: u64) -> ExitCode {
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(work(workload, count)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{workload}: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn work(workload: &str, count: u64) -> Outcome<()> {
    match workload {
        "receive-64-handler" => handler(64, count).await,
        "receive-1024-handler" => handler(1024, count).await,
        "receive-64-stream" => stream(client(64, count, RawDecoder, |builder| builder)?, count).await,
        "json-stream" => {
            stream(client(0, count, JsonDecoder::<Event>::new(), |builder| builder)?, count).await
        }
        "receive-64-bare" => bare(64, count, |_| Ok(())).await,
        "receive-1024-bare" => bare(1024, count, |_| Ok(())).await,
        "json-bare" => {
            let decode = |message: &tungstenite::Message| {
                let event: Event = serde_json::from_str(message.to_text()?)?;
                std::hint::black_box(&event);
                Ok(())
            };
            bare(0, count, decode).await
        }
        "send-64-handle" => send(count).await,
        "send-64-bare" => {
            let (mut socket, _) = client_async("ws://memory/", Wire::new(64, 0)).await?;
            let payload = Bytes::from(vec![b'x'; 64]);
            for sent in 1..=count {
                socket.feed(tungstenite::Message::Binary(payload.clone())).await?;
                if sent % 128 == 0 {
                    socket.flush().await?;
                }
            }
            Ok(())
        }
        _ => Err("there is no such workload".into()),
    }
}

type Builder<D> = everwire_client::ClientBuilder<D>;

fn client<D: everwire_client::EventDecoder>(
    size: usize,
    count: u64,
    decoder: D,
    set: impl FnOnce(Builder<D>) -> Builder<D>,
) -> Outcome<Client<D::Event>> {
    let connector = connector_fn(move |_| async move { Ok(Wire::new(size, count as usize)) });
    let engine = TungsteniteEngine::builder().connector(connector).build()?;
    let builder = Client::builder("ws://memory/", decoder).protocol_pings();
    Ok(set(builder).build(engine)?)
}

async fn handler(size: usize, count: u64) -> Outcome<()> {
    let (done, done_end) = tokio::sync::oneshot::channel();
    let (mut seen, mut done) = (0, Some(done));
    let client = client(size, count, RawDecoder, |builder| {
        builder.on_event(move |event| {
            std::hint::black_box(event.0.len());
            seen += 1;
            if seen == count {
                done.take().map(|done| done.send(()));
            }
        })
    })?;
    client.connect().await?;
    Ok(done_end.await?)
}

async fn stream<Ev: WsEvent + Clone + Send + 'static>(client: Client<Ev>, count: u64) -> Outcome<()> {
    let mut events = client.subscribe();
    client.connect().await?;
    let mut seen = 0;
    while seen < count {
        let event = events.recv().await.ok_or("the client ended")?;
        seen += u64::from(matches!(event, ClientEvent::Event { .. }));
        std::hint::black_box(&event);
    }
    Ok(())
}

async fn bare(
    size: usize,
    count: u64,
    consume: impl Fn(&tungstenite::Message) -> Outcome<()>,
) -> Outcome<()> {
    let (mut socket, _) = client_async("ws://memory/", Wire::new(size, count as usize)).await?;
    for _ in 0..count {
        let message = socket.next().await.ok_or("the wire ended")??;
        std::hint::black_box(message.len());
        consume(&message)?;
    }
    Ok(())
}

async fn send(count: u64) -> Outcome<()> {
    let client = client(64, 0, RawDecoder, |builder| builder)?;
    client.connect().await?;
    let payload = Bytes::from(vec![b'x'; 64]);
    let mut receipts = std::collections::VecDeque::new();
    for _ in 0..count {
        receipts.push_back(client.queue(payload.clone()).await);
        if receipts.len() == 512 {
            for receipt in receipts.drain(..256) {
                receipt.await.is_flushed().then_some(()).ok_or("a message was not flushed")?;
            }
        }
    }
    Ok(())
}
