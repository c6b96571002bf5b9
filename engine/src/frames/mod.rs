//! Frames on an open transport: tungstenite's protocol machine, driven without its asynchronous wrapper.

mod adapter;
mod ahead;
mod appetite;
mod boundary;
mod config;
mod connection;
mod convert;
#[cfg(feature = "deflate")]
mod deflate;
#[cfg(not(feature = "deflate"))]
#[path = "no_deflate.rs"]
mod deflate;
#[cfg(test)]
mod tests;
mod utf8;

pub(crate) use appetite::{FLOOD, SMALL};
pub(crate) use config::FrameConfig;
pub use connection::TungsteniteConnection;
pub(crate) use deflate::Agreement;
#[cfg(not(feature = "deflate"))]
pub(crate) use deflate::Deflate;
#[cfg(feature = "deflate")]
pub use deflate::Deflate;
#[cfg(all(feature = "deflate", feature = "fuzzing"))]
pub(crate) use deflate::holds_of;
