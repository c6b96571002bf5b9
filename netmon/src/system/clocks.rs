//! Reads all clocks together.

use std::time::{Duration, SystemTime};

use super::suspend::Reading;

#[expect(clippy::disallowed_methods, reason = "this is the clock of the driver")]
pub(crate) fn read() -> Reading {
    Reading { now: tokio::time::Instant::now().into_std(), wall: SystemTime::now(), slept: slept() }
}

/// How long the machine has slept since it was started: the clock that counts sleep, less the one that does not.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn slept() -> Option<Duration> {
    use nix::time::{ClockId, clock_gettime};

    /// Between two readings so close nothing came in between.
    const TOGETHER: Duration = Duration::from_millis(1);
    const TRIES: usize = 4;

    let read = |clock| clock_gettime(clock).ok().map(Duration::from);
    for _ in 0..TRIES {
        let before = read(ClockId::CLOCK_MONOTONIC)?;
        let boot = read(ClockId::CLOCK_BOOTTIME)?;
        let after = read(ClockId::CLOCK_MONOTONIC)?;
        if after.saturating_sub(before) < TOGETHER {
            return Some(boot.saturating_sub(before));
        }
    }
    None
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn slept() -> Option<Duration> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn clocks_agree_with_themselves() {
        let (first, second) = (read(), read());
        assert!(second.now >= first.now);
        if cfg!(target_os = "linux") {
            let drift = second.slept.unwrap().abs_diff(first.slept.unwrap());
            assert!(drift < Duration::from_secs(1), "{drift:?}");
        }
    }
}
