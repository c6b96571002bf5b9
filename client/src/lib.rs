#![doc = include_str!("../README.md")]

mod attempt;
mod auth;
mod builder;
mod client;
mod core;
mod decode;
mod delivery;
mod driver;
mod health;
mod hooks;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "model")]
#[doc(hidden)]
pub mod model;
pub mod reliable;
mod request;
mod send;
mod state;
#[cfg(feature = "json")]
pub mod stream;
#[cfg(feature = "testing")]
pub mod testing;

pub use attempt::{Attempt, Refused, RequestFn, RequestProvider, request_fn};
pub use auth::{
    CredentialProvider, CredentialRenewal, Credentials, CredentialsFn, SingleFlight, credentials_fn,
};
pub use builder::{BuildError, ClientBuilder, ConnectedOn, PingRequest};
pub use client::{Client, ConnectError, Disconnection, Outgoing, PathNotice, Snapshots};
#[cfg(feature = "json")]
pub use decode::JsonDecoder;
pub use decode::{
    DecodeError, DecodeErrorKind, DecoderFn, EventDecoder, RawDecoder, RawEvent, Reject, WsEvent, decoder_fn,
};
pub use delivery::{ClientEvent, SubscriberPolicy, Subscription};
pub use health::{Health, RoundTrips};
pub use hooks::{ConnectionScope, HandshakeHandle};
pub use request::{RequestError, Requests};
pub use send::{NotSentReason, Receipt, SendClass, SendLimits, SendOutcome, TrySendError};
pub use state::{
    ApiError, AttemptStage, AuthenticationError, AuthenticationErrorKind, ConnectionState,
    DisconnectionSource, HealthCheckInfo, Replacement, ServerReason, Snapshot,
};

#[doc(no_inline)]
pub use everwire_engine::{
    CertificateProblem, CloseCode, CloseFrame, ConnectRequest, Connection, Endpoint, Engine, EngineError,
    EngineErrorKind, Handshake, InvalidClose, Limit, Message, Refusal, ShowPayload, Stage, Text,
};
#[doc(no_inline)]
pub use everwire_ping::{PingConfig, PingConfigBuilder, PingConfigError};
