//! The path probe: which of our addresses would the operating system use now to reach the server?
//!
//! A UDP socket is connected to the server's address and asked for its own. Connecting a UDP socket makes the
//! kernel look up the route and choose the source address, and sends no packet. Unlike the list of interfaces
//! this follows the default route, notices a link that is down, and is quiet when an unrelated bridge appears.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use crate::Reachability;

/// Where to look without a server of one's own: the documentation networks (RFC 5737, RFC 3849), which take
/// the default route and belong to nobody.
pub(crate) const ANYWHERE: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 443),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), 443),
];

/// "Address family not supported": a kernel without IPv6. The standard library has no kind for it.
const NO_SUCH_FAMILY: i32 = if cfg!(windows) {
    10_047
} else if cfg!(any(target_os = "linux", target_os = "android")) {
    97
} else {
    47
};

/// The way to one target.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Way {
    /// From this address of ours.
    From(IpAddr),
    /// None.
    No,
    /// The system would not tell, for a reason of its own (a sandbox, no more file descriptors).
    Untold,
}

/// What all ways together say.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Path {
    pub(crate) reachability: Reachability,
    /// The local addresses towards the targets, in the order of the targets, each once.
    pub(crate) locals: Vec<IpAddr>,
}

impl Path {
    /// Any way that is open means online.
    pub(crate) fn of(ways: impl IntoIterator<Item = Way>) -> Self {
        let mut path = Self { reachability: Reachability::Offline, locals: Vec::new() };
        let (mut asked, mut untold) = (false, false);
        for way in ways {
            asked = true;
            match way {
                Way::From(local) if !path.locals.contains(&local) => path.locals.push(local),
                Way::From(_) | Way::No => {}
                Way::Untold => untold = true,
            }
        }
        if !path.locals.is_empty() {
            path.reachability = Reachability::Online;
        } else if untold || !asked {
            path.reachability = Reachability::Unknown;
        }
        path
    }
}

/// Asks the operating system. It takes microseconds and never blocks.
pub(crate) fn probe(target: SocketAddr) -> Way {
    judge(target, ask(target))
}

fn ask(target: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr =
        if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(target)?;
    Ok(socket.local_addr()?.ip())
}

fn judge(target: SocketAddr, answer: io::Result<IpAddr>) -> Way {
    match answer {
        // Some systems answer so instead of failing.
        Ok(local) if local.is_unspecified() => Way::No,
        // An address that reaches the link alone is chosen where a host has nothing better, and helps only
        // towards a neighbour.
        Ok(local) if is_link_local(local) && !is_link_local(target.ip()) => Way::No,
        // Linux takes ::1 when a default route is left and no address to go with it.
        Ok(local) if local.is_loopback() && !target.ip().is_loopback() => Way::No,
        Ok(local) => Way::From(local),
        Err(error) if means_no_path(&error) => Way::No,
        Err(error) => {
            tracing::debug!(%error, "the path probe was refused");
            Way::Untold
        }
    }
}

fn means_no_path(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkDown
            // No address of the target's family.
            | io::ErrorKind::AddrNotAvailable
            // What Linux says of a route of the type "blackhole".
            | io::ErrorKind::InvalidInput
    ) || error.raw_os_error() == Some(NO_SUCH_FAMILY)
}

/// Whether an address means nothing beyond its own link.
pub(crate) fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// Whether `address` is still one of this machine's, asked by binding a socket to it.
pub(crate) fn is_ours(address: IpAddr) -> bool {
    // Only a plain "not available" is evidence; anything else leaves the address where it is.
    !matches!(UdpSocket::bind((address, 0)), Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn target(text: &str) -> SocketAddr {
        SocketAddr::new(ip(text), 443)
    }

    #[test]
    fn any_open_way_means_online_and_a_refusal_is_not_offline() {
        let a = ip("10.0.0.1");
        for (ways, reachability, locals) in [
            (vec![Way::From(a)], Reachability::Online, vec![a]),
            (vec![Way::No, Way::From(a), Way::From(a)], Reachability::Online, vec![a]),
            (vec![Way::Untold, Way::From(a)], Reachability::Online, vec![a]),
            (vec![Way::No, Way::No], Reachability::Offline, vec![]),
            (vec![Way::No, Way::Untold], Reachability::Unknown, vec![]),
            (vec![], Reachability::Unknown, vec![]),
        ] {
            assert_eq!(Path::of(ways.clone()), Path { reachability, locals }, "{ways:?}");
        }
    }

    /// §5: ENETUNREACH is offline.
    #[test]
    fn rule_5_what_the_kernel_says_of_a_missing_path() {
        let far = target("192.0.2.1");
        for kind in [
            io::ErrorKind::NetworkUnreachable,
            io::ErrorKind::HostUnreachable,
            io::ErrorKind::AddrNotAvailable,
            io::ErrorKind::InvalidInput,
        ] {
            assert_eq!(judge(far, Err(kind.into())), Way::No, "{kind:?}");
        }
        assert_eq!(judge(far, Err(io::Error::from_raw_os_error(NO_SUCH_FAMILY))), Way::No);
        assert_eq!(judge(far, Err(io::ErrorKind::PermissionDenied.into())), Way::Untold);
    }

    #[test]
    fn an_address_that_reaches_its_link_alone_is_no_path_beyond_it() {
        assert_eq!(judge(target("2001:db8::1"), Ok(ip("fe80::1"))), Way::No);
        assert_eq!(judge(target("192.0.2.1"), Ok(ip("169.254.3.4"))), Way::No);
        assert_eq!(judge(target("fe80::2"), Ok(ip("fe80::1"))), Way::From(ip("fe80::1")));
        assert_eq!(judge(target("192.0.2.1"), Ok(ip("0.0.0.0"))), Way::No);
        assert_eq!(judge(target("2001:db8::1"), Ok(ip("::1"))), Way::No);
    }

    #[test]
    fn loopback_is_reached_from_loopback_on_every_machine() {
        assert_eq!(probe(SocketAddr::new(ip("127.0.0.1"), 9)), Way::From(ip("127.0.0.1")));
    }

    #[test]
    fn an_address_of_ours_is_told_from_a_foreign_one() {
        assert!(is_ours(ip("127.0.0.1")));
        assert!(!is_ours(ip("192.0.2.77")), "a documentation address is nobody's");
    }
}
