#![doc = include_str!("../README.md")]

mod state;

pub use state::{
    ApiError, AttemptStage, AuthenticationError, AuthenticationErrorKind, ConnectionState,
    DisconnectionSource, HealthCheckInfo, ServerReason, Snapshot,
};

#[doc(no_inline)]
pub use everwire_engine::{CloseCode, CloseFrame, ConnectRequest, Engine, EngineError, Message, Text};
