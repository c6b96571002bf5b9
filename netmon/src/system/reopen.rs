//! When to open a broken watcher again.

use std::time::{Duration, Instant};

/// if-watch reports the error of a broken socket on every poll, for ever; so a watcher is dropped on its first
/// error, and opened again after a pause that doubles.
#[derive(Debug, Default)]
pub(crate) struct Reopen {
    opened: Option<Instant>,
    pause: Option<Duration>,
}

impl Reopen {
    const FIRST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(60);

    /// The watcher was opened.
    pub(crate) fn handle_opened(&mut self, now: Instant) {
        self.opened = Some(now);
    }

    /// The watcher broke, or could not be opened. Returns how long to leave it alone.
    pub(crate) fn handle_error(&mut self, now: Instant) -> Duration {
        // One that worked for long deserves a fresh start.
        let worked = self.opened.take().is_some_and(|opened| now >= opened + Self::LONGEST);
        let pause = match self.pause {
            Some(last) if !worked => (last * 2).min(Self::LONGEST),
            _ => Self::FIRST,
        };
        self.pause = Some(pause);
        pause
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test begins at some instant, whichever")]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_a_minute_and_starts_over_after_good_service() {
        let mut now = Instant::now();
        let mut reopen = Reopen::default();
        let mut pauses = Vec::new();
        for _ in 0..9 {
            reopen.handle_opened(now);
            let pause = reopen.handle_error(now);
            now += pause;
            pauses.push(pause.as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        reopen.handle_opened(now);
        assert_eq!(reopen.handle_error(now + Reopen::LONGEST), Reopen::FIRST);
    }
}
