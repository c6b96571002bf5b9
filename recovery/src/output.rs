//! What goes into the core and what comes out of it.

use std::time::{Duration, Instant, SystemTime};

use everwire_client::Snapshot;
use everwire_netmon::{Lifecycle, NetworkStatus};

use crate::{Cause, StopReason};

/// What the core is told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Input {
    /// The client's current snapshot, or a change.
    Snapshot {
        /// The snapshot.
        snapshot: Snapshot,
        /// The wall clock, for HTTP dates.
        wall: SystemTime,
    },
    /// The monitor spoke.
    Network(NetworkStatus),
    /// The host spoke.
    Lifecycle(Lifecycle),
    /// The user wants an attempt now.
    RetryNow,
    /// The client's snapshots have ended.
    ClientGone,
    /// The time of [`poll_timeout`](crate::RecoveryCore::poll_timeout) has come.
    Timeout,
}

/// What recovery decided. A value, never a call: the driver carries it out, and everyone can watch.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Decision {
    /// Connect now.
    Connect {
        /// Why.
        cause: Cause,
        /// Which attempt of this outage; the first is 1.
        attempt: u32,
    },
    /// Connect later. The policies are asked again then.
    ConnectAfter {
        /// From now.
        delay: Duration,
        /// Why.
        cause: Cause,
        /// Which attempt of this outage it will be.
        attempt: u32,
    },
    /// Connect when something changes: the application is in the background.
    Hold {
        /// Why there shall be an attempt.
        cause: Cause,
    },
    /// Make a newer connection beside the live one now, and put it in its place.
    Replace {
        /// Why.
        cause: Cause,
        /// Which attempt to replace this connection; the first is 1.
        attempt: u32,
    },
    /// The same, later. The policies are asked again then.
    ReplaceAfter {
        /// From now.
        delay: Duration,
        /// Why.
        cause: Cause,
        /// Which attempt to replace this connection it will be.
        attempt: u32,
    },
    /// Ask the peer for a sign of life.
    Probe {
        /// Due within.
        deadline: Duration,
        /// Why.
        cause: Cause,
    },
    /// Disconnect with the source `SystemInitiated`.
    Disconnect {
        /// Which connection or attempt, so that none which has taken its place in the meantime is meant.
        generation: u64,
        /// Why. After [`Cause::PathChanged`] and [`Cause::WokeUp`] the socket is dead, and nobody would hear a
        /// close frame.
        cause: Cause,
    },
    /// No more attempts until the user, or, after a limit, a local cause, starts again. Never silent.
    Stop {
        /// Why.
        reason: StopReason,
        /// How many attempts recovery made in this outage.
        attempts: u32,
        /// Since the outage's first failure, or since the latest local cause.
        elapsed: Duration,
    },
}

impl Decision {
    /// The decision's name, in `snake_case`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "connect",
            Self::ConnectAfter { .. } => "connect_after",
            Self::Hold { .. } => "hold",
            Self::Replace { .. } => "replace",
            Self::ReplaceAfter { .. } => "replace_after",
            Self::Probe { .. } => "probe",
            Self::Disconnect { .. } => "disconnect",
            Self::Stop { .. } => "stop",
        }
    }

    /// Why; a stop has a [`StopReason`] instead.
    pub const fn cause(&self) -> Option<Cause> {
        match *self {
            Self::Connect { cause, .. }
            | Self::ConnectAfter { cause, .. }
            | Self::Hold { cause }
            | Self::Replace { cause, .. }
            | Self::ReplaceAfter { cause, .. }
            | Self::Probe { cause, .. }
            | Self::Disconnect { cause, .. } => Some(cause),
            Self::Stop { .. } => None,
        }
    }

    /// Which attempt of this outage it is about, or which to replace the connection.
    pub const fn attempt(&self) -> Option<u32> {
        match *self {
            Self::Connect { attempt, .. }
            | Self::ConnectAfter { attempt, .. }
            | Self::Replace { attempt, .. }
            | Self::ReplaceAfter { attempt, .. } => Some(attempt),
            _ => None,
        }
    }

    /// How long until the attempt; zero for one that is made now.
    pub const fn delay(&self) -> Option<Duration> {
        match *self {
            Self::Connect { .. } | Self::Replace { .. } => Some(Duration::ZERO),
            Self::ConnectAfter { delay, .. } | Self::ReplaceAfter { delay, .. } => Some(delay),
            _ => None,
        }
    }
}

/// What the application may want to know, and needs to do nothing about.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Notice {
    /// A better path than the connection's own is there (`true`), or no longer.
    ReconnectSuggested(bool),
    /// Whether the live connection can still carry anything, as far as the system tells.
    ViabilityChanged(bool),
    /// There will be no other attempt to replace the live connection, for this reason; it goes on as it is. When it was
    /// a limit, a local cause starts again.
    ReplacementGivenUp(StopReason),
}

/// What the core says.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a driver must carry out every kind of output")]
pub enum Output {
    /// To be carried out.
    Decision(Decision),
    /// To be passed on.
    Notice(Notice),
}

/// What recovery is doing.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum RecoveryStatus {
    /// Nothing: the client is connected, connecting, or not wanted yet.
    #[default]
    Idle,
    /// The client is connected, and its connection is to be replaced by one that is made beside it.
    Replacing {
        /// When the client will be asked; `None` once it was.
        until: Option<Instant>,
        /// Why.
        cause: Cause,
        /// Which attempt to replace this connection it is.
        attempt: u32,
    },
    /// An attempt is due.
    Waiting {
        /// When; `None` while it is held until something changes.
        until: Option<Instant>,
        /// Why.
        cause: Cause,
        /// Which attempt of this outage it will be.
        attempt: u32,
    },
    /// The client was asked to connect.
    Connecting {
        /// Which attempt of this outage it is.
        attempt: u32,
    },
    /// Stopped.
    Stopped {
        /// Why.
        reason: StopReason,
        /// How many attempts recovery made in this outage.
        attempts: u32,
        /// How long the outage lasted until then.
        elapsed: Duration,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_tells_its_name_its_cause_its_attempt_and_its_delay() {
        let (cause, attempt, delay) = (Cause::DialFailed, 3, Duration::from_secs(7));
        let zero = Duration::ZERO;
        let stop = Decision::Stop { reason: StopReason::TooLarge, attempts: 3, elapsed: delay };
        for (decision, name, why, which, wait) in [
            (Decision::Connect { cause, attempt }, "connect", Some(cause), Some(3), Some(zero)),
            (
                Decision::ConnectAfter { delay, cause, attempt },
                "connect_after",
                Some(cause),
                Some(3),
                Some(delay),
            ),
            (Decision::Hold { cause }, "hold", Some(cause), None, None),
            (Decision::Replace { cause, attempt }, "replace", Some(cause), Some(3), Some(zero)),
            (
                Decision::ReplaceAfter { delay, cause, attempt },
                "replace_after",
                Some(cause),
                Some(3),
                Some(delay),
            ),
            (Decision::Probe { deadline: delay, cause }, "probe", Some(cause), None, None),
            (Decision::Disconnect { generation: 1, cause }, "disconnect", Some(cause), None, None),
            (stop, "stop", None, None, None),
        ] {
            assert_eq!(decision.name(), name);
            assert_eq!(
                (decision.cause(), decision.attempt(), decision.delay()),
                (why, which, wait),
                "{name}"
            );
        }
    }
}
