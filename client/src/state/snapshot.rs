//! What a client tells about itself.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::{ConnectionState, DisconnectionSource};

/// What a client is at a moment: the state, and the facts that a decision needs beside it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// The state.
    pub state: ConnectionState,
    /// Which attempt this is about; the first is 1, and 0 means that there was none.
    pub generation: u64,
    /// Whether the user wants a connection: `true` from `connect` until `disconnect`. Recovery acts only
    /// while it is.
    pub wanted: bool,
    /// Whether the client was ever connected, the state `Connected` included, which a watcher may have missed.
    pub ever_connected: bool,
    /// Our address of the live connection, where the engine knows it.
    pub local_addr: Option<SocketAddr>,
    /// The peer's address of the live connection, where the engine knows it.
    pub peer_addr: Option<SocketAddr>,
    /// Whether this client can open a second connection beside the live one, to put it in its place.
    pub can_replace: bool,
    /// The server has announced that it will end the live connection, in so much time; zero when it did not say.
    pub going_away: Option<Duration>,
    /// What became of the latest try to replace the live connection.
    pub replacement: Replacement,
}

/// The latest try to replace a connection by a newer one, which is made and authenticated beside it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Replacement {
    /// There was none, or the connection is its outcome.
    #[default]
    None,
    /// The newer one is being made.
    UnderWay {
        /// Which attempt it is.
        generation: u64,
    },
    /// It failed; the connection is the old one still.
    Failed {
        /// Which attempt it was.
        generation: u64,
        /// How it ended.
        source: Arc<DisconnectionSource>,
    },
}

impl Snapshot {
    /// The snapshot of a client that was never connected.
    pub const fn initialized() -> Self {
        Self::new(ConnectionState::Initialized, 0, false)
    }

    /// A snapshot of a state, for clients that are not ours and for tests.
    pub const fn new(state: ConnectionState, generation: u64, wanted: bool) -> Self {
        Self {
            state,
            generation,
            wanted,
            ever_connected: false,
            local_addr: None,
            peer_addr: None,
            can_replace: false,
            going_away: None,
            replacement: Replacement::None,
        }
    }

    /// With whether the client was ever connected. Where a client that is not ours does not say, what recovery has seen
    /// of it counts.
    #[must_use]
    pub const fn with_ever_connected(mut self, ever_connected: bool) -> Self {
        self.ever_connected = ever_connected;
        self
    }

    /// With the local address of the live connection.
    #[must_use]
    pub const fn with_local_addr(mut self, local_addr: SocketAddr) -> Self {
        self.local_addr = Some(local_addr);
        self
    }

    /// With the ability to replace a live connection.
    #[must_use]
    pub const fn with_can_replace(mut self, can_replace: bool) -> Self {
        self.can_replace = can_replace;
        self
    }

    /// With the server's announcement that it will end the connection, in so much time.
    #[must_use]
    pub const fn with_going_away(mut self, notice: Duration) -> Self {
        self.going_away = Some(notice);
        self
    }

    /// With what became of the latest try to replace the connection.
    #[must_use]
    pub fn with_replacement(mut self, replacement: Replacement) -> Self {
        self.replacement = replacement;
        self
    }
}
