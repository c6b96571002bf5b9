#![doc = include_str!("../README.md")]

mod budget;
mod cause;
mod client;
mod core;
mod decision;
mod driver;
mod endpoints;
mod error;
mod everwire;
mod feed;
mod handler;
mod ladder;
mod options;
mod output;
mod path;
mod policy;
mod retry_after;
mod rng;
mod strategy;

pub use crate::core::RecoveryCore;
pub use budget::RetryBudget;
pub use cause::{Cause, StopReason};
pub use client::RecoverableClient;
pub use decision::{Decide, DecisionTable, Evidence, Verdict};
pub use endpoints::EndpointPool;
pub use error::InvalidConfig;
pub use handler::{ConnectionRecoveryHandler, RecoveryBuilder};
pub use options::RecoveryOptions;
pub use output::{Decision, Input, Notice, Output, RecoveryStatus};
use policy::default_policy;
pub use policy::{
    And, LifecycleAllowed, MaxAttempts, MaxElapsed, Moment, NetworkAvailable, Or, ReconnectionPolicy, Ruling,
    Situation, UserWants,
};
pub use rng::Rng;
#[cfg(feature = "backoff")]
pub use strategy::BackoffStrategy;
pub use strategy::{Exponential, Fixed, RetryStrategy, StreamFormula};
