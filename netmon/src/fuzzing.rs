//! The parser of the kernel's notifications, with what must hold of it, for fuzzers.
//!
//! Not part of the interface: nothing here is promised from one version to the next.

use crate::system::rtnetlink::{MOST_ROUTES, read_datagram};

/// A datagram of rtnetlink: it is read to its end or to what cannot be read, and what is kept of it is bounded.
///
/// # Panics
/// When that does not hold.
pub fn netlink(datagram: &[u8]) {
    let mut kernel = crate::system::snapshot::Kernel::default();
    let read = read_datagram(&mut kernel, datagram);
    assert!(read <= datagram.len());
    // The last one may have many hops.
    assert!(kernel.routes.len() < MOST_ROUTES + datagram.len());
    assert!(kernel.links.len() + kernel.addresses.len() <= datagram.len() / 16);
}
