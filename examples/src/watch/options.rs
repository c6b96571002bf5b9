//! The command line of `watch`.

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum, error::ErrorKind};
use everwire_client::ConnectRequest;
use everwire_ping::PingConfig;

use crate::cli::parse_duration;

/// Connects to a WebSocket endpoint and shows what a resilient client sees and decides.
///
/// Each line on standard input is sent as a text message. End of input, Ctrl-C and SIGTERM end gracefully.
/// Exit code: 0 after a graceful end, 2 for bad options, 3 when there is no hope of a connection.
#[derive(Clone, Debug, Parser)]
#[command(name = "watch", version, max_term_width = 100)]
pub(super) struct Options {
    /// The endpoint: ws:// or wss://
    pub(super) url: String,
    /// Send this as the first frame, while authenticating
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(super) auth: Option<String>,
    /// What makes a connection count as established
    #[arg(long, value_name = "WHEN", value_enum, default_value = "open")]
    pub(super) connected_on: ConnectedOn,
    /// What is sent as a ping: a health check event, a protocol ping, or nothing
    #[arg(long, value_name = "FORM", value_enum, default_value = "frame")]
    pub(super) ping: Ping,
    /// How often to ping
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "25s")]
    pub(super) ping_interval: Duration,
    /// How long a pong may take; shorter than the interval
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "3s")]
    pub(super) pong_timeout: Duration,
    /// Add a header to the upgrade (repeatable)
    #[arg(long, value_name = "NAME: VALUE", value_parser = parse_header)]
    pub(super) header: Vec<(String, String)>,
    /// Offer a subprotocol (repeatable)
    #[arg(long, value_name = "NAME")]
    pub(super) subprotocol: Vec<String>,
    /// Trust this certificate authority too (PEM)
    #[arg(long, value_name = "FILE")]
    pub(super) ca: Option<PathBuf>,
    /// Do not reconnect: the first disconnection is the end (exit code 3)
    #[arg(long)]
    pub(super) no_recover: bool,
    /// Whether the first attempt ever is retried when it fails
    #[arg(long, value_name = "YES|NO", value_enum, default_value = "yes")]
    pub(super) retry_initial: YesNo,
    /// Give up after so many retries in one outage; unlimited by default
    #[arg(long, value_name = "N")]
    pub(super) max_attempts: Option<NonZeroU32>,
    /// The seed of the delays: the same seed gives the same delays
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<u64>,
    /// Do not read standard input; run until a signal
    #[arg(long)]
    pub(super) no_stdin: bool,
    /// Print one JSON object per line
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum ConnectedOn {
    /// The open socket, once the first frame is sent
    Open,
    /// The first event with a connection id, or of the type health.check
    HealthCheck,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Ping {
    Json,
    Frame,
    None,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum YesNo {
    Yes,
    No,
}

/// Options that make sense together.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) options: Options,
    pub(super) request: ConnectRequest,
    pub(super) ping: PingConfig,
    pub(super) ca: Option<Vec<u8>>,
}

/// Why the program does not start.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Refusal {
    /// `--help` or `--version`: this text was asked for.
    Asked(String),
    /// One sentence.
    Bad(String),
}

impl Refusal {
    fn bad(error: impl std::error::Error) -> Self {
        Self::Bad(super::line::with_causes(&error))
    }
}

/// Reads the command line.
pub(super) fn parse<I>(arguments: I) -> Result<Checked, Refusal>
where
    I: IntoIterator,
    I::Item: Into<std::ffi::OsString> + Clone,
{
    let options = Options::try_parse_from(arguments).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Refusal::Asked(error.to_string()),
        _ => Refusal::Bad(one_sentence(&error)),
    })?;
    check(options)
}

/// The first paragraph of clap's message, on one line; usage and tips are for `--help`.
fn one_sentence(error: &clap::Error) -> String {
    let text = error.to_string();
    let paragraph = text.trim_start_matches("error: ").lines().take_while(|line| !line.trim().is_empty());
    paragraph.map(str::trim).collect::<Vec<_>>().join(" ")
}

fn check(options: Options) -> Result<Checked, Refusal> {
    let mut request = ConnectRequest::new(&options.url).map_err(Refusal::bad)?;
    for (name, value) in &options.header {
        request = request.header(name, value).map_err(Refusal::bad)?;
    }
    for name in &options.subprotocol {
        request = request.subprotocol(name).map_err(Refusal::bad)?;
    }
    let ping = match options.ping {
        // Nothing is sent, so the intervals mean nothing.
        Ping::None => PingConfig::default(),
        Ping::Json | Ping::Frame => PingConfig::builder()
            .interval(options.ping_interval)
            .pong_timeout(options.pong_timeout)
            .build()
            .map_err(|error| Refusal::Bad(format!("--ping-interval and --pong-timeout: {error}")))?,
    };
    let ca = match &options.ca {
        None => None,
        Some(path) => Some(std::fs::read(path).map_err(|error| {
            Refusal::Bad(format!("the certificate authority {} cannot be read: {error}", path.display()))
        })?),
    };
    Ok(Checked { options, request, ping, ca })
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or_else(|| "a header is written as 'Name: value', with a colon".to_owned())?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad(arguments: &[&str]) -> String {
        match parse(std::iter::once(&"watch").chain(arguments)) {
            Err(Refusal::Bad(sentence)) => sentence,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        for (arguments, word) in [
            (&[][..], "<URL>"),
            (&["http://a"], "ws or wss"),
            (&["nonsense"], "ws://"),
            (&["ws://a", "--ping", "smoke"], "possible values: json, frame, none"),
            (&["ws://a", "--ping-interval", "5"], "no unit"),
            (&["ws://a", "--ping-interval", "3s"], "--ping-interval"),
            (&["ws://a", "--header", "x"], "colon"),
            (&["ws://a", "--header", "Host: x"], "host"),
            (&["ws://a", "--subprotocol", "a b"], "subprotocol"),
            (&["ws://a", "--ca", "/nowhere/ca.pem"], "/nowhere/ca.pem"),
            (&["ws://a", "--max-attempts", "0"], "--max-attempts"),
            (&["ws://a", "--nonsense"], "--nonsense"),
            (&["ws://a", "ws://b"], "ws://b"),
        ] {
            let sentence = bad(arguments);
            assert!(sentence.contains(word) && !sentence.contains('\n'), "{arguments:?}: {sentence}");
        }
    }

    #[test]
    fn an_error_shows_no_secret_of_the_url() {
        let sentence = bad(&["http://user:s3cret@a/?token=s3cret"]);
        assert!(!sentence.contains("s3cret"), "{sentence}");
    }

    #[test]
    fn the_defaults_are_those_of_the_boxes() {
        let checked = parse(["watch", "ws://a"]).unwrap();
        assert_eq!(checked.options.ping_interval, PingConfig::default().interval());
        assert_eq!(checked.options.pong_timeout, PingConfig::default().pong_timeout());
        assert!(matches!(parse(["watch", "--help"]), Err(Refusal::Asked(_))));
    }
}
