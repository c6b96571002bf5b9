//! How recovery reaches a client: the trait [`RecoverableClient`].

use std::time::Duration;

use everwire_client::Snapshot;
use futures_core::Stream;

use crate::Cause;

/// A client that can be recovered: what [`ConnectionRecoveryHandler`](crate::ConnectionRecoveryHandler) needs
/// to know and to ask for. `everwire_client::Client` implements it; implement it for a socket of your own in
/// about thirty lines.
///
/// # Contract
/// - [`snapshots`](Self::snapshots) yields the current snapshot first, then one after each change. It may skip
///   intermediate ones, never the latest. Its end means that the client is gone for good.
/// - [`Snapshot::generation`] grows with every attempt, whoever began it, and stays the same until the next
///   one begins. Recovery judges each generation's end once.
/// - [`Snapshot::wanted`] is the user's wish: `true` from their `connect` until their `disconnect`. The client
///   knows it first, so every request here is a request only: a user's `disconnect` that came before wins.
/// - None of the requests blocks or fails; what comes of them shows in the snapshots.
///
/// # Wrong, then right
/// A `reconnect` that dials whatever the user wants revives a client that was closed on purpose:
/// ```text
/// fn reconnect(&self) { self.commands.send(Command::Dial) }             // a log-out in flight is undone
/// fn reconnect(&self) { self.commands.send(Command::DialIfWanted) }     // the owner of the wish decides
/// ```
pub trait RecoverableClient: Send + 'static {
    /// A handle that does not keep the client alive, where there is such a thing: when the application drops
    /// its own, the client ends, and its snapshots with it. Called once, before the first snapshot.
    #[must_use]
    fn into_background(self) -> Self
    where
        Self: Sized,
    {
        self
    }

    /// The current snapshot, then each change.
    fn snapshots(&self) -> impl Stream<Item = Snapshot> + Send + Unpin + 'static;

    /// Connects again, if the user still wants it and the client is disconnected; else does nothing.
    fn reconnect(&self);

    /// As [`reconnect`](Self::reconnect), and tells why, for who keeps a record of its attempts. By default the cause
    /// is passed over.
    fn reconnect_because(&self, cause: Cause) {
        let _ = cause;
        self.reconnect();
    }

    /// Makes a newer connection beside the live one and puts it in its place, if the client is connected. Asked only
    /// of a client whose snapshots say that it [can](Snapshot::can_replace); they also say what came of it
    /// ([`Snapshot::replacement`]). By default nothing happens.
    fn replace(&self) {}

    /// As [`replace`](Self::replace), and says why. By default it does not.
    fn replace_because(&self, cause: Cause) {
        let _ = cause;
        self.replace();
    }

    /// Disconnects with the source `SystemInitiated` when an attempt is under way or the client is connected.
    /// Never overrides the user's own disconnect.
    fn disconnect_system(&self);

    /// As [`disconnect_system`](Self::disconnect_system), when the path of the connection of this generation is known to
    /// be dead: nobody would hear a close frame, so a client that can should drop its socket at once instead of waiting
    /// for the answer. A client whose generation is another one by now should do nothing; by default it is not asked.
    fn abandon(&self, generation: u64) {
        let _ = generation;
        self.disconnect_system();
    }

    /// Asks the peer for a sign of life at once; it is due within `deadline`. When it does not come, the
    /// client disconnects with `NoPongReceived`. Does nothing unless connected.
    fn probe(&self, deadline: Duration);

    /// For the application: a better path than the connection's own has come (`true`), or is no longer there
    /// (`false`). By default nothing happens.
    fn reconnect_suggested(&self, suggested: bool) {
        let _ = suggested;
    }

    /// For the application: whether the live connection can still carry anything, as far as the system tells.
    /// By default nothing happens.
    fn viability_changed(&self, viable: bool) {
        let _ = viable;
    }
}
