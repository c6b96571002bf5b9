//! Frames on an open transport: tungstenite's protocol machine, driven without its asynchronous wrapper.

mod adapter;
mod boundary;
mod connection;

pub(crate) use connection::FrameConfig;
pub use connection::TungsteniteConnection;
