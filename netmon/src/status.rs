//! What a monitor says.

use std::{net::IpAddr, sync::Arc, time::Duration};

use futures_core::Stream;

/// A source of knowledge about the network: a stream whose first item is the current status.
///
/// An alias: every stream of [`NetworkStatus`] is a monitor, so a mock needs no code.
///
/// # Contract
/// - The first item says what is known at once; [`NetworkStatus::unknown`] is a fine answer.
/// - Each further item says that something may have changed. Items are hints: whoever acts on one compares
///   first. Equal items in a row are legal, though a good monitor sends few.
/// - The end of the stream means that nothing more will be known; it is no loss of the network.
/// - Dropping the stream releases what it watches with.
///
/// ```
/// use everwire_netmon::{NetworkMonitor, NetworkStatus};
/// use futures_util::stream;
///
/// fn needs(_: impl NetworkMonitor) {}
/// needs(stream::iter([NetworkStatus::online(), NetworkStatus::offline()]));
/// ```
pub trait NetworkMonitor: Stream<Item = NetworkStatus> + Send + Unpin + 'static {}

impl<S: Stream<Item = NetworkStatus> + Send + Unpin + 'static> NetworkMonitor for S {}

/// Whether the server seems reachable. Knowledge, never a lock: *unknown* allows everything, and *offline*
/// still allows a slow retry.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Reachability {
    /// Nothing is known.
    #[default]
    Unknown,
    /// The operating system has a path.
    Online,
    /// The operating system has no path.
    Offline,
}

/// What made a monitor speak.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Hint {
    /// It began.
    #[default]
    Started,
    /// An address, a route or a link changed, or the path moved.
    NetworkChanged,
    /// The machine slept for about so long and is back. Where the system does not tell a sleep from a process that was
    /// stopped, it may have been either.
    WokeUp {
        /// How long it was away, as far as the clocks tell.
        asleep: Duration,
    },
    /// The process was stopped for about so long and continued, while the machine was awake and kept its connections:
    /// what arrived meanwhile waits to be read. Worth a probe and no more, however long it was.
    Continued {
        /// How long it was stopped.
        stopped: Duration,
    },
    /// The wall clock was set while the machine was awake; worth a probe and no more.
    ClockStepped,
    /// The host said so.
    Host,
}

/// What a monitor knows at a moment, and why it says so now.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct NetworkStatus {
    /// Whether there is a path.
    pub reachability: Reachability,
    /// The path: the local address that the operating system would use now to reach the server.
    pub local_addr: Option<IpAddr>,
    /// All addresses of this machine, without loopback and link-local ones, where the monitor knows them. With
    /// them the owner of a connection tells "my address is gone" from "a better path has come".
    pub addresses: Option<Arc<[IpAddr]>>,
    /// What made the monitor speak.
    pub hint: Hint,
}

impl NetworkStatus {
    /// Nothing is known.
    pub fn unknown() -> Self {
        Self::default()
    }

    /// There is a path; which one is not known.
    pub fn online() -> Self {
        Self { reachability: Reachability::Online, ..Self::default() }
    }

    /// There is no path.
    pub fn offline() -> Self {
        Self { reachability: Reachability::Offline, ..Self::default() }
    }

    /// With the local address of the path.
    #[must_use]
    pub const fn with_local_addr(mut self, local_addr: IpAddr) -> Self {
        self.local_addr = Some(local_addr);
        self
    }

    /// With all addresses of this machine.
    #[must_use]
    pub fn with_addresses(mut self, addresses: impl Into<Arc<[IpAddr]>>) -> Self {
        self.addresses = Some(addresses.into());
        self
    }

    /// With what made the monitor speak.
    #[must_use]
    pub const fn with_hint(mut self, hint: Hint) -> Self {
        self.hint = hint;
        self
    }

    /// Whether dialling is pointless by all that is known.
    pub const fn is_offline(&self) -> bool {
        matches!(self.reachability, Reachability::Offline)
    }

    /// Whether `local_addr`, of a live connection, is certainly no longer an address of this machine.
    /// `false` when the addresses are not known, and for loopback, which no monitor reports.
    pub fn is_gone(&self, local_addr: IpAddr) -> bool {
        !local_addr.is_loopback()
            && self.addresses.as_ref().is_some_and(|addresses| !addresses.contains(&local_addr))
    }
}

/// Whether the application is in front of a user. An input that a host may supply; *unknown* allows
/// everything.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Lifecycle {
    /// The host does not say.
    #[default]
    Unknown,
    /// In front.
    Foreground,
    /// Behind; the operating system may stop the process at any time.
    Background,
}

/// A source of [`Lifecycle`], of the same shape as [`NetworkMonitor`]: the current one first.
pub trait LifecycleMonitor: Stream<Item = Lifecycle> + Send + Unpin + 'static {}

impl<S: Stream<Item = Lifecycle> + Send + Unpin + 'static> LifecycleMonitor for S {}
