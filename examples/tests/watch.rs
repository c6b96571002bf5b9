//! `watch` as others see it: a program with options, standard streams and an exit code. Everything runs on
//! this machine: the program against the embedded server.

#![allow(clippy::unwrap_used, reason = "all of this is test code, also the helpers")]

use std::{process::Stdio, time::Duration};

use everwire_examples::{
    proxy::{Mode, Proxy},
    server::{Ending, RefuseUpgrades, Server, ServerOptions},
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// Nothing here takes so long; it keeps a failure from hanging.
const PATIENCE: Duration = Duration::from_secs(30);

struct Watch {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watch {
    fn start(url: &str, options: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_watch"))
            .arg(url)
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { stdin: child.stdin.take(), lines, child }
    }

    fn json(url: &str, options: &[&str]) -> Self {
        Self::start(url, &[&["--json"], options].concat())
    }

    /// The next line that fulfils the condition. Every line on the way must be an object with its time.
    async fn until(&mut self, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let find = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                let object: Value = serde_json::from_str(&line).expect("one JSON object per line");
                assert!(object["ms"].is_u64() && object["kind"].is_string(), "{line}");
                if condition(&object) {
                    return object;
                }
            }
            panic!("the output ended before {what}");
        };
        tokio::time::timeout(PATIENCE, find).await.unwrap_or_else(|_| panic!("waited for {what}"))
    }

    async fn state(&mut self, state: &str) -> Value {
        self.until(state, |o| o["kind"] == "state" && o["state"] == state).await
    }

    async fn say(&mut self, text: &str) {
        self.stdin.as_mut().unwrap().write_all(text.as_bytes()).await.unwrap();
    }

    /// The exit code, the rest of the output, and what was said on standard error.
    async fn end(mut self) -> (i32, Vec<Value>, String) {
        let all = async {
            let mut rest = Vec::new();
            while let Some(line) = self.lines.next_line().await.unwrap() {
                rest.push(serde_json::from_str(&line).unwrap_or(Value::String(line)));
            }
            let mut complaint = String::new();
            self.child.stderr.take().unwrap().read_to_string(&mut complaint).await.unwrap();
            (self.child.wait().await.unwrap().code().unwrap(), rest, complaint)
        };
        tokio::time::timeout(PATIENCE, all).await.expect("the program ends")
    }

    #[cfg(unix)]
    async fn signal(&self, name: &str) {
        let id = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().await.unwrap().success());
    }
}

fn server() -> Server {
    Server::start(ServerOptions::default().any_token()).unwrap()
}

#[tokio::test]
async fn bad_options_and_bad_urls_are_one_sentence_and_exit_code_2() {
    let url = "ws://127.0.0.1:9";
    for (url, options) in [
        ("http://a", &[][..]),
        ("nonsense", &[]),
        (url, &["--ping", "smoke"]),
        (url, &["--ping-interval", "3s", "--pong-timeout", "3s"]),
        (url, &["--ca", "/nowhere.pem"]),
        (url, &["--ca", "/dev/null"]),
        (url, &["--header", "no colon"]),
        (url, &["--retry-initial", "maybe"]),
        (url, &["--unknown"]),
    ] {
        let (code, output, complaint) = Watch::start(url, options).end().await;
        assert_eq!(code, 2, "{url} {options:?}: {complaint}");
        assert!(output.is_empty(), "{output:?}");
        assert_eq!(complaint.trim().lines().count(), 1, "{url} {options:?}: {complaint}");
    }
}

#[tokio::test]
async fn lines_are_sent_answered_and_the_end_of_the_input_closes_with_1000() {
    let server = server();
    let mut watch = Watch::json(&server.plain_url("/echo"), &[]);
    watch.say("one\ntwo\n").await;
    drop(watch.stdin.take());
    assert_eq!(watch.state("Connected").await["generation"], 1);
    let (code, rest, complaint) = watch.end().await;
    assert_eq!(code, 0, "{complaint}");
    let sent: Vec<_> = rest.iter().filter(|o| o["kind"] == "sent").collect();
    assert_eq!(sent.len(), 2, "what was typed before there was a connection was not lost: {rest:?}");
    assert!(sent.iter().zip(1..).all(|(o, id)| o["id"] == id && o["outcome"] == "flushed"), "{sent:?}");
    let last = rest.iter().rfind(|o| o["kind"] == "state").unwrap();
    assert_eq!((&last["state"], &last["source"]["kind"]), (&"Disconnected".into(), &"UserInitiated".into()));
    let record = server.until(|record| record.open() == 0 && !record.connections.is_empty()).await;
    assert!(matches!(record.connections[0].ending, Ending::Client { code: 1000, .. }), "{record:?}");
}

#[tokio::test]
async fn tls_is_trusted_with_the_certificate_authority_and_refused_without() {
    let server = server();
    let file = std::env::temp_dir().join(format!("everwire-watch-{}.pem", std::process::id()));
    std::fs::write(&file, server.ca_pem()).unwrap();
    let mut trusting = Watch::json(&server.url("/echo"), &["--ca", file.to_str().unwrap()]);
    trusting.state("Connected").await;
    trusting.say("hello\n").await;
    let message = trusting.until("the echo", |o| o["kind"] == "message").await;
    assert_eq!(
        (&message["type"], &message["len"], &message["text"]),
        (&"text".into(), &5.into(), &"hello".into())
    );
    drop(trusting.stdin.take());
    assert_eq!(trusting.end().await.0, 0);
    std::fs::remove_file(file).unwrap();

    let (code, rest, complaint) = Watch::json(&server.url("/echo"), &["--no-stdin"]).end().await;
    assert_eq!(code, 3, "{rest:?}");
    assert!(complaint.contains("certificate"), "{complaint}");
}

#[tokio::test]
async fn a_close_with_1012_is_followed_by_a_delay_and_a_new_generation() {
    let server = server();
    let mut watch = Watch::json(&server.plain_url("/echo"), &["--no-stdin", "--seed", "7"]);
    watch.state("Connected").await;
    server.close_all(1012, "restart");
    let source = watch.state("Disconnected").await["source"].clone();
    assert_eq!(source["kind"], "ServerInitiated");
    assert_eq!((&source["close_code"], &source["reason"]), (&1012.into(), &"restart".into()));
    let decision = watch.until("a decision", |o| o["kind"] == "decision").await;
    assert_eq!((&decision["action"], &decision["attempt"]), (&"connect_after".into(), &1.into()));
    assert!((5_000..=30_000).contains(&decision["delay_ms"].as_u64().unwrap()), "{decision}");
}

#[tokio::test]
async fn a_close_with_1000_stops_with_exit_code_3() {
    let server = server();
    let mut watch = Watch::json(&server.plain_url("/echo"), &["--no-stdin"]);
    watch.state("Connected").await;
    server.close_all(1000, "done");
    let stop = watch.until("stop", |o| o["action"] == "stop").await;
    assert!(stop["cause"].as_str().unwrap().contains("1000"), "{stop}");
    let (code, _, complaint) = watch.end().await;
    assert_eq!((code, complaint.trim().lines().count()), (3, 1), "{complaint}");
}

#[tokio::test]
async fn a_refused_upgrade_shows_its_status_and_attempts_are_limited() {
    let server = server();
    server.faults(|faults| faults.refuse_upgrades = Some(RefuseUpgrades::with(503)));
    let mut watch = Watch::json(&server.plain_url("/"), &["--no-stdin", "--max-attempts", "1"]);
    assert_eq!(watch.state("Disconnected").await["source"]["http_status"], 503);
    assert_eq!(watch.end().await.0, 3);

    let url = server.plain_url("/");
    for options in [&["--no-recover"][..], &["--retry-initial", "no"]] {
        let (code, ..) = Watch::json(&url, &[&["--no-stdin"], options].concat()).end().await;
        assert_eq!(code, 3, "{options:?}");
    }
}

#[tokio::test]
async fn pongs_are_shown_and_a_missing_one_disconnects() {
    let server = server();
    let proxy = Proxy::start(server.plain_addr()).unwrap();
    let url = format!("ws://{}/echo", proxy.addr());
    let options = ["--no-stdin", "--ping-interval", "200ms", "--pong-timeout", "100ms"];
    let mut watch = Watch::json(&url, &options);
    watch.state("Connected").await;
    let health = watch.until("a pong", |o| o["kind"] == "health").await;
    assert!(health["rtt_ms"].as_f64().unwrap() < 100.0, "{health}");
    proxy.set_all(Mode::Blackhole).unwrap();
    assert_eq!(watch.state("Disconnected").await["source"]["kind"], "NoPongReceived");
}

#[tokio::test]
async fn the_first_frame_authenticates_and_json_pings_are_answered() {
    let server = server();
    let options = [
        "--auth",
        r#"{"type":"auth","token":"ann"}"#,
        "--connected-on",
        "health-check",
        "--ping",
        "json",
        "--ping-interval",
        "300ms",
        "--pong-timeout",
        "200ms",
    ];
    let mut watch = Watch::json(&server.plain_url("/room"), &options);
    watch.state("Authenticating").await;
    assert_eq!(watch.state("Connected").await["connection_id"], "conn-1");
    watch.until("a pong", |o| o["kind"] == "health").await;
    drop(watch.stdin.take());
    assert_eq!(watch.end().await.0, 0);
    assert_eq!(server.record().connections[0].participant.as_deref(), Some("ann"));
}

#[tokio::test]
async fn an_announced_error_is_the_reason_of_the_close_that_follows() {
    let server = Server::start(ServerOptions::default()).unwrap();
    let auth = r#"{"type":"auth","token":"forged"}"#;
    let options = ["--no-stdin", "--auth", auth, "--connected-on", "health-check"];
    let mut watch = Watch::json(&server.plain_url("/room"), &options);
    let source = watch.state("Disconnected").await["source"].clone();
    assert_eq!(source["api_code"], 43, "{source}");
    assert_eq!(watch.end().await.0, 3);
}

#[cfg(unix)]
#[tokio::test]
async fn signals_end_gracefully() {
    let server = server();
    for name in ["INT", "TERM"] {
        let mut watch = Watch::json(&server.plain_url("/echo"), &["--no-stdin"]);
        watch.state("Connected").await;
        watch.signal(name).await;
        assert_eq!(watch.end().await.0, 0, "{name}");
    }
    let record = server.until(|record| record.open() == 0 && record.connections.len() == 2).await;
    assert!(record.connections.iter().all(|c| matches!(c.ending, Ending::Client { code: 1000, .. })));
}

#[cfg(unix)]
#[tokio::test]
async fn a_reader_that_goes_away_is_a_graceful_end() {
    let server = server();
    for options in [&["--json", "--no-stdin"][..], &["--no-stdin"]] {
        let mut watch = Watch::start(&server.plain_url("/echo"), options);
        let open = server.until(|record| record.open() == 1).await.connections.len();
        drop(watch.lines);
        // What cannot be printed is how the program notices.
        server.say("is anybody there?");
        let status = tokio::time::timeout(PATIENCE, watch.child.wait()).await.expect("the program ends");
        assert_eq!(status.unwrap().code(), Some(0), "{options:?}");
        let record = server.until(|record| record.open() == 0).await;
        let ending = &record.connections[open - 1].ending;
        assert!(matches!(ending, Ending::Client { code: 1000, .. }), "{ending:?}");
    }
}
