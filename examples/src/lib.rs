//! What the programs of this package share: the room protocol, the signalling server that speaks it, the proxy
//! that spoils a path on purpose, and the pieces of a command line.
//!
//! The programs themselves are short and stand in `src/bin` and `examples`; `README.md` lists them all.

pub mod cli;
pub mod clock;
pub mod courier;
pub mod demo;
pub mod fleet;
pub mod proxy;
pub mod room;
pub mod server;
pub mod soak;
pub mod tap;
pub mod video_chat;
pub mod watch;

/// The example of the front page, kept true by compiling it.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct FrontPage;
