//! Which namespaces are never a pod's, and what is inside of those that may be.

use std::net::IpAddr;

use super::error::RedirectError;
use super::guard::{Facts, Refusal, admit, forbidden};
use super::lay::Target;
use crate::sys::netlink::address::addresses;
use crate::sys::netlink::{NetlinkSocket, Protocol};
use crate::sys::netns::{Netns, NetnsError, NetnsId};

/// Knows the daemon's own namespace and the host's. Its questions block for less than a millisecond.
#[derive(Clone, Copy, Debug)]
pub struct Warden {
    host: Option<NetnsId>,
    own: NetnsId,
}

// === impl Warden ===

impl Warden {
    /// Learns which namespaces are the daemon's own and the host's.
    pub fn new() -> Result<Self, NetnsError> {
        let own = Netns::own()?.id();
        // Unreadable in a container without the host's processes: then process 1 is the daemon's own, or nothing is
        // known of the host from there.
        let host = Netns::open("/proc/1/ns/net").ok().map(|netns| netns.id());
        Ok(Self { host, own })
    }

    /// Refuses the host's namespace and the daemon's own, whoever is said to live there.
    pub fn forbid(&self, netns: &Netns) -> Result<(), RedirectError> {
        forbidden(self.host_as_seen_from(netns)?, self.own, netns.id()).map_err(|source| refused(netns, source))
    }

    /// Every address of every interface inside.
    pub fn inside(&self, netns: &Netns) -> Result<Vec<IpAddr>, RedirectError> {
        let namespace = || netns.path().to_owned();
        let kernel = |source| RedirectError::Kernel { doing: "list addresses", namespace: namespace(), source };
        let mut socket = NetlinkSocket::open_in(netns, Protocol::Route).map_err(kernel)?;
        addresses(&mut socket).map_err(kernel)
    }

    /// Refuses a namespace that is the host's, the daemon's, another pod's, or claimed by another.
    pub fn admit(&self, target: Target<'_>) -> Result<(), RedirectError> {
        let Target { claim, netns, pod } = target;
        let inside = self.inside(netns)?;
        let host = self.host_as_seen_from(netns)?;
        let facts = Facts { host, inside, own: self.own, pod: pod.to_vec(), target: netns.id() };
        if claim.namespace() != netns.id() {
            return Err(refused(netns, Refusal::ClaimedElsewhere { asker: claim.pod().to_owned() }));
        }
        admit(&facts).map_err(|source| refused(netns, source))
    }

    /// The host's namespace; the kernel's first one is it, also where nothing else tells.
    fn host_as_seen_from(&self, netns: &Netns) -> Result<Option<NetnsId>, RedirectError> {
        Ok(if netns.is_initial()? { Some(netns.id()) } else { self.host })
    }
}

fn refused(netns: &Netns, source: Refusal) -> RedirectError {
    RedirectError::Refused { namespace: netns.path().to_owned(), source }
}
