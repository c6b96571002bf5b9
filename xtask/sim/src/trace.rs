//! The story of a run: what client, recovery, engine and server trace, each line with the moment of the virtual clock.

use std::{cell::RefCell, fmt, io, sync::Once};

use tracing::{Level, Metadata, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer as _,
    filter::DynFilterFn,
    fmt::{format::Writer, time::FormatTime},
    layer::SubscriberExt as _,
};

use crate::clock;

thread_local! {
    /// The story of the run that this thread simulates, while somebody wants it.
    static STORY: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Does something, and tells its story.
pub(crate) fn told<R>(work: impl FnOnce() -> R) -> (R, String) {
    static ONCE: Once = Once::new();
    ONCE.call_once(listen);
    STORY.set(Some(Vec::new()));
    let done = work();
    let bytes = STORY.take().unwrap_or_default();
    (done, String::from_utf8_lossy(&bytes).into_owned())
}

/// One subscriber for all threads, which looks at each event anew: one for each thread would have to share what the
/// callsites remember of who listens.
fn listen() {
    let wanted = DynFilterFn::new(|of: &Metadata<'_>, _| STORY.with_borrow(Option::is_some) && is_ours(of));
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_timer(Virtual)
        .with_writer(|| Pen)
        .with_filter(wanted.with_max_level_hint(LevelFilter::DEBUG));
    // Somebody else's subscriber would be one in a test of theirs; there is none.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer));
}

/// All that we say ourselves, and on which machine.
fn is_ours(of: &Metadata<'_>) -> bool {
    (of.target().starts_with("everwire") && *of.level() <= Level::DEBUG) || of.name() == "node"
}

/// Where two stories part, if they do.
pub(crate) fn difference(one: &str, other: &str) -> Option<String> {
    if one == other {
        return None;
    }
    let mut lines = one.lines().zip(other.lines()).zip(1..);
    let parts = lines.find(|((one, other), _)| one != other);
    Some(match parts {
        Some(((one, other), line)) => format!("line {line} is {one:?}, and then {other:?}"),
        None => format!("{} lines, and then {}", one.lines().count(), other.lines().count()),
    })
}

/// The virtual clock, in seconds.
struct Virtual;

impl FormatTime for Virtual {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        write!(w, "{:>8.3}", clock::elapsed().as_secs_f64())
    }
}

/// Writes into the story of its thread.
struct Pen;

impl io::Write for Pen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        STORY.with_borrow_mut(|story| story.get_or_insert_default().extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
