//! The faults: what is done to the network, to the server, to the machines, and by the users.

use std::time::Duration;

/// One thing that happens at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Act {
    /// Nothing passes between a machine and the server, and what is on its way is lost.
    Partition(usize),
    /// The same in one direction: from the machine (`true`), or to it.
    HalfPartition(usize, bool),
    /// What is on its way waits.
    Hold(usize),
    /// What waits arrives.
    Release(usize),
    /// The path is whole again; what waits does not arrive.
    Repair(usize),
    /// The server's process is killed; its system says goodbye for it.
    Crash,
    /// The server falls silent at once.
    PowerLoss,
    /// The server starts, if it does not run.
    Start,
    /// The server's process is killed and starts at once.
    Bounce,
    /// The server behaves like this until it is told otherwise.
    Server(Server),
    /// No token is good any more.
    ExpireTokens,
    /// The server does this to one client.
    Order(String, Order),
    /// A machine's monitor says this.
    Monitor(usize, Status),
    /// A user does this.
    User(String, Deed),
}

/// How the server behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Server {
    /// Refuses upgrades with a status, and says when to come again.
    Refuse(Option<(u16, Option<u64>)>),
    /// Takes its time with an authentication.
    SlowAuth(Duration),
    /// Never answers an authentication.
    MuteAuth(bool),
    /// Neither reads nor answers.
    Frozen(bool),
    /// Closes right after the authentication.
    CloseAfterAuth(Option<u16>),
}

/// What the server does to one connection.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Order {
    /// Closes it with a code.
    Close(u16),
    /// Drops it without a word.
    Reset,
    /// Ends its own direction without a close frame.
    EndOfStream,
    /// Announces an error, then closes with 1000.
    Error(i64, u16),
    /// Spoils one byte of what it writes next; which one and how is drawn.
    Spoil(u64),
    /// Posts so many messages at once.
    Flood(usize),
    /// A newer connection of the same client has come.
    Replaced,
}

/// What a monitor says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Status {
    Online,
    Offline,
    /// The address of the machine is another one.
    AddressGone,
    /// The machine slept for so long.
    WokeUp(Duration),
    ClockStepped,
    /// The applications of the machine are in the background.
    Background,
}

/// What a user does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Deed {
    /// Reads nothing for so long.
    Slow(Duration),
    /// Sends so many messages at once.
    Burst(usize),
    /// Disconnects, and connects again after so long.
    Off(Duration),
    /// Presses "retry".
    RetryNow,
}

/// Names each kind of fault by what it looks like, and lists all names, so that neither is forgotten.
macro_rules! kinds {
    ($($act:pat $(if $begins:expr)? => $name:literal,)*) => {
        /// The names of all kinds.
        #[cfg(test)]
        pub(crate) const KINDS: &[&str] = &[$($name),*];

        impl Act {
            /// The name of its kind; nothing for what ends a fault.
            pub(crate) const fn kind(&self) -> Option<&'static str> {
                Some(match self {
                    $($act $(if $begins)? => $name,)*
                    _ => return None,
                })
            }
        }
    };
}

kinds! {
    Act::Partition(_) => "partition",
    Act::HalfPartition(..) => "half partition",
    Act::Hold(_) => "hold",
    Act::Crash => "crash",
    Act::PowerLoss => "power loss",
    Act::Bounce => "bounce",
    Act::Server(Server::Refuse(Some(_))) => "refused upgrades",
    Act::Server(Server::SlowAuth(slow)) if !slow.is_zero() => "slow authentication",
    Act::Server(Server::MuteAuth(true)) => "mute authentication",
    Act::Server(Server::Frozen(true)) => "frozen server",
    Act::Server(Server::CloseAfterAuth(Some(_))) => "close after authentication",
    Act::ExpireTokens => "expired tokens",
    Act::Order(_, Order::Close(_)) => "close code",
    Act::Order(_, Order::Reset) => "reset",
    Act::Order(_, Order::EndOfStream) => "end of stream",
    Act::Order(_, Order::Error(..)) => "announced error",
    Act::Order(_, Order::Spoil(_)) => "corrupted frame",
    Act::Order(_, Order::Flood(_)) => "flood",
    Act::Monitor(_, Status::Offline) => "offline",
    Act::Monitor(_, Status::AddressGone) => "address gone",
    Act::Monitor(_, Status::WokeUp(_)) => "suspend",
    Act::Monitor(_, Status::ClockStepped) => "clock step",
    Act::Monitor(_, Status::Background) => "background",
    Act::User(_, Deed::Slow(_)) => "slow consumer",
    Act::User(_, Deed::Burst(_)) => "queue overflow",
    Act::User(_, Deed::Off(_)) => "user disconnect",
    Act::User(_, Deed::RetryNow) => "user retry",
}
