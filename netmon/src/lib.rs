#![doc = include_str!("../README.md")]

mod manual;
mod status;
#[cfg(feature = "if-watch")]
mod system;
mod watched;

pub use manual::{ManualLifecycle, ManualMonitor, ManualStream};
pub use status::{Hint, Lifecycle, LifecycleMonitor, NetworkMonitor, NetworkStatus, Reachability};
#[cfg(feature = "if-watch")]
pub use system::{ConfigError, SystemMonitor, SystemMonitorBuilder};
