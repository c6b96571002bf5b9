#![doc = include_str!("../README.md")]

mod manual;
mod status;
mod watched;

pub use manual::{ManualLifecycle, ManualMonitor, ManualStream};
pub use status::{Hint, Lifecycle, LifecycleMonitor, NetworkMonitor, NetworkStatus, Reachability};
