#![doc = include_str!("../README.md")]

mod decode;
mod state;

#[cfg(feature = "json")]
pub use decode::JsonDecoder;
pub use decode::{
    DecodeError, DecodeErrorKind, DecoderFn, EventDecoder, RawDecoder, RawEvent, Reject, WsEvent, decoder_fn,
};
pub use state::{
    ApiError, AttemptStage, AuthenticationError, AuthenticationErrorKind, ConnectionState,
    DisconnectionSource, HealthCheckInfo, ServerReason, Snapshot,
};

#[doc(no_inline)]
pub use everwire_engine::{
    CertificateProblem, CloseCode, CloseFrame, ConnectRequest, Engine, EngineError, EngineErrorKind, Message,
    Refusal, Stage, Text,
};
