//! For tests, yours and ours: an in-memory connection, a scripted engine, the conformance suite.
//!
//! - [`duplex()`] is a pair of connections that are wired to each other: give one to the code under test and
//!   play the server with the other.
//! - [`ScriptedEngine`] is an engine that plays a script, one [`Step`] per attempt, and hands the server's
//!   end of every accepted attempt to the test.
//! - [`conformance`] checks an engine of your own against the contract.
//!
//! Nothing here opens a socket or reads a clock, so tests run under tokio's paused time:
//!
//! ```
//! use std::time::Duration;
//! use everwire_engine::{ConnectRequest, Engine, EngineErrorKind, Message, testing::{ScriptedEngine, Step}};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), everwire_engine::EngineError> {
//! # tokio::time::pause();
//! let engine = ScriptedEngine::new([
//!     Step::fail(EngineErrorKind::Connect),
//!     Step::accept().after(Duration::from_secs(2)),
//! ]);
//! let request = ConnectRequest::new("ws://chat.example.org/")?;
//! assert!(engine.connect(request.clone()).await.is_err());
//!
//! let mut ours = engine.connect(request).await?;
//! let mut server = engine.next_connection().await;
//! server.send("hello").await?;
//! assert_eq!(ours.recv().await.unwrap()?, Message::from("hello"));
//! assert_eq!(engine.attempts(), 2);
//! # Ok(())
//! # }
//! ```

pub mod conformance;
mod duplex;
mod scripted;

pub use duplex::{DuplexConnection, duplex, duplex_with};
pub use scripted::{ScriptedEngine, ScriptedFailure, Step};
