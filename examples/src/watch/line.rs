//! What `watch` prints: one line for each thing that happened.

use std::time::Duration;

use everwire_client::{
    ConnectionState, DisconnectionSource, EngineError, Message, SendOutcome, ServerReason, Snapshot, Stage,
};
use everwire_netmon::{NetworkStatus, Reachability};
use everwire_recovery::Decision;
use serde::Serialize;

use crate::cli::{Paint, show_duration};

/// A line, in the form that programs read. The form that people read is made from it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Line {
    State {
        state: &'static str,
        generation: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        connection_id: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        source: Option<Source>,
    },
    Decision {
        action: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        delay_ms: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cause: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        attempt: Option<u32>,
    },
    Network {
        status: &'static str,
    },
    Message {
        r#type: &'static str,
        len: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    },
    Sent {
        id: u64,
        outcome: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    Health {
        rtt_ms: f64,
    },
}

/// Why a connection is closed, each known fact apart.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Source {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    close_code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_code: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<&'static str>,
}

impl Source {
    fn new(source: &DisconnectionSource) -> Self {
        let server = source.server_reason();
        let stage = match source {
            DisconnectionSource::ConnectTimeout { stage } => Some(stage.name()),
            _ => server.and_then(|r| r.engine_error.as_ref()).map(|error| error.stage().name()),
        };
        let reason = match source {
            DisconnectionSource::ServerInitiated(reason) => in_words(reason),
            DisconnectionSource::AuthenticationFailed(error) => Some(with_causes(error)),
            DisconnectionSource::ConnectTimeout { stage } => Some(stage.to_string()),
            _ => None,
        };
        Self {
            kind: source.name(),
            close_code: server.and_then(close_code),
            reason,
            http_status: server.and_then(ServerReason::http_status),
            api_code: source.api_error().map(|error| error.code),
            stage,
        }
    }
}

/// The code of the close frame, or 1006 when an open connection ended without one. An attempt that never was
/// a WebSocket has no code.
fn close_code(reason: &ServerReason) -> Option<u16> {
    let was_open = reason.engine_error.as_ref().is_none_or(|error| error.stage() == Stage::Open);
    let announced = reason.close.is_none() && reason.api_error.is_some();
    (reason.close.is_some() || (was_open && !announced)).then(|| reason.close_code().get())
}

/// The reason as the server gave it, else what the engine met.
fn in_words(reason: &ServerReason) -> Option<String> {
    let close = reason.close.as_ref().map(|frame| frame.reason.to_string());
    let api = reason.api_error.as_ref().map(|error| error.message.clone());
    let engine = || reason.engine_error.as_ref().map(|error: &EngineError| with_causes(error));
    close.filter(|words| !words.is_empty()).or_else(|| api.filter(|words| !words.is_empty())).or_else(engine)
}

/// An error and what it came from, as one sentence.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |words, cause| {
        let cause = cause.to_string();
        // Some errors have their cause's words in their own.
        if words.contains(&cause) { words } else { format!("{words}: {cause}") }
    })
}

impl Line {
    pub(super) fn state(snapshot: &Snapshot) -> Self {
        let connection_id = match &snapshot.state {
            ConnectionState::Connected(info) => info.connection_id.clone(),
            _ => None,
        };
        Self::State {
            state: snapshot.state.name(),
            generation: snapshot.generation,
            connection_id,
            source: snapshot.state.source().map(Source::new),
        }
    }

    pub(super) fn decision(decision: &Decision) -> Self {
        let (cause, attempt) = match decision {
            Decision::Stop { reason, attempts, .. } => (Some(reason.to_string()), Some(*attempts)),
            other => (other.cause().map(|cause| cause.to_string()), other.attempt()),
        };
        Self::Decision { action: decision.name(), delay_ms: decision.delay().map(millis), cause, attempt }
    }

    pub(super) fn network(status: &NetworkStatus) -> Self {
        Self::Network {
            status: match status.reachability {
                Reachability::Online => "online",
                Reachability::Offline => "offline",
                _ => "unknown",
            },
        }
    }

    pub(super) fn message(message: &Message) -> Self {
        let text = message.as_text().map(str::to_owned);
        Self::Message { r#type: if text.is_some() { "text" } else { "binary" }, len: message.len(), text }
    }

    pub(super) fn sent(id: u64, outcome: SendOutcome) -> Self {
        let (outcome, reason) = match outcome {
            SendOutcome::Flushed => ("flushed", None),
            SendOutcome::NotSent(reason) => ("not_sent", Some(reason.to_string())),
            _ => ("maybe_sent", Some("the connection ended before the flush was confirmed".to_owned())),
        };
        Self::Sent { id, outcome, reason }
    }

    pub(super) fn not_sent(id: u64, reason: &str) -> Self {
        Self::Sent { id, outcome: "not_sent", reason: Some(reason.to_owned()) }
    }

    pub(super) fn health(rtt: Duration) -> Self {
        // Microseconds are exact in a double for centuries.
        Self::Health { rtt_ms: (rtt.as_secs_f64() * 1e6).round() / 1e3 }
    }

    /// The line for people, without its time.
    pub(super) fn show(&self, paint: Paint) -> String {
        match self {
            Self::State { state, generation, connection_id, source } => {
                let name = format!("{state:<15}");
                let name = match *state {
                    "Connected" => paint.green(name),
                    "Disconnecting" | "Disconnected" => paint.red(name),
                    _ => paint.yellow(name),
                };
                let mut shown = vec![name, format!("#{generation} ")];
                if let Some(id) = connection_id {
                    shown.push(format!("connection {id}"));
                }
                if let Some(source) = source {
                    shown.push(source.show());
                }
                shown.join(" ")
            }
            Self::Decision { action, delay_ms, cause, attempt } => {
                let mut shown = vec![format!("{:<15}", action.replace('_', " "))];
                if let Some(delay) = delay_ms.filter(|delay| *delay > 0) {
                    shown.push(show_duration(Duration::from_millis(delay)));
                }
                if let Some(attempt) = attempt.filter(|_| *action != "stop") {
                    shown.push(format!("(attempt {attempt}) "));
                }
                if let Some(cause) = cause {
                    shown.push(cause.replace('_', " "));
                }
                paint.bold(shown.join(" "))
            }
            Self::Network { status } => paint.dim(format!("network         {status}")),
            Self::Message { text: Some(text), .. } => format!("<- {text}"),
            Self::Message { r#type, len, .. } => format!("<- {type}, {len} bytes"),
            Self::Sent { id, outcome: "flushed", .. } => paint.dim(format!("-> #{id} flushed")),
            Self::Sent { id, outcome, reason } => {
                let outcome = outcome.replace('_', " ");
                paint.red(format!("-> #{id} {outcome}: {}", reason.as_deref().unwrap_or_default()))
            }
            Self::Health { rtt_ms } => paint.dim(format!("health          pong after {rtt_ms} ms")),
        }
    }
}

impl Source {
    fn show(&self) -> String {
        let mut facts = Vec::new();
        if let Some(status) = self.http_status {
            facts.push(format!("HTTP {status}"));
        }
        if let Some(code) = self.close_code {
            facts.push(format!("close code {code}"));
        }
        if let Some(code) = self.api_code {
            facts.push(format!("API error {code}"));
        }
        facts.extend(self.reason.clone());
        if facts.is_empty() { self.kind.to_owned() } else { format!("{}: {}", self.kind, facts.join(", ")) }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use everwire_client::AttemptStage;

    use super::*;

    #[test]
    fn a_timeout_has_its_stage_for_programs_and_the_setter_for_people() {
        let source = Source::new(&DisconnectionSource::ConnectTimeout { stage: AttemptStage::HealthCheck });
        assert_eq!(source.stage, Some("health check"));
        let shown = source.show();
        assert!(
            shown.starts_with("ConnectTimeout: no health check came (`authentication_timeout`"),
            "{shown}"
        );
    }
}
