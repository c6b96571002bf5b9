//! Pieces of a command line that the programs share.

mod duration;
mod output;

pub use duration::{parse_duration, show_duration};
pub use output::{Output, Paint};
