//! Bugs of a driver, put in on purpose: the model must find each.

/// What the world does wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Bug {
    /// The client takes a retry of recovery for a wish of its user.
    RetryRevivesAWithdrawnWish,
    /// The end of a connection is not told to recovery.
    EndIsNotTold,
    /// What an old socket says counts as said by the current one.
    OldSocketIsHeard,
    /// The ping goes on after its connection has ended.
    PingOutlivesTheConnection,
    /// A queued message is dropped with its connection, and nobody is told.
    MessageDroppedInSilence,
    /// While the monitor says "offline", timers do not run.
    HintIsALock,
    /// Recovery stops and does not say so.
    StopIsSilent,
    /// The socket of a connection that was replaced is never closed.
    ReplacedSocketStays,
    /// A successor that fails takes the connection with it.
    FailedSuccessorEndsTheConnection,
    /// A successor that is given up goes on.
    SuccessorOutlivesItsEnd,
    /// The successor of a connection that died is dropped with it.
    SuccessorDiesWithTheConnection,
    /// The failure of a successor is not told to recovery.
    FailedSuccessorIsNotTold,
}

impl Bug {
    /// Whether it shows only where a connection can be replaced.
    pub(super) const fn is_of_replacing(self) -> bool {
        matches!(
            self,
            Self::ReplacedSocketStays
                | Self::FailedSuccessorEndsTheConnection
                | Self::SuccessorOutlivesItsEnd
                | Self::SuccessorDiesWithTheConnection
                | Self::FailedSuccessorIsNotTold
        )
    }
}
