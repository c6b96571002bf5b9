#![doc = include_str!("../README.md")]

mod status;

pub use status::{Hint, Lifecycle, LifecycleMonitor, NetworkMonitor, NetworkStatus, Reachability};
