//! What the system knows of a process: memory, processor, descriptors.

use std::{fs, time::Duration};

use super::Problem;

/// Linux counts in hundredths of a second, whatever the kernel's own clock.
const TICK: Duration = Duration::from_millis(10);

/// The bytes of memory that this process has.
pub(super) fn rss_of_this() -> Result<u64, Problem> {
    rss(std::process::id())
}

/// The bytes of memory that a process has.
pub(super) fn rss(process: u32) -> Result<u64, Problem> {
    let status = read(process, "status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// How long this process has been on a processor.
pub(super) fn cpu_of_this() -> Result<Duration, Problem> {
    let stat = read(std::process::id(), "stat")?;
    // The program's name, in brackets, may hold anything; the fields are counted behind it.
    let (_, fields) = stat.rsplit_once(')').ok_or("no name")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks =
        |index: usize| fields.get(index).and_then(|ticks| ticks.parse::<u32>().ok()).ok_or("no times");
    Ok(TICK * (ticks(11)? + ticks(12)?))
}

fn read(process: u32, what: &str) -> Result<String, Problem> {
    let path = format!("/proc/{process}/{what}");
    fs::read_to_string(&path).map_err(|error| format!("{path}: {error}").into())
}

/// Makes room for so many open descriptors, of this process and of those that it starts.
#[cfg(unix)]
pub(super) fn allow_descriptors(wanted: u64) -> Result<(), Problem> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft >= wanted {
        return Ok(());
    }
    setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted)).map_err(|error| {
        format!("needs {wanted} descriptors, and the system allows {hard}: {error}; see `ulimit -n`").into()
    })
}

/// Other systems have no such limit.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the other system's form can fail")]
pub(super) fn allow_descriptors(_wanted: u64) -> Result<(), Problem> {
    Ok(())
}
