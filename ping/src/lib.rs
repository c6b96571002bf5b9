#![doc = include_str!("../README.md")]

mod config;
mod controller;
#[cfg(test)]
mod model;

pub use config::{PingConfig, PingConfigBuilder, PingConfigError};
pub use controller::{PingClient, PingController};
