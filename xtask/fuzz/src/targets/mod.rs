//! What is fuzzed: one function of bytes for each, which panics when something does not hold.
//!
//! The fuzzer calls them, and so does the test that replays the corpus (`examples/tests/corpus.rs`).

mod frames;
mod json;
#[path = "../../../../client/tests/world/mod.rs"]
mod world;

use std::time::{Duration, SystemTime};

use everwire_client::{
    ApiError, DisconnectionSource, EngineError, EventDecoder as _, Message, Refusal, ServerReason,
    stream::{StreamDecoder, StreamEvent, Timestamp},
};
use everwire_engine::fuzzing;
use everwire_recovery::{Decide as _, DecisionTable, Evidence, Verdict};

/// A name, and what it does with bytes.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// All of them. Each has a folder of its name under `xtask/fuzz/corpus`.
pub(crate) const TARGETS: &[Target] = &[
    ("connect_response", fuzzing::connect_response),
    ("socks_reply", fuzzing::socks_reply),
    ("upgrade_response", fuzzing::upgrade_response),
    ("url", |bytes| with_text(bytes, fuzzing::url)),
    ("proxy_environment", proxy_environment),
    ("frames", frames::frames),
    ("frames_deflate", frames::frames_deflate),
    ("deflate_answer", |bytes| with_text(bytes, fuzzing::deflate_answer)),
    ("json", json::json),
    ("stream", stream),
    ("timestamp", |bytes| with_text(bytes, timestamp)),
    ("api_error", api_error),
    ("retry_after", retry_after),
    ("netlink", netlink),
    ("story", |bytes| {
        world::run(world::Choices::bytes(bytes));
    }),
];

fn with_text(bytes: &[u8], target: fn(&str)) {
    if let Ok(text) = str::from_utf8(bytes) {
        target(text);
    }
}

/// Lines: the host that is asked about, then a value for each variable.
fn proxy_environment(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let mut lines = text.split('\n');
    let host = lines.next().unwrap_or_default();
    let names =
        ["NO_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "no_proxy", "https_proxy", "all_proxy"];
    let variables: Vec<_> = names.into_iter().zip(lines).collect();
    fuzzing::proxy_environment(&variables, host);
    if let Some((_, list)) = variables.first() {
        fuzzing::no_proxy(list, host);
    }
}

/// A message of Stream's: whatever it is, it decodes to the same twice, and what is rejected quotes nothing of it.
fn stream(bytes: &[u8]) {
    let decode = |message: &Message| StreamDecoder.decode(message);
    let binary = decode(&Message::binary(bytes.to_vec()));
    if let Ok(text) = str::from_utf8(bytes) {
        let from_text = decode(&Message::from(text.to_owned()));
        assert_eq!(format!("{from_text:?}"), format!("{binary:?}"), "text and binary are alike");
    }
    match binary {
        Ok(event) => {
            if let Some(StreamEvent::Other { event_type, raw, .. }) = event {
                assert_eq!(raw.as_str().as_bytes(), bytes);
                assert!(!event_type.is_empty() || raw.as_str().contains("type"));
            }
        }
        Err(error) => assert!(error.to_string().len() < 200, "a reject quotes the message: {error}"),
    }
}

/// RFC 3339: what is read lies in the years that four digits can say.
fn timestamp(text: &str) {
    const DAY: i128 = 86_400_000_000_000;
    if let Some(time) = Timestamp::parse(text) {
        let nanos = time.unix_nanos();
        assert!(nanos > -719_530 * DAY && nanos < 2_932_898 * DAY, "{text}: {nanos}");
        assert!(text.len() >= "2026-01-01T00:00:00Z".len());
        let _ = time.to_system_time();
    }
}

/// The body of a refused upgrade.
fn api_error(bytes: &[u8]) {
    if let Some(error) = ApiError::from_json(bytes) {
        assert!(error.message.len() <= bytes.len());
        let _ = (error.to_string(), format!("{error:?}"));
    }
}

/// What a server that refuses says in `Retry-After`: never less than nothing, never more than the cap.
fn retry_after(bytes: &[u8]) {
    let Ok(value) = http::HeaderValue::from_bytes(bytes) else { return };
    let headers = http::HeaderMap::from_iter([(http::header::RETRY_AFTER, value)]);
    let refusal = Refusal::new(http::StatusCode::SERVICE_UNAVAILABLE, headers, bytes::Bytes::new());
    let reason = ServerReason::engine_error(EngineError::refused(refusal));
    let source = DisconnectionSource::from(reason);
    let cap = Duration::from_secs(600);
    let mut evidence = Evidence::new(&source);
    evidence.wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    match DecisionTable::default().retry_after_cap(cap).decide(&evidence) {
        Verdict::Retry { not_before, .. } => assert!(not_before.is_none_or(|time| time <= cap)),
        other => panic!("503 is worth a retry: {other:?}"),
    }
}

/// What the kernel says of links, addresses and routes.
#[cfg(target_os = "linux")]
fn netlink(bytes: &[u8]) {
    everwire_netmon::fuzzing::netlink(bytes);
}

#[cfg(not(target_os = "linux"))]
fn netlink(_: &[u8]) {}
