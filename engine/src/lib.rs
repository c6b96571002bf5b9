#![doc = include_str!("../README.md")]

mod engine;
mod error;
mod handshake;
mod message;
mod request;
#[cfg(feature = "testing")]
pub mod testing;

pub use engine::{BoxConnection, BoxEngine, Connection, Engine, EngineFn, engine_fn};
pub use error::{CertificateProblem, EngineError, EngineErrorKind, Limit, Refusal, Stage};
pub use handshake::Handshake;
pub use message::{CloseCode, CloseFrame, InvalidClose, Message, Text};
pub use request::{ConnectRequest, Endpoint};
