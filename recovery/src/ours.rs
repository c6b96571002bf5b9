//! Our own client, recoverable.

use std::time::Duration;

use everwire_client::{Client, Snapshot};
use futures_core::Stream;

use crate::RecoverableClient;

impl<Ev: Send + 'static> RecoverableClient for Client<Ev> {
    fn snapshots(&self) -> impl Stream<Item = Snapshot> + Send + Unpin + 'static {
        self.snapshots()
    }

    fn reconnect(&self) {
        self.reconnect();
    }

    fn disconnect_system(&self) {
        self.disconnect_system();
    }

    fn abandon(&self) {
        self.abandon();
    }

    fn probe(&self, deadline: Duration) {
        self.probe(deadline);
    }

    fn reconnect_suggested(&self, suggested: bool) {
        if suggested {
            self.notify(everwire_client::Notice::ReconnectSuggested);
        }
    }

    fn viability_changed(&self, viable: bool) {
        self.notify(everwire_client::Notice::ViabilityChanged(viable));
    }
}
