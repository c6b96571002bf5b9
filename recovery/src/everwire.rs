//! Everwire's own client is recoverable.

use std::time::Duration;

use everwire_client::{Client, PathNotice, Snapshot};
use futures_core::Stream;

use crate::{Cause, RecoverableClient};

impl<Ev: Send + 'static> RecoverableClient for Client<Ev> {
    fn into_background(self) -> Self {
        Self::into_background(self)
    }

    fn snapshots(&self) -> impl Stream<Item = Snapshot> + Send + Unpin + 'static {
        Self::snapshots(self)
    }

    fn reconnect(&self) {
        Self::reconnect(self);
    }

    fn reconnect_because(&self, cause: Cause) {
        Self::reconnect_because(self, cause.name());
    }

    fn replace(&self) {
        Self::replace(self);
    }

    fn replace_because(&self, cause: Cause) {
        Self::replace_because(self, cause.name());
    }

    fn disconnect_system(&self) {
        Self::disconnect_system(self);
    }

    fn abandon(&self, generation: u64) {
        Self::abandon(self, generation);
    }

    fn probe(&self, deadline: Duration) {
        Self::probe(self, deadline);
    }

    fn reconnect_suggested(&self, suggested: bool) {
        // The client's own event is a suggestion; that one is no longer needed shows in the handler's notices.
        if suggested {
            self.notify(PathNotice::ReconnectSuggested);
        }
    }

    fn viability_changed(&self, viable: bool) {
        self.notify(PathNotice::ViabilityChanged(viable));
    }
}
