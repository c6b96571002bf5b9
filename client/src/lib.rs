#![doc = include_str!("../README.md")]

mod state;

pub use state::{
    ApiError, AttemptStage, AuthenticationError, AuthenticationErrorKind, ConnectionState,
    DisconnectionSource, HealthCheckInfo, ServerReason, Snapshot,
};

#[doc(no_inline)]
pub use everwire_engine::{
    CertificateProblem, CloseCode, CloseFrame, ConnectRequest, Engine, EngineError, EngineErrorKind, Message,
    Refusal, Stage, Text,
};
