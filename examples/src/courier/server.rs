//! The server: sessions that outlive their connections, and the process.

use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, accept_async_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

use super::{
    Frame,
    journal::{Entry, Half, Journal},
};

/// How long a peer may take to say hello.
const PATIENCE: Duration = Duration::from_secs(10);

type Problem = Box<dyn std::error::Error + Send + Sync>;

/// Serves until the future is dropped, and posts to each session at `pace`. What the journal knows of earlier
/// sessions goes on.
///
/// # Errors
/// When the journal cannot be read or written. How a connection ends is its peer's business.
pub async fn serve(listener: TcpListener, journal: PathBuf, pace: Duration) -> io::Result<()> {
    let (journal, halves) = Journal::open(&journal)?;
    let shared = Arc::new(Shared { journal: Mutex::new(journal), sessions: Mutex::default(), pace });
    let mut posters = JoinSet::new();
    for (name, half) in halves {
        posters.spawn(shared.session(&name, half).1.post(Arc::clone(&shared)));
    }
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let shared = Arc::clone(&shared);
                    connections.spawn(async move { drop(connection(shared, stream).await) });
                }
                // The peer was gone before it was taken in, or we are out of descriptors.
                Err(_) => sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

struct Shared {
    journal: Mutex<Journal>,
    sessions: Mutex<HashMap<String, Arc<Session>>>,
    pace: Duration,
}

struct Session {
    name: String,
    half: Mutex<Half>,
    /// How many messages were posted, and which connection is the newest.
    news: watch::Sender<(u64, u64)>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is one step: a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// The session of this name, and whether it is new.
    fn session(&self, name: &str, half: Half) -> (bool, Arc<Session>) {
        let mut sessions = lock(&self.sessions);
        if let Some(session) = sessions.get(name) {
            return (false, Arc::clone(session));
        }
        let news = watch::Sender::new((half.sender.sent(), 0));
        let session = Arc::new(Session { name: name.to_owned(), half: Mutex::new(half), news });
        sessions.insert(name.to_owned(), Arc::clone(&session));
        (true, session)
    }

    fn write(&self, session: &str, entry: Entry) -> io::Result<()> {
        lock(&self.journal).write(session, entry)
    }
}

impl Session {
    /// Posts the next number at each pace, whether or not there is a connection, until the client has enough.
    async fn post(self: Arc<Self>, shared: Arc<Shared>) {
        loop {
            sleep(shared.pace).await;
            let mut half = lock(&self.half);
            if half.finished {
                return;
            }
            if half.sender.len() < 1024 {
                // Written down first: what was told to anybody is known after our death.
                if shared.write(&self.name, Entry::Posted).is_err() {
                    return;
                }
                half.post();
                self.news.send_modify(|news| news.0 = half.sender.sent());
            }
        }
    }

    /// Takes a frame, and answers it.
    fn hear(&self, shared: &Shared, frame: Frame) -> Result<Option<Frame>, Problem> {
        let mut half = lock(&self.half);
        Ok(match frame {
            Frame::Msg { number, text } => {
                half.receiver.receive(number, text.parse()?);
                while let Some((_, number)) = half.receiver.pop() {
                    shared.write(&self.name, Entry::Taken(number))?;
                    half.books.note(number);
                }
                Some(Frame::Ack { up_to: half.receiver.ack() })
            }
            Frame::Ack { up_to } => {
                half.sender.acked(up_to)?;
                None
            }
            Frame::Finish { sent } => {
                if !half.finished {
                    shared.write(&self.name, Entry::Finished)?;
                    half.finished = true;
                }
                Some(Frame::Total { sent: half.sender.sent(), count: half.books.close(sent) })
            }
            other => return Err(format!("a client does not say: {other}").into()),
        })
    }
}

async fn connection(shared: Arc<Shared>, stream: TcpStream) -> Result<(), Problem> {
    stream.set_nodelay(true)?;
    // Small buffers: there may be ten thousand.
    let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0);
    let mut socket = timeout(PATIENCE, accept_async_with_config(stream, Some(config))).await??;
    let hello = timeout(PATIENCE, next(&mut socket)).await??;
    let Some(Frame::Hello { session, have }) = hello else { return Err("the first frame is a hello".into()) };
    let (is_new, session) = shared.session(&session, Half::new());
    if is_new {
        tokio::spawn(Arc::clone(&session).post(Arc::clone(&shared)));
    }
    let mut news = session.news.subscribe();
    session.news.send_modify(|news| news.1 += 1);
    let ours = news.borrow_and_update().1;
    let welcome = {
        let mut half = lock(&session.half);
        half.sender.resume(have)?;
        Frame::Welcome { have: half.receiver.ack() }
    };
    socket.send(Message::text(welcome.to_string())).await?;

    let mut told = have;
    loop {
        // What was posted since, and after a welcome all that the client does not have.
        let posted: Vec<_> = {
            let half = lock(&session.half);
            half.sender.unacked().filter(|(number, _)| *number > told).map(|(n, text)| (n, *text)).collect()
        };
        for (number, text) in posted {
            told = number;
            let frame = Frame::Msg { number, text: text.to_string() };
            socket.feed(Message::text(frame.to_string())).await?;
        }
        socket.flush().await?;
        tokio::select! {
            changed = news.changed() => {
                changed?;
                if news.borrow_and_update().1 != ours {
                    return Ok(()); // The client has come again: this connection is an old one.
                }
            }
            frame = next(&mut socket) => match frame? {
                Some(frame) => {
                    if let Some(answer) = session.hear(&shared, frame)? {
                        socket.feed(Message::text(answer.to_string())).await?;
                    }
                }
                None => return Ok(()),
            },
        }
    }
}

/// The next frame; none at the end.
async fn next(socket: &mut WebSocketStream<TcpStream>) -> Result<Option<Frame>, Problem> {
    while let Some(message) = socket.next().await {
        if let Message::Text(text) = message? {
            return Ok(Some(text.parse::<Frame>()?));
        }
    }
    Ok(None)
}
