#![doc = include_str!("../README.md")]

mod engine;
mod error;
#[cfg(feature = "tungstenite")]
mod frames;
mod handshake;
mod message;
#[cfg(feature = "tungstenite")]
mod pipeline;
mod request;
#[cfg(feature = "testing")]
pub mod testing;

pub use engine::{BoxConnection, BoxEngine, Connection, Engine, EngineFn, engine_fn};
pub use error::{CertificateProblem, EngineError, EngineErrorKind, Limit, Refusal, Stage};
#[cfg(feature = "deflate")]
pub use frames::Deflate;
#[cfg(feature = "tungstenite")]
pub use frames::TungsteniteConnection;
pub use handshake::Handshake;
pub use message::{CloseCode, CloseFrame, InvalidClose, Message, ShowPayload, Text};
#[cfg(feature = "rustls")]
pub use pipeline::Roots;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use pipeline::fuzzing;
#[cfg(feature = "tungstenite")]
pub use pipeline::{
    Addressed, Connector, ConnectorFn, Proxy, Resolver, ResolverFn, SystemResolver, Transport,
    TungsteniteEngine, TungsteniteEngineBuilder, connector_fn, resolver_fn,
};
pub use request::{ConnectRequest, Endpoint};
