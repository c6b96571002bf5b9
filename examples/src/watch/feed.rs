//! From standard input to the client: each line a message, each message an outcome.

use std::time::Duration;

use everwire_client::{Client, Message, Outgoing, SendOutcome};
use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt as _},
    sync::{mpsc, watch},
};

use super::{decoder::Event, line::Line};

/// How long a line may wait for a connection.
pub(super) const HOLD: Duration = Duration::from_secs(30);

/// What happened to the input.
#[derive(Debug)]
pub(super) enum Fed {
    /// A line has its outcome.
    Sent(Line),
    /// The input has ended, and every line of it has its outcome.
    Done {
        /// How many lines there were.
        lines: u64,
    },
}

/// Sends each line; goes on until the input ends or `stop` turns true, and then until every line has its
/// outcome. What is typed before there is a connection waits for one, for [`HOLD`] at most.
pub(super) async fn feed(
    mut input: impl AsyncBufRead + Unpin,
    client: Client<Event>,
    fed: mpsc::Sender<Fed>,
    mut stop: watch::Receiver<bool>,
) {
    let mut outcomes = FuturesUnordered::new();
    let mut lines = 0;
    let mut reading = true;
    let mut buffer = Vec::new();
    while reading || !outcomes.is_empty() {
        tokio::select! {
            biased;
            Some((id, outcome)) = outcomes.next(), if !outcomes.is_empty() => {
                let _ = fed.send(Fed::Sent(Line::sent(id, outcome))).await;
            }
            // The sender lives until this task is done; a failure means to stop, too.
            // The guard is dropped inside, since it must not cross an await.
            () = async { drop(stop.wait_for(|stop| *stop).await) }, if reading => reading = false,
            // Cancel-safe here: what was read so far stays in `buffer`.
            read = input.read_until(b'\n', &mut buffer), if reading => match read {
                Ok(_) if !buffer.is_empty() => {
                    lines += 1;
                    match take_line(&mut buffer) {
                        Ok(line) => {
                            let outgoing = Outgoing::from(Message::text(line)).hold(HOLD);
                            let id = lines;
                            let receipt = client.queue(outgoing).await;
                            outcomes.push(receipt.map(move |outcome: SendOutcome| (id, outcome)));
                        }
                        Err(why) => {
                            let _ = fed.send(Fed::Sent(Line::not_sent(lines, why))).await;
                        }
                    }
                }
                Ok(_) => reading = false,
                Err(error) => {
                    tracing::error!(%error, "standard input cannot be read");
                    reading = false;
                }
            },
        }
    }
    let _ = fed.send(Fed::Done { lines }).await;
}

/// The line without its end; the buffer is empty afterwards.
fn take_line(buffer: &mut Vec<u8>) -> Result<String, &'static str> {
    let mut line = std::mem::take(buffer);
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    String::from_utf8(line).map_err(|_| "the line is not UTF-8, which a text message must be")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_loses_its_end_and_nothing_else() {
        for (bytes, line) in [
            (&b"a b \n"[..], "a b "),
            (b"x\r\n", "x"),
            (b"\n", ""),
            (b"no end", "no end"),
            (b"a\rb\n", "a\rb"),
        ] {
            assert_eq!(take_line(&mut bytes.to_vec()), Ok(line.to_owned()));
        }
        assert!(take_line(&mut b"\xff\n".to_vec()).is_err());
    }
}
