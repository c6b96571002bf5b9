//! Compare, then act: what a change of the network means for a live connection.

use std::net::IpAddr;

use everwire_netmon::NetworkStatus;

/// What follows for the live connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum PathVerdict {
    /// The connection's own address is no longer ours: nothing will ever arrive there.
    Gone,
    /// Another path is preferred now, and the connection's own still exists: it may live on.
    Moved,
    /// There is no path; the connection may survive a short gap.
    Unreachable,
    /// Nothing speaks against the connection.
    Same,
}

/// Compares the connection's own address with what the monitor says.
pub(crate) fn compare(local: Option<IpAddr>, status: &NetworkStatus) -> PathVerdict {
    let Some(local) = local.map(|ip| ip.to_canonical()) else {
        return if status.is_offline() { PathVerdict::Unreachable } else { PathVerdict::Same };
    };
    if status.is_gone(local) {
        return PathVerdict::Gone;
    }
    if status.is_offline() {
        return PathVerdict::Unreachable;
    }
    match status.local_addr.map(|ip| ip.to_canonical()) {
        // A connection within this machine uses no path, so none is better.
        _ if local.is_loopback() => PathVerdict::Same,
        // A path of the other family is no better path for this connection: many hosts have both.
        Some(path) if path.is_ipv4() == local.is_ipv4() && path != local => PathVerdict::Moved,
        _ => PathVerdict::Same,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn rule_5_compare_then_act() {
        let online = |path: &str| NetworkStatus::online().with_local_addr(ip(path));
        let with = |status: NetworkStatus, all: &[&str]| {
            status.with_addresses(all.iter().map(|text| ip(text)).collect::<Vec<_>>())
        };
        let ours = Some(ip("10.0.0.2"));
        for (local, status, verdict) in [
            (ours, NetworkStatus::unknown(), PathVerdict::Same),
            (ours, NetworkStatus::online(), PathVerdict::Same),
            (ours, online("10.0.0.2"), PathVerdict::Same),
            (ours, online("10.0.9.9"), PathVerdict::Moved),
            (ours, with(online("10.0.9.9"), &["10.0.9.9", "10.0.0.2"]), PathVerdict::Moved),
            (ours, with(online("10.0.9.9"), &["10.0.9.9"]), PathVerdict::Gone),
            (ours, with(NetworkStatus::offline(), &[]), PathVerdict::Gone),
            (ours, with(NetworkStatus::offline(), &["10.0.0.2"]), PathVerdict::Unreachable),
            (ours, NetworkStatus::offline(), PathVerdict::Unreachable),
            (ours, online("2001:db8::1"), PathVerdict::Same),
            (Some(ip("::ffff:10.0.0.2")), with(online("10.0.0.2"), &["10.0.0.2"]), PathVerdict::Same),
            (Some(ip("127.0.0.1")), with(online("127.0.0.1"), &["10.0.0.2"]), PathVerdict::Same),
            (Some(ip("127.0.0.1")), online("10.0.9.9"), PathVerdict::Same),
            (None, online("10.0.9.9"), PathVerdict::Same),
            (None, NetworkStatus::offline(), PathVerdict::Unreachable),
        ] {
            assert_eq!(compare(local, &status), verdict, "{local:?} against {status:?}");
        }
    }
}
