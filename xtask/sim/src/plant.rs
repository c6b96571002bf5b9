//! Violations on purpose: each makes one check fail, so that a test can see that it does.

/// What is broken.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(not(test), allow(dead_code, reason = "planted by the tests alone"))]
pub(crate) enum Plant {
    #[default]
    Nothing,
    /// The server acknowledges a post that it did not keep.
    LosesPost,
    /// The server keeps a post twice.
    KeepsTwice,
    /// The server counts a message that nobody acknowledges twice.
    HearsTwice,
    /// A client dials twice.
    SecondSocket,
    /// A task outlives its client.
    LeaksTask,
    /// The server refuses everybody for ever.
    StaysDown,
    /// A message is noted as sent that was never given to the client.
    ForgetsReceipt,
    /// A message that was flushed is noted as not sent.
    LiesOfOutcome,
    /// The end of an attempt is told twice.
    EndsTwice,
    /// Something panics.
    Panics,
}
