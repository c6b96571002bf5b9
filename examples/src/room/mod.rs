//! The room protocol: a small signalling protocol in JSON, of the kind a video chat needs.
//!
//! Its authentication, health check and error frames are Stream's. What the participants say to each other
//! ([`Signal`]) travels in two envelopes that carry numbers, so that both sides know after a drop what is
//! missing:
//!
//! ```text
//! participant ── post { id } ──> server ── delivery { seq, from } ──> every other participant
//!             <── accepted { id } ──                <── seen { seq } ──
//! ```
//!
//! After a reconnect the participant joins again and says how far it has `seen`; the server answers how far it
//! has `accepted`. Each side sends again what the other lacks, and drops what it has already.

mod event;
mod frames;

pub use event::{RoomDecoder, RoomEvent};
pub use frames::{Down, ErrorBody, Me, Signal, Up};
