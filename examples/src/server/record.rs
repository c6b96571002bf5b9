//! What the server saw: the other half of every claim that a client makes about itself.

use std::time::Duration;

/// Everything that happened at the server since its start.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Record {
    /// Every accepted upgrade, oldest first.
    pub connections: Vec<ConnectionRecord>,
    /// Posts that were taken.
    pub posts: u64,
    /// Posts that had been taken before.
    pub duplicates: u64,
    /// Posts that came before a lower number had come.
    pub gaps: u64,
    /// Health checks, answered or not.
    pub health_checks: u64,
    /// Authentications that were refused.
    pub failed_authentications: u64,
    /// Upgrades that were refused.
    pub refused_upgrades: u64,
}

impl Record {
    /// The connections of one participant, oldest first.
    pub fn of<'a>(&'a self, participant: &'a str) -> impl DoubleEndedIterator<Item = &'a ConnectionRecord> {
        self.connections.iter().filter(move |c| c.participant.as_deref() == Some(participant))
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.connections.iter().filter(|c| c.ending == Ending::Open).count()
    }
}

/// One connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionRecord {
    /// The connection id that the server gave.
    pub connection_id: String,
    /// Who it was, once that was known.
    pub participant: Option<String>,
    /// The path of the URL.
    pub path: String,
    /// When it was opened, since the server's start.
    pub opened: Duration,
    /// How it ended.
    pub ending: Ending,
}

/// How a connection ended.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Ending {
    /// It did not.
    Open,
    /// The client sent a close frame first.
    Client {
        /// Its code, 1005 for none.
        code: u16,
        /// Its reason.
        reason: String,
    },
    /// We did.
    Server {
        /// Our code.
        code: u16,
    },
    /// The transport ended without a close frame.
    Lost,
}
