#![doc = include_str!("../README.md")]

mod decode;
#[allow(dead_code, unused_imports, reason = "the driver that uses it is on its way")]
mod delivery;
#[allow(dead_code, reason = "the driver that uses it is on its way")]
mod health;
pub mod reliable;
mod request;
#[allow(dead_code, unused_imports, reason = "the driver that uses it is on its way")]
mod send;
mod state;
#[cfg(feature = "json")]
pub mod stream;

#[cfg(feature = "json")]
pub use decode::JsonDecoder;
pub use decode::{
    DecodeError, DecodeErrorKind, DecoderFn, EventDecoder, RawDecoder, RawEvent, Reject, WsEvent, decoder_fn,
};
pub use delivery::{ClientEvent, SubscriberPolicy, Subscription};
pub use health::{Health, RoundTrips};
pub use request::{RequestError, Requests};
pub use send::{NotSentReason, Receipt, SendClass, SendLimits, SendOutcome, TrySendError};
pub use state::{
    ApiError, AttemptStage, AuthenticationError, AuthenticationErrorKind, ConnectionState,
    DisconnectionSource, HealthCheckInfo, ServerReason, Snapshot,
};

#[doc(no_inline)]
pub use everwire_engine::{
    CertificateProblem, CloseCode, CloseFrame, ConnectRequest, Engine, EngineError, EngineErrorKind, Message,
    Refusal, Stage, Text,
};
