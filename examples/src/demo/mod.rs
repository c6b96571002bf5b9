//! The demo: a secure video chat of two participants that survives six faults.
//!
//! Each participant reaches the embedded server over TLS through a proxy of its own. They exchange offer,
//! answer and candidates, then 200 numbered chat messages each way; meanwhile the faults happen, one after
//! another. Intervals and delays are shorter than the defaults, by configuration; nothing else is special.

mod faults;
mod participant;
mod timeline;

use std::{ffi::OsString, process::ExitCode, sync::Arc, time::Duration};

use clap::Parser;

use crate::{
    cli::Output,
    proxy::Proxy,
    room::Signal,
    server::{Ending, Server, ServerOptions},
};
use participant::Participant;
use timeline::{Row, Timeline};

/// How many chat messages each participant sends.
const MESSAGES: u32 = 200;
/// The pause between two of them: they talk for as long as the faults last.
const PACE: Duration = Duration::from_millis(45);
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A secure video chat that survives six faults.
#[derive(Debug, Parser)]
#[command(name = "demo", version)]
struct Options {
    /// Print JSON lines
    #[arg(long)]
    json: bool,
    /// The seed of all delays: the same seed gives the same delays
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

type Problem = Box<dyn std::error::Error + Send + Sync>;

/// The whole program. Exit code 0 only if every expectation held.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let options = Options::parse_from(arguments);
    let output = Output::new(options.json);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let timeline = runtime.map_err(Problem::from).and_then(|runtime| {
        runtime.block_on(async {
            let timeline = Arc::new(Timeline::new(output));
            run(options.seed, &timeline).await.map(|()| timeline)
        })
    });
    match timeline {
        Ok(timeline) if timeline.held() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr(), "demo: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(seed: u64, timeline: &Arc<Timeline>) -> Result<(), Problem> {
    timeline.legend();
    let server = Arc::new(Server::start(ServerOptions::default())?);
    let (ann_path, ben_path) = (Proxy::start(server.tls_addr())?, Proxy::start(server.tls_addr())?);
    let ann = Participant::start("ann", &server, &ann_path, seed, timeline)?;
    let ben = Participant::start("ben", &server, &ben_path, seed + 1, timeline)?;
    ann.until("in the room", |seen| seen.backs > 0).await?;
    ben.until("in the room", |seen| seen.backs > 0).await?;

    ann.say(Signal::Offer { sdp: sdp(include_str!("sdp/offer.sdp")) }).await;
    ben.until("the offer", |seen| seen.offer).await?;
    ben.say(Signal::Answer { sdp: sdp(include_str!("sdp/answer.sdp")) }).await;
    ann.until("the answer", |seen| seen.answer).await?;
    for (who, port) in [(&ann, 61_834_u16), (&ben, 55_012)] {
        for index in 0..2 {
            let address = format!("192.0.2.{}", u32::from(port % 100) + index);
            who.say(Signal::Candidate {
                candidate: format!("candidate:{index} 1 udp 2122260223 {address} {port} typ host"),
                sdp_mid: index.to_string(),
                sdp_m_line_index: 0,
            })
            .await;
        }
    }
    let talks = [ann.talk(), ben.talk()];
    let faults = faults::all(&server, &ann_path, [&ann, &ben], timeline).await;
    for fault in faults? {
        timeline.row(fault);
    }
    for talk in talks {
        talk.await?;
    }
    for who in [&ann, &ben] {
        who.until("every message", |seen| seen.chats >= MESSAGES && seen.candidates == 2).await?;
    }
    let (ann_name, ben_name) = (ann.name, ben.name);
    timeline.participant(ann_name, ann.end(timeline).await);
    timeline.participant(ben_name, ben.end(timeline).await);

    let record = server.until(|record| record.open() == 0).await;
    for name in [ann_name, ben_name] {
        let last = record.of(name).next_back().map(|connection| connection.ending.clone());
        timeline.expect(
            matches!(last, Some(Ending::Client { code: 1000, .. })),
            &format!("the server saw {name} leave with close code 1000 (it saw {last:?})"),
        );
    }
    timeline.expect(record.gaps == 0, "the server never met a post before its predecessor");
    timeline.finish();
    Ok(())
}

/// Lines of a session description end with CRLF (RFC 8866 §5).
fn sdp(text: &str) -> String {
    text.replace('\n', "\r\n")
}

/// What a fault came to.
fn row(name: &'static str, noticed: Duration, back: Duration) -> Row {
    Row { name, noticed, back }
}
