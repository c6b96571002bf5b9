#![doc = include_str!("../README.md")]

mod cause;
mod client;
mod decision;
mod error;
mod retry_after;
mod rng;
mod strategy;

pub use cause::{Cause, StopReason};
pub use client::RecoverableClient;
pub use decision::{Decide, DecisionTable, Evidence, Verdict};
pub use error::InvalidConfig;
pub use rng::Rng;
#[cfg(feature = "backoff")]
pub use strategy::BackoffStrategy;
pub use strategy::{Exponential, Fixed, RetryStrategy, StreamFormula};
