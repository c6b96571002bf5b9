//! Follows every change of a client's state, and says what cannot be: one way round, and each attempt ends once.

use everwire_client::{ClientEvent, ConnectionState, Snapshot, Subscription};

use crate::{ledger::Ledger, plant::Plant, protocol::Down};

/// Watches until the client has ended.
pub(crate) async fn watch(mut events: Subscription<Down>, name: String, ledger: Ledger, plant: Plant) {
    let mut way = Way::default();
    while let Some(event) = events.recv().await {
        let ClientEvent::State(snapshot) = event else { continue };
        let source = snapshot.state.source().map(ToString::to_string).unwrap_or_default();
        tracing::info!(client = name, generation = snapshot.generation, source, "{}", snapshot.state.name());
        if snapshot.state.is_connected() {
            ledger.page().connections += 1;
        }
        let times = if plant == Plant::EndsTwice { 2 } else { 1 };
        for _ in 0..times {
            if let Err(why) = way.go(&snapshot) {
                ledger.violation(why);
            }
        }
    }
    if let Err(why) = way.end() {
        ledger.violation(why);
    }
}

/// Where on its way a client is.
#[derive(Debug, Default)]
struct Way {
    generation: u64,
    /// The name of the last state.
    at: Option<&'static str>,
}

impl Way {
    fn go(&mut self, snapshot: &Snapshot) -> Result<(), String> {
        let to = snapshot.state.name();
        let (generation, from) = (snapshot.generation, self.at);
        let is_next = generation == self.generation + 1;
        let is_same = generation == self.generation;
        let legal = match (from, &snapshot.state) {
            (None | Some("Disconnected"), ConnectionState::Connecting) => is_next,
            (Some("Connecting"), ConnectionState::Authenticating)
            | (Some("Authenticating"), ConnectionState::Connected(_))
            | (
                Some("Connecting" | "Authenticating" | "Connected" | "Disconnecting"),
                ConnectionState::Disconnecting(_) | ConnectionState::Disconnected(_),
            ) => is_same,
            _ => false,
        };
        let before = self.generation;
        (self.generation, self.at) = (generation, Some(to));
        if legal {
            return Ok(());
        }
        Err(format!("{} of attempt {before} was followed by {to} of {generation}", from.unwrap_or("nothing")))
    }

    fn end(&self) -> Result<(), String> {
        match self.at {
            None | Some("Disconnected") => Ok(()),
            Some(at) => Err(format!("the client ended in {at}")),
        }
    }
}
