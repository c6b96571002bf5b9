//! ezsockets, the usual client of Rust that reconnects.

use ezsockets::{Bytes, ClientConfig, ClientExt, Error, Utf8Bytes};
use tokio::sync::mpsc::UnboundedSender;

use crate::{
    measure::Meter,
    task::{Measures, Task},
};

/// Counts what comes, and tells when all is there.
pub(crate) struct Counter {
    pub(crate) meter: Meter,
    pub(crate) done: UnboundedSender<Measures>,
}

#[async_trait::async_trait]
impl ClientExt for Counter {
    type Call = ();

    async fn on_text(&mut self, _: Utf8Bytes) -> Result<(), Error> {
        Ok(())
    }

    async fn on_binary(&mut self, bytes: Bytes) -> Result<(), Error> {
        std::hint::black_box(bytes.len());
        if let Some(measures) = self.meter.hit() {
            let _ = self.done.send(measures);
        }
        Ok(())
    }

    async fn on_call(&mut self, (): ()) -> Result<(), Error> {
        Ok(())
    }
}

/// Starts a client; it connects by itself.
pub(crate) async fn start(task: &Task, path: &str, counter: Counter) -> ezsockets::Client<Counter> {
    let url = format!("ws://127.0.0.1:{}{path}", task.server.plain);
    let (client, running) = ezsockets::connect(|_| counter, ClientConfig::new(url.as_str())).await;
    tokio::spawn(running);
    client
}
