#![doc = include_str!("../README.md")]

#[cfg(all(feature = "fuzzing", target_os = "linux"))]
#[doc(hidden)]
pub mod fuzzing;
mod manual;
mod status;
#[cfg(feature = "if-watch")]
mod system;
mod watched;

pub use manual::{ManualLifecycle, ManualMonitor, ManualStream};
pub use status::{Hint, Lifecycle, LifecycleMonitor, NetworkMonitor, NetworkStatus, Reachability};
#[cfg(feature = "if-watch")]
pub use system::{ConfigError, SystemMonitor, SystemMonitorBuilder};
