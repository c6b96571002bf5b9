//! The parser of the kernel's notifications, with what must hold of it, for fuzzers.
//!
//! Not part of the interface: nothing here is promised from one version to the next.

use crate::system::netlink::{MOST_ROUTES, Message};

/// A datagram of rtnetlink: it is read to its end or to what cannot be read, and what is kept of it is bounded.
///
/// # Panics
/// When that does not hold.
pub fn netlink(datagram: &[u8]) {
    let mut kernel = crate::system::snapshot::Kernel::default();
    let mut rest = datagram;
    while let Some((message, after)) = Message::split(rest) {
        assert!(after.len() < rest.len());
        rest = after;
        let _ = (message.progress(), message.is_interrupted());
        message.take(&mut kernel);
    }
    // The last one may have many hops.
    assert!(kernel.routes.len() < MOST_ROUTES + datagram.len());
    assert!(kernel.links.len() + kernel.addresses.len() <= datagram.len() / 16);
}
