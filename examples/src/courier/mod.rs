//! Messages that are numbered, acknowledged and counted, both ways: what stands the test of faults.
//!
//! A [`Courier`](run) is a whole client (ping, recovery, monitor) that posts a message at each pace and keeps it
//! until the [server](serve) has acknowledged it; the server posts to each session likewise. Both sides number by
//! [`everwire_client::reliable`], and both keep [`Books`] of what they handed to their application, by the number
//! that stands *in* each message. So what is lost, doubled or out of order shows, whoever made the mistake. The
//! server writes down what it has taken before it acknowledges it, so that not even its death loses anything.
//!
//! The frames, each a text message:
//!
//! | frame | from | meaning |
//! |---|---|---|
//! | `hello SESSION HAVE` | client | the first; it has the server's messages up to `HAVE` |
//! | `welcome HAVE` | server | the answer; it has the client's messages up to `HAVE` |
//! | `msg NUMBER TEXT` | both | a message |
//! | `ack NUMBER` | both | everything up to this number was handed over |
//! | `finish SENT` | client | there were so many, and all are acknowledged |
//! | `total SENT LOST DUPLICATED REORDERED` | server | how many it sent, and its books of the client's |

mod books;
mod client;
mod journal;
mod server;

use std::{fmt, str::FromStr};

use everwire_client::{DecodeError, DecodeErrorKind, EventDecoder, HealthCheckInfo, Message, WsEvent};

pub use self::{
    books::{Books, Count},
    client::{CourierConfig, Report, run},
    server::serve,
};

/// What the two sides say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Frame {
    Hello { session: String, have: u64 },
    Welcome { have: u64 },
    Msg { number: u64, text: String },
    Ack { up_to: u64 },
    Finish { sent: u64 },
    Total { sent: u64, count: Count },
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hello { session, have } => write!(f, "hello {session} {have}"),
            Self::Welcome { have } => write!(f, "welcome {have}"),
            Self::Msg { number, text } => write!(f, "msg {number} {text}"),
            Self::Ack { up_to } => write!(f, "ack {up_to}"),
            Self::Finish { sent } => write!(f, "finish {sent}"),
            Self::Total { sent, count: Count { lost, duplicated, reordered, .. } } => {
                write!(f, "total {sent} {lost} {duplicated} {reordered}")
            }
        }
    }
}

impl FromStr for Frame {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let words: Vec<&str> = line.splitn(3, ' ').collect();
        let n = |word: &str| word.parse::<u64>().map_err(|_| format!("{word:?} is no number"));
        Ok(match words[..] {
            ["hello", session, have] => Self::Hello { session: session.to_owned(), have: n(have)? },
            ["welcome", have] => Self::Welcome { have: n(have)? },
            ["msg", number, text] => Self::Msg { number: n(number)?, text: text.to_owned() },
            ["ack", up_to] => Self::Ack { up_to: n(up_to)? },
            ["finish", sent] => Self::Finish { sent: n(sent)? },
            ["total", sent, books] => match books.split(' ').map(n).collect::<Result<Vec<_>, _>>()?[..] {
                [lost, duplicated, reordered] => {
                    Self::Total { sent: n(sent)?, count: Count { sent: 0, lost, duplicated, reordered } }
                }
                _ => return Err("a total has four numbers".to_owned()),
            },
            _ => return Err("no frame of this protocol".to_owned()),
        })
    }
}

impl From<Frame> for Message {
    fn from(frame: Frame) -> Self {
        Self::text(frame.to_string())
    }
}

impl WsEvent for Frame {
    /// The welcome ends the authentication.
    fn health_check_info(&self) -> Option<HealthCheckInfo> {
        matches!(self, Self::Welcome { .. }).then(HealthCheckInfo::default)
    }
}

#[derive(Clone, Copy, Debug)]
struct Decoder;

impl EventDecoder for Decoder {
    type Event = Frame;

    fn decode(&mut self, message: &Message) -> Result<Option<Frame>, DecodeError> {
        let text = message.as_text().unwrap_or_default();
        text.parse().map(Some).map_err(|_| DecodeErrorKind::Shape.into())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use everwire_client::ConnectRequest;
    use everwire_engine::TungsteniteEngine;
    use everwire_netmon::NetworkStatus;
    use everwire_ping::PingConfig;
    use futures_util::{StreamExt as _, stream};
    use tokio::{net::TcpListener, sync::watch};

    use super::*;

    #[test]
    fn each_frame_is_read_as_it_was_written() {
        let count = Count { sent: 0, lost: 1, duplicated: 2, reordered: 3 };
        for frame in [
            Frame::Hello { session: "a".into(), have: 3 },
            Frame::Welcome { have: 0 },
            Frame::Msg { number: 7, text: "x y z".into() },
            Frame::Ack { up_to: 9 },
            Frame::Finish { sent: 4 },
            Frame::Total { sent: 5, count },
        ] {
            assert_eq!(frame.to_string().parse(), Ok(frame));
        }
        for bad in ["", "hello a", "msg x y", "total 1 2 3", "ack"] {
            assert!(bad.parse::<Frame>().is_err(), "{bad}");
        }
    }

    /// The server dies twice, with all of its memory; its journal alone is left.
    #[tokio::test]
    async fn nothing_is_lost_doubled_or_out_of_order_though_the_server_dies() {
        let journal = std::env::temp_dir().join(format!("everwire-{}-courier.journal", std::process::id()));
        let _ = std::fs::remove_file(&journal);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let pace = Duration::from_millis(3);
        let mut server = tokio::spawn(serve(listener, journal.clone(), pace));

        let (stop, stopped) = watch::channel(false);
        let (tell, mut connected) = tokio::sync::mpsc::unbounded_channel();
        let courier = tokio::spawn(run(
            CourierConfig {
                request: ConnectRequest::new(&format!("ws://{address}/")).unwrap(),
                engine: TungsteniteEngine::builder().build().unwrap(),
                session: "one".to_owned(),
                pace,
                ping: PingConfig::default(),
                monitor: stream::iter([NetworkStatus::online()]).chain(stream::pending()),
                seed: 7,
            },
            stopped,
            move |snapshot| {
                if snapshot.state.is_connected() {
                    let _ = tell.send(());
                }
            },
        ));
        for _ in 0..2 {
            connected.recv().await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
            server.abort();
            let _ = server.await;
            let listener = TcpListener::bind(address).await.unwrap();
            server = tokio::spawn(serve(listener, journal.clone(), pace));
        }
        connected.recv().await.unwrap();
        stop.send_replace(true);
        let report = tokio::time::timeout(Duration::from_secs(30), courier).await.unwrap().unwrap().unwrap();
        let Report { up, down } = report;
        assert!(up.sent > 20 && down.sent > 20, "{report:?}");
        for count in [up, down] {
            assert_eq!((count.lost, count.duplicated, count.reordered), (0, 0, 0), "{report:?}");
        }
        server.abort();
        std::fs::remove_file(&journal).unwrap();
    }
}
