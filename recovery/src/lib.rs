#![doc = include_str!("../README.md")]

mod budget;
mod cause;
mod client;
mod decision;
mod error;
mod policy;
mod retry_after;
mod rng;
mod strategy;

pub use budget::RetryBudget;
pub use cause::{Cause, StopReason};
pub use client::RecoverableClient;
pub use decision::{Decide, DecisionTable, Evidence, Verdict};
pub use error::InvalidConfig;
pub use policy::{
    And, LifecycleAllowed, MaxAttempts, MaxElapsed, Moment, NetworkAvailable, Or, ReconnectionPolicy, Ruling,
    Situation, UserWants,
};
pub use rng::Rng;
#[cfg(feature = "backoff")]
pub use strategy::BackoffStrategy;
pub use strategy::{Exponential, Fixed, RetryStrategy, StreamFormula};
