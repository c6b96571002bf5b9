//! What a child is told to measure, and what it answers: one line of JSON each way.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What was measured, by name: `cpu_ns` and `per_s` of an operation, and whatever else a work has to tell.
pub(crate) type Measures = BTreeMap<String, f64>;

/// One sample.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Task {
    pub(crate) contender: Contender,
    pub(crate) work: Work,
    pub(crate) server: Addresses,
}

/// Where the server listens.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Addresses {
    pub(crate) plain: u16,
    pub(crate) tls: u16,
    /// The authority of the server's certificate.
    pub(crate) authority: String,
}

/// Who is measured.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Contender {
    /// tokio-tungstenite and nothing else.
    Bare,
    /// The same once more: what it deviates is noise.
    Control,
    /// The whole client: pings, recovery and monitor are on.
    Everwire,
    /// The engine of it alone.
    Engine,
    /// The whole client, with the preset for a few busy connections.
    Firehose,
    /// The whole client, with the preset for many quiet ones.
    ManyIdle,
    TokioWebsockets,
    Fastwebsockets,
    Yawc,
    Ezsockets,
    NodeWs,
    PythonWebsockets,
}

impl Contender {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bare => "tokio-tungstenite",
            Self::Control => "control",
            Self::Everwire => "everwire",
            Self::Engine => "everwire-engine",
            Self::Firehose => "everwire firehose",
            Self::ManyIdle => "everwire many_idle",
            Self::TokioWebsockets => "tokio-websockets",
            Self::Fastwebsockets => "fastwebsockets",
            Self::Yawc => "yawc",
            Self::Ezsockets => "ezsockets",
            Self::NodeWs => "node ws",
            Self::PythonWebsockets => "python websockets",
        }
    }
}

/// How messages reach the application.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Delivery {
    /// In the task that reads: an inline handler, or the loop around the socket.
    Inline,
    /// In another task: a subscription, or a channel behind the loop.
    Task,
}

/// What is measured.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Work {
    /// The server says `count` messages of `size` bytes, as fast as it can or `rate` a second.
    Receive { size: usize, count: u64, rate: Option<u64>, delivery: Delivery },
    /// The same, and a consumer keeps all of them: how many calls of the system does reading take?
    Hold { size: usize, count: u64 },
    /// JSON becomes typed events, which another task gets where the contender has such.
    Json { count: u64 },
    /// Another task sends; whole client: and awaits each outcome.
    Send { size: usize, count: u64 },
    /// One message goes and comes back, then the next.
    Echo { count: u64, delivery: Delivery },
    /// Connections that do nothing: memory of each. `burst`: after one message of 1 MiB.
    Idle { connections: usize, tls: bool, burst: bool },
    /// Connections that do nothing but ping every `interval` seconds: CPU of all, for `seconds`.
    Pings { connections: usize, interval: f64, seconds: f64 },
    /// A consumer that reads nothing until `count` messages are there: peak memory.
    Behind { count: u64 },
    /// Connect, upgrade and close, 64 at a time.
    Churn { connections: u64, tls: bool },
    /// Messages over so many connections at once, `count` in all.
    Many { connections: usize, count: u64 },
    /// Messages to so many subscribers.
    Fan { subscribers: usize, count: u64 },
    /// Allocations for each message that is received or sent.
    Allocations { count: u64, sent: bool },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_survives_its_way_to_the_child() {
        let work = Work::Receive { size: 64, count: 10, rate: Some(5), delivery: Delivery::Task };
        let server = Addresses { plain: 1, tls: 2, authority: "x".to_owned() };
        let task = Task { contender: Contender::ManyIdle, work: work.clone(), server };
        let line = serde_json::to_string(&task).expect("it is plain data");
        let back: Task = serde_json::from_str(&line).expect("it was one");
        assert_eq!((back.contender, back.work), (task.contender, work));
    }
}
