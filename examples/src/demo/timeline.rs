//! What is printed: the timeline as it happens, then the tables, then what did not hold.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    cli::{Output, show_duration},
    clock,
};

/// A fault in the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    /// From its beginning until the last participant concerned knew.
    pub(super) noticed: Duration,
    /// From then until the last of them was back in the room.
    pub(super) back: Duration,
}

/// What a participant's messages came to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) sent: u64,
    pub(super) received: u32,
    pub(super) lost: u32,
    /// Handed to the application twice, or out of order.
    pub(super) wrong: u32,
    /// Came again after a resumption and was dropped.
    pub(super) dropped: u64,
}

#[derive(Debug, Default)]
struct Tables {
    rows: Vec<Row>,
    participants: Vec<(&'static str, Counts)>,
    broken: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Timeline {
    output: Output,
    started: Instant,
    tables: Mutex<Tables>,
}

impl Timeline {
    pub(super) fn new(output: Output) -> Self {
        Self { output, started: clock::now(), tables: Mutex::default() }
    }

    fn tables(&self) -> std::sync::MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the lines to come are to be read.
    pub(super) fn legend(&self) {
        if self.output.is_json() {
            return;
        }
        let paint = self.output.paint();
        for line in [
            "     time    who     what             why, and after which delay",
            "",
            "who   ann and ben talk; the faults happen at the server, or on the path between it and them",
            "what  FAULT: something breaks, and REPAIR: it works again (a fault without one is over at once)",
            "      Connecting, Authenticating, Connected, Disconnecting, Disconnected: the states of a client",
            "      connect, connect after, hold, stop, disconnect: what recovery decides",
            "      probe: recovery asks the peer for a sign of life, since it doubts the connection",
            "      not viable, viable: whether the connection's path can carry anything, as far as is known",
            "      error: what the server announced, or what the engine met",
            "      in the room: all is well again, and what was not confirmed is sent again",
            "why   the reason of a state or a decision; 197 ms: so long recovery waits until it tries again",
            "      all timings of the demo are shortened: by default recovery and health checks are more patient",
            "",
        ] {
            self.output.line(paint.dim(line));
        }
    }

    /// Something happened, to somebody.
    pub(super) fn note(&self, who: &str, what: &str, cause: &str, delay: Option<Duration>) {
        let elapsed = clock::now().saturating_duration_since(self.started);
        if self.output.is_json() {
            self.output.object(&json!({
                "ms": millis(elapsed), "kind": "event", "participant": who, "state": what, "cause": cause,
                "delay_ms": delay.map(millis),
            }));
            return;
        }
        let paint = self.output.paint();
        let padded = format!("{what:<16}");
        let shown = match what {
            "Connected" | "in the room" => paint.green(padded),
            "Disconnecting" | "Disconnected" => paint.red(padded),
            "FAULT" | "REPAIR" => paint.bold(padded),
            _ => padded,
        };
        let delay = delay.map(|delay| format!("  {}", show_duration(delay))).unwrap_or_default();
        let line = format!("{:>9.3} s  {who:<6}  {shown} {cause}{delay}", elapsed.as_secs_f64());
        self.output.line(line.trim_end());
    }

    pub(super) fn row(&self, row: Row) {
        self.tables().rows.push(row);
    }

    pub(super) fn participant(&self, name: &'static str, counts: Counts) {
        self.expect(counts.lost == 0, &format!("{name} received every message ({} lost)", counts.lost));
        self.expect(
            counts.wrong == 0,
            &format!("{name} received each once and in order ({} not)", counts.wrong),
        );
        self.tables().participants.push((name, counts));
    }

    /// Notes an expectation that did not hold.
    pub(super) fn expect(&self, holds: bool, what: &str) {
        if !holds {
            self.tables().broken.push(what.to_owned());
        }
    }

    pub(super) fn held(&self) -> bool {
        self.tables().broken.is_empty()
    }

    /// Prints the tables.
    pub(super) fn finish(&self) {
        let tables = self.tables();
        let took = clock::now().saturating_duration_since(self.started);
        if self.output.is_json() {
            for row in &tables.rows {
                self.output.object(&json!({
                    "kind": "fault", "fault": row.name, "notice_ms": millis(row.noticed),
                    "back_ms": millis(row.back),
                }));
            }
            for (name, c) in &tables.participants {
                self.output.object(&json!({
                    "kind": "participant", "participant": name, "sent": c.sent, "received": c.received,
                    "lost": c.lost, "duplicated": c.wrong, "dropped_duplicates": c.dropped,
                }));
            }
            self.output.object(&json!({
                "kind": "result", "held": tables.broken.is_empty(), "broken": tables.broken, "ms": millis(took),
            }));
            return;
        }
        let paint = self.output.paint();
        self.output.line("");
        self.output.line(paint.bold(format!("{:<44} {:>10} {:>10}", "fault", "to notice", "to be back")));
        for row in &tables.rows {
            let (noticed, back) = (show_duration(row.noticed), show_duration(row.back));
            self.output.line(format!("{:<44} {noticed:>10} {back:>10}", row.name));
        }
        self.output.line("");
        self.output.line(paint.bold(format!(
            "{:<12} {:>9} {:>9} {:>9} {:>11} {:>19}",
            "participant", "sent", "received", "lost", "duplicated", "duplicates dropped"
        )));
        for (name, c) in &tables.participants {
            self.output.line(format!(
                "{name:<12} {:>9} {:>9} {:>9} {:>11} {:>19}",
                c.sent, c.received, c.lost, c.wrong, c.dropped
            ));
        }
        self.output.line("");
        for broken in &tables.broken {
            self.output.line(paint.red(format!("did not hold: {broken}")));
        }
        if tables.broken.is_empty() {
            let all = format!("every expectation held, in {}", show_duration(took));
            self.output.line(paint.green(all));
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
