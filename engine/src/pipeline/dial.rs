//! TCP to the first address that answers: the driver of [`HappyEyeballs`].

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    task::Poll,
    time::{Duration, Instant},
};

use tokio::{
    net::TcpStream,
    time::{Sleep, sleep_until, timeout},
};

use super::{happy_eyeballs::HappyEyeballs, socket::SocketOptions};
use crate::{EngineError, EngineErrorKind, Stage};

type Try<'a> = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send + 'a>>;

/// Runs the race to its first winner. The losers end with the future that runs them, not in tasks of their
/// own: dropping it closes every socket at once.
pub(crate) async fn dial(
    race: &mut HappyEyeballs,
    patience: Duration,
    options: &SocketOptions,
) -> Result<TcpStream, EngineError> {
    let mut tries: Vec<(SocketAddr, Try<'_>)> = Vec::new();
    let mut failures: Vec<(SocketAddr, io::Error)> = Vec::new();
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    let stream = poll_fn(|cx| {
        loop {
            // Tell: what the tries under way have come to.
            let mut at = 0;
            while at < tries.len() {
                match tries[at].1.as_mut().poll(cx) {
                    Poll::Ready(Ok(stream)) => {
                        drop(tries.swap_remove(at));
                        return Poll::Ready(Some(stream));
                    }
                    Poll::Ready(Err(error)) => {
                        failures.push((tries.swap_remove(at).0, error));
                        race.handle_failed();
                    }
                    Poll::Pending => at += 1,
                }
            }
            // Drain: what is due now.
            let now = now();
            let started = tries.len();
            while let Some(address) = race.poll_output(now) {
                tracing::trace!(%address, "try");
                tries.push((address, Box::pin(connect(address, patience, options))));
            }
            if tries.is_empty() {
                return Poll::Ready(None);
            }
            if tries.len() > started {
                continue;
            }
            // Wait: for a try or for the next one's turn.
            timer = race.poll_timeout().map(|at| Box::pin(sleep_until(at.into())));
            let is_due = timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready());
            if !is_due {
                return Poll::Pending;
            }
        }
    })
    .await;
    if let Some(stream) = stream {
        race.handle_connected();
        // They were still trying: should the winner fall silent, they get their chance.
        tries.into_iter().rev().for_each(|(address, _)| race.put_back(address));
        return Ok(stream);
    }
    Err(all_failed(failures, patience))
}

async fn connect(address: SocketAddr, patience: Duration, options: &SocketOptions) -> io::Result<TcpStream> {
    let socket = options.before(address.is_ipv4())?;
    let stream = timeout(patience, socket.connect(address)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    options.after(&stream)?;
    Ok(stream)
}

fn all_failed(failures: Vec<(SocketAddr, io::Error)>, patience: Duration) -> EngineError {
    let timed_out = |error: &io::Error| error.kind() == io::ErrorKind::TimedOut;
    if !failures.is_empty() && failures.iter().all(|(_, error)| timed_out(error)) {
        return EngineError::timeout(Stage::Connect, patience);
    }
    let words: Vec<_> = failures.iter().map(|(address, error)| format!("{address}: {error}")).collect();
    let error = EngineError::new(EngineErrorKind::Connect, Stage::Connect).with_detail(words.join(", "));
    match failures.into_iter().find(|(_, error)| !timed_out(error)) {
        Some((_, cause)) => error.with_source(cause),
        None => error,
    }
}

#[expect(clippy::disallowed_methods, reason = "the driver of the race reads the clock for it")]
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
