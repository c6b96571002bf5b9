//! What the server knows of a session, and the file that lets it know the same after its death.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, BufRead as _, BufReader, Write as _},
    path::Path,
};

use everwire_client::reliable::{ReliableLimits, ReliableReceiver, ReliableSender};

use super::Books;

/// The server's half of a session.
#[derive(Debug)]
pub(super) struct Half {
    /// What it posts: the numbers themselves.
    pub(super) sender: ReliableSender<u64>,
    pub(super) receiver: ReliableReceiver<u64>,
    pub(super) books: Books,
    /// The client wants no more.
    pub(super) finished: bool,
}

/// How many messages may wait for their acknowledgement.
const WINDOW: u64 = 1024;

impl Half {
    pub(super) fn new() -> Self {
        let limits = ReliableLimits::default().with_messages(WINDOW as usize);
        Self {
            sender: ReliableSender::new(limits),
            receiver: ReliableReceiver::new(limits),
            books: Books::default(),
            finished: false,
        }
    }

    /// Posts the next number, when there is room.
    pub(super) fn post(&mut self) -> bool {
        let next = self.sender.sent() + 1;
        self.sender.push(next, 8).is_ok()
    }

    /// Posts what was posted before our death. Which messages were acknowledged is not written down; but without
    /// room for this one, the oldest had been.
    fn post_as_before(&mut self) {
        if !self.post() {
            let _ = self.sender.acked((self.sender.sent() + 1).saturating_sub(WINDOW));
            self.post();
        }
    }
}

/// An entry, about a session.
#[derive(Clone, Copy, Debug)]
pub(super) enum Entry {
    /// The client's next message was handed over; it carries this number.
    Taken(u64),
    /// We posted our next message.
    Posted,
    Finished,
}

/// Entries are written before anybody is told of them, each by one call to the system: what the system has taken
/// survives the death of the process.
#[derive(Debug)]
pub(super) struct Journal(File);

impl Journal {
    /// Opens the file, and reads what stands there.
    pub(super) fn open(path: &Path) -> io::Result<(Self, HashMap<String, Half>)> {
        let file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
        let mut halves = HashMap::<String, Half>::new();
        for line in BufReader::new(&file).lines() {
            let line = line?;
            let mut words = line.split(' ');
            let (Some(kind), Some(session)) = (words.next(), words.next()) else { continue };
            let half = halves.entry(session.to_owned()).or_insert_with(Half::new);
            match (kind, words.next().and_then(|number| number.parse().ok())) {
                ("taken", Some(number)) => {
                    half.books.note(number);
                    // Skipping nothing but the one that is next: it was taken in its order.
                    half.receiver.skip(half.receiver.ack() + 1);
                }
                ("posted", _) => half.post_as_before(),
                ("finished", _) => half.finished = true,
                _ => {}
            }
        }
        Ok((Self(file), halves))
    }

    pub(super) fn write(&mut self, session: &str, entry: Entry) -> io::Result<()> {
        let line = match entry {
            Entry::Taken(number) => format!("taken {session} {number}\n"),
            Entry::Posted => format!("posted {session}\n"),
            Entry::Finished => format!("finished {session}\n"),
        };
        self.0.write_all(line.as_bytes())
    }
}
