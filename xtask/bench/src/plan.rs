//! What is measured, in groups: the entries of a group alternate, and its rows are what is asked of them.

use crate::task::{Contender, Delivery, Work};

/// Samples that are compared with each other.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) entries: Vec<Entry>,
    pub(crate) rows: Vec<Row>,
    /// How many rounds, of those that were asked for; memory and counts hardly vary.
    pub(crate) rounds: usize,
    /// What is compared when it is a series: see [`crate::report`].
    pub(crate) axis: Option<Axis>,
}

/// One contender at one work.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) contender: Contender,
    pub(crate) work: Work,
    pub(crate) how: How,
}

/// How a child is started.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum How {
    /// On a core of its own.
    Plain,
    /// On the core of the server.
    SameCore,
    /// With the allocator that counts.
    Heap,
    /// Under `strace`, which counts the calls that read a socket.
    Strace,
}

/// What is asked of a group.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) measure: &'static str,
    pub(crate) of: usize,
    /// Divided by this entry's; alone otherwise.
    pub(crate) against: Option<usize>,
    pub(crate) goal: Goal,
    pub(crate) unit: Unit,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
    /// Measured for information.
    None,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unit {
    Ratio,
    Kilobytes,
    Share,
    Count,
    Crates,
}

/// What a series of entries varies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Axis {
    Connections,
    Size,
    Subscribers,
}

const ALWAYS: usize = usize::MAX;

impl Group {
    fn new(name: &'static str, rounds: usize) -> Self {
        Self { name, entries: Vec::new(), rows: Vec::new(), rounds, axis: None }
    }

    fn entry(mut self, contender: Contender, work: Work) -> Self {
        self.entries.push(Entry { contender, work, how: How::Plain });
        self
    }

    fn how(mut self, how: How) -> Self {
        self.entries.iter_mut().for_each(|entry| entry.how = how);
        self
    }

    /// A ratio of two entries.
    fn ratio(
        mut self,
        name: &'static str,
        measure: &'static str,
        of: usize,
        against: usize,
        goal: Goal,
    ) -> Self {
        self.rows.push(Row { name, measure, of, against: Some(against), goal, unit: Unit::Ratio });
        self
    }

    fn value(mut self, name: &'static str, measure: &'static str, of: usize, goal: Goal, unit: Unit) -> Self {
        self.rows.push(Row { name, measure, of, against: None, goal, unit });
        self
    }
}

/// Everything, in the order in which it is run.
pub(crate) fn plan() -> Vec<Group> {
    vec![
        receive_flood(),
        receive_paced("receive 64 B, 1 M/s", 64, 1_000_000, 0.85, Goal::None),
        receive_paced("receive 1 KiB, 300 k/s", 1024, 300_000, 1.0, Goal::AtMost(1.05)),
        receive_large(),
        hold(),
        json(),
        send(),
        echo(),
        idle(),
        idle_tls(),
        burst(),
        behind(),
        churn(),
        resumption(),
        allocations(),
        connections(),
        sizes(),
        subscribers(),
        pings(),
    ]
}

use Contender::{
    Bare, Control, Engine, Everwire, Ezsockets, Fastwebsockets, Firehose, ManyIdle, NodeWs, PythonWebsockets,
    TokioWebsockets, Yawc,
};
use Delivery::{Inline, Task};

const fn flood(size: usize, count: u64, delivery: Delivery) -> Work {
    Work::Receive { size, count, rate: None, delivery }
}

fn receive_flood() -> Group {
    let count = 4_000_000;
    Group::new("receive 64 B, flood", ALWAYS)
        .entry(Bare, flood(64, count, Inline))
        .entry(Everwire, flood(64, count, Inline))
        .entry(Everwire, flood(64, count, Task))
        .entry(Control, flood(64, count, Inline))
        .entry(Ezsockets, flood(64, count / 4, Inline))
        .entry(Engine, flood(64, count, Inline))
        .entry(TokioWebsockets, flood(64, count, Inline))
        .entry(Fastwebsockets, flood(64, count, Inline))
        .entry(Yawc, flood(64, count, Inline))
        .entry(Bare, flood(64, count / 2, Task))
        .entry(NodeWs, flood(64, count / 10, Inline))
        .entry(PythonWebsockets, flood(64, count / 200, Inline))
        .ratio("receive 64 B, flood, inline handler", "cpu_ns", 1, 0, Goal::AtMost(0.85))
        .ratio("receive 64 B, flood, stream in another task", "cpu_ns", 2, 0, Goal::AtMost(1.0))
        .ratio("receive 64 B, flood, against ezsockets", "cpu_ns", 1, 4, Goal::AtMost(0.2))
}

fn receive_paced(name: &'static str, size: usize, rate: u64, inline: f64, task: Goal) -> Group {
    let work = |delivery| Work::Receive { size, count: rate / 2, rate: Some(rate), delivery };
    let (inline_name, task_name) = if size == 64 {
        ("receive 64 B, 1 M/s, inline handler", "receive 64 B, 1 M/s, stream in another task")
    } else {
        ("receive 1 KiB, 300 k/s, inline handler", "receive 1 KiB, 300 k/s, stream in another task")
    };
    Group::new(name, ALWAYS)
        .entry(Bare, work(Inline))
        .entry(Everwire, work(Inline))
        .entry(Everwire, work(Task))
        .entry(Control, work(Inline))
        .entry(Firehose, work(Inline))
        .ratio(inline_name, "cpu_ns", 1, 0, Goal::AtMost(inline))
        .ratio(task_name, "cpu_ns", 2, 0, task)
}

fn receive_large() -> Group {
    let work = || flood(1 << 20, 600, Inline);
    Group::new("receive 1 MiB", ALWAYS)
        .entry(Bare, work())
        .entry(Everwire, work())
        .entry(Control, work())
        .entry(Firehose, work())
        .ratio("receive 1 MiB, inline handler", "cpu_ns", 1, 0, Goal::AtMost(1.05))
}

fn hold() -> Group {
    let work = || Work::Hold { size: 1024, count: 150_000 };
    Group::new("150,000 x 1 KiB held in a queue", 3)
        .entry(Bare, work())
        .entry(Everwire, work())
        .entry(Control, work())
        .how(How::Strace)
        .ratio("recv calls for 150,000 x 1 KiB held in a queue", "calls", 1, 0, Goal::AtMost(0.1))
}

fn json() -> Group {
    let work = || Work::Json { count: 300_000 };
    Group::new("receive 500 B JSON", ALWAYS)
        .entry(Bare, work())
        .entry(Everwire, work())
        .entry(Control, work())
        .ratio("receive 500 B JSON, typed events through the stream", "cpu_ns", 1, 0, Goal::AtMost(1.05))
}

fn send() -> Group {
    let work = |count| Work::Send { size: 64, count };
    let count = 2_000_000;
    Group::new("send 64 B", ALWAYS)
        .entry(Bare, work(count))
        .entry(Everwire, work(count))
        .entry(Control, work(count))
        .entry(Ezsockets, work(count / 10))
        .entry(TokioWebsockets, work(count))
        .entry(Fastwebsockets, work(count / 10))
        .entry(Yawc, work(count))
        .entry(NodeWs, work(count / 20))
        .entry(PythonWebsockets, work(count / 100))
        .ratio("send 64 B from a handle, outcomes tracked", "cpu_ns", 1, 0, Goal::AtMost(1.5))
        .ratio("send 64 B, against ezsockets", "cpu_ns", 1, 3, Goal::AtMost(0.15))
}

fn echo() -> Group {
    let work = |delivery| Work::Echo { count: 30_000, delivery };
    Group::new("echo round trip, same core", ALWAYS)
        .entry(Bare, work(Inline))
        .entry(Everwire, work(Inline))
        .entry(Everwire, work(Task))
        .entry(Control, work(Inline))
        .entry(TokioWebsockets, work(Inline))
        .how(How::SameCore)
        .ratio("echo round trip, p50", "p50_ns", 1, 0, Goal::AtMost(1.05))
        .ratio("echo round trip, p99", "p99_ns", 1, 0, Goal::AtMost(1.05))
        .ratio("echo round trip, p50, stream in another task", "p50_ns", 2, 0, Goal::None)
        .ratio("echo round trip, p99, stream in another task", "p99_ns", 2, 0, Goal::None)
}

fn idle() -> Group {
    let work = || Work::Idle { connections: 2000, tls: false, burst: false };
    Group::new("idle memory", 3)
        .entry(Bare, work())
        .entry(Everwire, work())
        .entry(ManyIdle, work())
        .entry(Firehose, work())
        .entry(Engine, work())
        .entry(TokioWebsockets, work())
        .entry(Fastwebsockets, work())
        .entry(Yawc, work())
        .value("idle memory per connection", "resident", 1, Goal::AtMost(20.0), Unit::Kilobytes)
        .value("idle memory, many_idle", "resident", 2, Goal::AtMost(8.0), Unit::Kilobytes)
        .value("idle memory, firehose", "resident", 3, Goal::None, Unit::Kilobytes)
}

fn idle_tls() -> Group {
    let work = || Work::Idle { connections: 1000, tls: true, burst: false };
    Group::new("idle memory, TLS", 3)
        .entry(Bare, work())
        .entry(Everwire, work())
        .entry(ManyIdle, work())
        .value("idle memory per connection, TLS", "resident", 1, Goal::AtMost(30.0), Unit::Kilobytes)
        .value("idle memory, TLS, many_idle", "resident", 2, Goal::None, Unit::Kilobytes)
}

fn burst() -> Group {
    let work = || Work::Idle { connections: 64, tls: false, burst: true };
    Group::new("after one message of 1 MiB", 3)
        .entry(Bare, work())
        .entry(Everwire, work())
        .entry(TokioWebsockets, work())
        .entry(Fastwebsockets, work())
        .entry(Yawc, work())
        .how(How::Heap)
        .value("memory after one message of 1 MiB", "heap", 1, Goal::AtMost(64.0), Unit::Kilobytes)
}

fn behind() -> Group {
    let work = || Work::Behind { count: 500_000 };
    Group::new("500,000 messages behind", 3)
        .entry(Bare, work())
        .entry(Everwire, work())
        .entry(Control, work())
        .ratio("slow consumer, 500,000 behind, peak memory", "peak", 1, 0, Goal::AtMost(1.2))
}

fn churn() -> Group {
    let work = || Work::Churn { connections: 3000, tls: false };
    Group::new("connect, upgrade, close", ALWAYS)
        .entry(Bare, work())
        .entry(Everwire, work())
        .entry(Control, work())
        .entry(Engine, work())
        .ratio("connect + upgrade + close per second", "per_s", 1, 0, Goal::AtLeast(2.0))
        .ratio("the same, the engine alone", "per_s", 3, 0, Goal::None)
}

fn resumption() -> Group {
    let work = || Work::Churn { connections: 300, tls: true };
    Group::new("TLS reconnects", 3).entry(Bare, work()).entry(Engine, work()).value(
        "TLS reconnects that resume",
        "resumed",
        1,
        Goal::AtLeast(1.0),
        Unit::Share,
    )
}

fn allocations() -> Group {
    let work = |sent| Work::Allocations { count: 1_000_000, sent };
    Group::new("allocations", 1)
        .entry(Everwire, work(false))
        .entry(Everwire, work(true))
        .how(How::Heap)
        .value("allocations per received message", "allocations", 0, Goal::AtMost(0.0), Unit::Count)
        .value("allocations per sent message", "allocations", 1, Goal::AtMost(0.0), Unit::Count)
}

fn pings() -> Group {
    let work = Work::Pings { connections: 10_000, interval: 25.0, seconds: 25.0 };
    Group::new("10,000 idle connections, a ping every 25 s", 1).entry(Everwire, work).value(
        "CPU of 10,000 idle connections, pings every 25 s",
        "share",
        0,
        Goal::AtMost(0.01),
        Unit::Share,
    )
}

fn connections() -> Group {
    let mut group = Group::new("over so many connections", 3);
    group.axis = Some(Axis::Connections);
    for connections in [1, 10, 100, 1000, 10_000] {
        for contender in [Bare, Everwire, ManyIdle] {
            group = group.entry(contender, Work::Many { connections, count: 1_000_000 });
        }
    }
    group
}

fn sizes() -> Group {
    let mut group = Group::new("messages of so many bytes", 3);
    group.axis = Some(Axis::Size);
    for power in (4..=24).step_by(2) {
        let size = 1_usize << power;
        let count = (200_000_000 / (size as u64 + 400)).clamp(20, 1_000_000);
        for contender in [Bare, Everwire, Firehose] {
            group = group.entry(contender, flood(size, count, Inline));
        }
    }
    group
}

fn subscribers() -> Group {
    let mut group = Group::new("to so many subscribers", 3);
    group.axis = Some(Axis::Subscribers);
    for power in 0..=6 {
        let subscribers = 1_usize << power;
        group = group.entry(Everwire, Work::Fan { subscribers, count: 2_000_000 / subscribers as u64 });
    }
    group
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_asks_for_entries_that_there_are() {
        for group in plan() {
            for row in &group.rows {
                let most = group.entries.len();
                assert!(row.of < most && row.against.is_none_or(|against| against < most), "{}", row.name);
            }
        }
    }
}
