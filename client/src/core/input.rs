//! What the lifecycle is told, and what it answers.

use std::{net::SocketAddr, time::Duration};

use everwire_engine::{CloseFrame, EngineError};

use crate::{ApiError, AttemptStage, AuthenticationError, DisconnectionSource, HealthCheckInfo, Snapshot};

/// One fact or wish. Those about a connection carry its generation.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// The user wants a connection.
    Connect,
    /// The user wants none, and the frame says so to the peer.
    Disconnect(CloseFrame),
    /// Recovery wants another attempt, if the user still wants a connection.
    Reconnect,
    /// Recovery wants this connection to end.
    DisconnectSystem(CloseFrame),
    /// Recovery knows that the path of this connection is dead: as above, without a close handshake that nobody would
    /// hear.
    Abandon { generation: u64 },
    /// Recovery wants a newer connection beside this one, to put it in its place.
    Replace,
    /// The dial has come to another stage, which a deadline is to name that passes now.
    Reached { generation: u64, stage: AttemptStage },
    /// The engine opened the connection.
    Opened { generation: u64, local_addr: Option<SocketAddr>, peer_addr: Option<SocketAddr> },
    /// The engine could not.
    OpenFailed { generation: u64, error: EngineError },
    /// `on_connection_established` is done.
    Established { generation: u64 },
    /// Credentials could not be produced, or are refused.
    AuthenticationFailed { generation: u64, error: AuthenticationError },
    /// An event carried health-check info; in `Connected` this is a pong.
    HealthCheck { generation: u64, info: HealthCheckInfo },
    /// An event carried an error. It closes the connection, but what has arrived is read first.
    ErrorAnnounced { generation: u64, error: ApiError },
    /// The server announced that it will end this connection, in so much time.
    GoingAway { generation: u64, notice: Duration },
    /// Everything that had arrived is read. The frame is the one to close with, if it comes to that.
    Drained { generation: u64, frame: CloseFrame },
    /// Everything that was queued is flushed.
    Flushed { generation: u64 },
    /// The peer closed, the stream ended, or the transport failed.
    Ended { generation: u64, close: Option<CloseFrame>, error: Option<EngineError> },
    /// A pong was due and did not come.
    NoPong { generation: u64, frame: CloseFrame },
    /// Time has passed.
    Timeout,
}

impl Input {
    /// The generation that the input is about, for those about a connection.
    pub(super) const fn generation(&self) -> Option<u64> {
        match self {
            Self::Connect
            | Self::Disconnect(_)
            | Self::Reconnect
            | Self::DisconnectSystem(_)
            | Self::Replace
            | Self::Timeout => None,
            Self::Abandon { generation }
            | Self::Reached { generation, .. }
            | Self::Opened { generation, .. }
            | Self::OpenFailed { generation, .. }
            | Self::Established { generation }
            | Self::AuthenticationFailed { generation, .. }
            | Self::HealthCheck { generation, .. }
            | Self::ErrorAnnounced { generation, .. }
            | Self::GoingAway { generation, .. }
            | Self::Drained { generation, .. }
            | Self::Flushed { generation }
            | Self::Ended { generation, .. }
            | Self::NoPong { generation, .. } => Some(*generation),
        }
    }
}

/// What the driver is to do. All are about the current generation, but for those that name the successor.
#[derive(Clone, Debug)]
pub(crate) enum Output {
    /// The state changed: store it, announce it.
    Changed(Snapshot),
    /// No change of state, but one to be known: of the user's intent, of a replacement. Store it.
    Noted(Snapshot),
    /// Dial.
    Open { generation: u64 },
    /// Run `on_connection_established`.
    Establish,
    /// The connection is fully established: run `on_connected`, let queued messages flow.
    Connected,
    /// A pong came, as an event.
    Pong,
    /// Take no more messages. With `flush`, say [`Input::Flushed`] when what is queued has left.
    Close { frame: CloseFrame, flush: bool },
    /// Send the close frame now.
    SendClose,
    /// Release the socket, or the dial, at once.
    Drop,
    /// A `connect` that was queued behind the close will not happen.
    Refused(DisconnectionSource),
    /// Dial a successor beside the connection.
    OpenSuccessor { generation: u64 },
    /// Run `on_connection_established` for the successor.
    EstablishSuccessor,
    /// Release the successor at once; the connection is not concerned.
    DropSuccessor,
    /// The successor has ended before it took the connection's place: say so.
    ReplacementFailed { generation: u64, source: DisconnectionSource },
    /// Hand no more messages to the connection, and say [`Input::Flushed`] when what it has is flushed.
    HoldQueue,
    /// Send the close frame of a replaced connection, end its hooks, and read it to the end.
    CloseReplaced,
    /// The hand-over is given up: messages flow to the connection again.
    ResumeQueue,
    /// The connection is drained: release it. The successor is the connection.
    Switched { old: u64, new: u64 },
    /// The connection is released already, and the successor is the attempt under way.
    Promoted,
    /// The attempt is over, or there was none: settle who waits for the end.
    Closed(Closed),
}

/// How an attempt ended.
#[derive(Clone, Debug)]
pub(crate) struct Closed {
    pub(crate) generation: u64,
    pub(crate) source: DisconnectionSource,
    /// The peer's close frame, when it answered ours.
    pub(crate) received: Option<CloseFrame>,
}
