//! What the path probe aims at: an address, or a name and what it resolves to.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use super::path::{ANYWHERE, Path, Way};
use crate::Reachability;

/// Between two lookups of the same name, while there is reason for another.
const LOOKUP_PAUSE: Duration = Duration::from_secs(10);

/// No server has so many addresses that more would tell more.
const MOST: usize = 8;

/// Where the server is, as far as it is known.
#[derive(Debug)]
pub(crate) struct Targets {
    addresses: Vec<SocketAddr>,
    name: Option<Name>,
}

#[derive(Debug)]
struct Name {
    /// Whether an answer has come, of any kind.
    answered: bool,
    running: bool,
    wanted: bool,
    last_start: Option<Instant>,
}

impl Targets {
    /// Towards `host`, or anywhere.
    pub(crate) fn new(target: Option<(&str, u16)>) -> Self {
        let (addresses, name) = match target {
            None => (ANYWHERE.to_vec(), None),
            Some((host, port)) => match literal(host) {
                Some(ip) => (vec![SocketAddr::new(ip, port)], None),
                None => (
                    ANYWHERE.to_vec(),
                    Some(Name { answered: false, running: false, wanted: true, last_start: None }),
                ),
            },
        };
        Self { addresses, name }
    }

    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What the ways to these addresses mean.
    ///
    /// Before a name was ever looked up, the way to anywhere says nothing against a server that may well be on
    /// this very machine.
    pub(crate) fn judge(&self, ways: impl IntoIterator<Item = Way>) -> Path {
        let mut path = Path::of(ways);
        if path.reachability == Reachability::Offline && self.name.as_ref().is_some_and(|name| !name.answered)
        {
            path.reachability = Reachability::Unknown;
        }
        path
    }

    /// Whether to look the name up now. Then it is being looked up until [`Targets::handle_lookup`].
    pub(crate) fn start_lookup(&mut self, now: Instant) -> bool {
        let Some(name) = &mut self.name else { return false };
        let is_due = name.last_start.is_none_or(|start| now >= start + LOOKUP_PAUSE);
        let start = name.wanted && !name.running && is_due;
        if start {
            *name = Name { running: true, wanted: false, last_start: Some(now), ..*name };
        }
        start
    }

    /// The answer of a lookup. A failed one leaves the last good answer. Returns whether to compare anew.
    pub(crate) fn handle_lookup(&mut self, answer: io::Result<Vec<SocketAddr>>) -> bool {
        let Some(name) = &mut self.name else { return false };
        name.running = false;
        let first = !std::mem::replace(&mut name.answered, true);
        let found = match answer {
            Ok(mut found) if !found.is_empty() => {
                found.truncate(MOST);
                found
            }
            Ok(_) => {
                name.wanted = true;
                return first;
            }
            Err(error) => {
                tracing::debug!(%error, "the server's name could not be resolved");
                name.wanted = true;
                return first;
            }
        };
        let changed = found != self.addresses;
        self.addresses = found;
        first || changed
    }

    /// Another network may answer otherwise, and a server that cannot be reached may have moved.
    pub(crate) fn want_lookup(&mut self) {
        if let Some(name) = &mut self.name {
            name.wanted = true;
        }
    }
}

/// An address, in brackets as in a URL or without.
fn literal(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    bare.parse().ok()
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test begins at some instant, whichever")]
mod tests {
    use super::*;

    #[test]
    fn a_literal_needs_no_lookup() {
        for (host, ip) in [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("[2001:db8::9]", "2001:db8::9")] {
            let mut targets = Targets::new(Some((host, 443)));
            assert_eq!(targets.addresses(), [SocketAddr::new(ip.parse().unwrap(), 443)]);
            targets.want_lookup();
            assert!(!targets.start_lookup(Instant::now()), "{host}");
            assert_eq!(targets.judge([Way::No]).reachability, Reachability::Offline);
        }
    }

    #[test]
    fn without_a_target_any_way_out_will_do() {
        assert_eq!(Targets::new(None).addresses(), ANYWHERE);
    }

    #[test]
    fn a_name_is_looked_up_once_and_again_when_there_is_reason() {
        let t0 = Instant::now();
        let mut targets = Targets::new(Some(("chat.example", 443)));
        assert_eq!(targets.judge([Way::No]).reachability, Reachability::Unknown, "it may be on this machine");
        assert!(targets.start_lookup(t0));
        assert!(!targets.start_lookup(t0 + LOOKUP_PAUSE), "one at a time");

        let found = SocketAddr::from(([203, 0, 113, 7], 443));
        assert!(targets.handle_lookup(Ok(vec![found])));
        assert_eq!(targets.addresses(), [found]);
        assert_eq!(targets.judge([Way::No]).reachability, Reachability::Offline);
        assert!(!targets.start_lookup(t0 + 10 * LOOKUP_PAUSE), "no reason");

        targets.want_lookup();
        assert!(!targets.start_lookup(t0 + LOOKUP_PAUSE / 2), "not so soon");
        assert!(targets.start_lookup(t0 + LOOKUP_PAUSE));
        assert!(!targets.handle_lookup(Err(io::ErrorKind::NotFound.into())), "a failure changes nothing");
        assert_eq!(targets.addresses(), [found]);
        assert!(targets.start_lookup(t0 + 2 * LOOKUP_PAUSE), "a failure is reason enough");
        assert!(!targets.handle_lookup(Ok(vec![found])), "the same answer changes nothing");
    }

    #[test]
    fn a_name_that_never_resolved_is_judged_by_the_way_to_anywhere() {
        let mut targets = Targets::new(Some(("chat.example", 443)));
        assert!(targets.start_lookup(Instant::now()));
        assert!(targets.handle_lookup(Ok(vec![])), "an empty answer is an answer");
        assert_eq!(targets.addresses(), ANYWHERE);
        assert_eq!(targets.judge([Way::No]).reachability, Reachability::Offline);
    }

    #[test]
    fn addresses_are_bounded() {
        let mut targets = Targets::new(Some(("chat.example", 443)));
        targets.handle_lookup(Ok((0..100).map(|n| SocketAddr::from(([10, 0, 0, n], 443))).collect()));
        assert_eq!(targets.addresses().len(), MOST);
    }
}
