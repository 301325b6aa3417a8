//! Whether a namespace that an agent handed over is the pod's (pure).
//!
//! A namespace that is paired with another pod's name gives that name's identity to whoever lives in it. The agent does
//! not say which address its pod has; the mesh does, sooner or later.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use crate::model::name::NamespacedName;

/// What is known of a pod and the namespace that was handed over for it.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// The addresses that the mesh gives to the pod of this name on this node; empty while it knows none.
    pub recorded: &'a [IpAddr],
    /// Those inside, as [`own`] leaves them.
    pub inside: &'a [IpAddr],
    /// The record by which this namespace was proven to be the pod's since it was enrolled; empty when it was not.
    pub proven_by: &'a [IpAddr],
    /// What earlier pods of this name had on this node.
    pub departed: &'a [IpAddr],
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// Nothing speaks against it yet, and nothing waits for more.
    Unproven,
    Proven,
    /// It is another pod's.
    Foreign,
}

/// Judges.
pub fn pairing(evidence: &Evidence<'_>) -> Pairing {
    let Evidence { recorded, inside, proven_by, departed } = *evidence;
    let has = |all: &[IpAddr], ip: &IpAddr| all.iter().any(|other| other.to_canonical() == ip.to_canonical());
    // A pod may lack its second address for the moment; one proves whose namespace it is.
    if recorded.iter().any(|ip| has(inside, ip)) {
        Pairing::Proven
    } else if recorded.is_empty() || inside.is_empty() {
        // Not known yet; or its network comes up, or is taken down before the agent says that the pod is gone.
        Pairing::Unproven
    } else if recorded.iter().all(|ip| has(proven_by, ip)) {
        // A namespace never changes its pod, so it loses its addresses one by one.
        Pairing::Proven
    } else if recorded.iter().all(|ip| has(departed, ip)) {
        // The record is that of a pod of the same name that was here before: the mesh has not heard of this one.
        Pairing::Unproven
    } else {
        Pairing::Foreign
    }
}

/// The addresses that can be a pod's own among those of its namespace: every namespace has a loopback, and link-local
/// ones are known to nobody else.
pub fn own(inside: &[IpAddr]) -> Vec<IpAddr> {
    let is_own = |ip: &IpAddr| {
        let link_local = match ip {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || link_local)
    };
    let mut own: Vec<_> = inside.iter().map(IpAddr::to_canonical).filter(is_own).collect();
    own.sort();
    own.dedup();
    own
}

/// The addresses of pods that have left. A StatefulSet's pod comes back under its name with another address, and the
/// mesh may keep the old one for as long as the control plane is away.
#[derive(Debug, Default)]
pub struct Departed {
    newest_last: VecDeque<Left>,
}

#[derive(Debug)]
struct Left {
    key: NamespacedName,
    uid: Arc<str>,
    addresses: Vec<IpAddr>,
}

/// Pods that are remembered: some days of a busy node.
const MOST_DEPARTED: usize = 1024;

// === impl Departed ===

impl Departed {
    pub fn note(&mut self, key: &NamespacedName, uid: &Arc<str>, addresses: &[IpAddr]) {
        self.newest_last.retain(|left| left.uid != *uid);
        if self.newest_last.len() >= MOST_DEPARTED {
            self.newest_last.pop_front();
        }
        let left = Left { key: key.clone(), uid: Arc::clone(uid), addresses: addresses.to_vec() };
        self.newest_last.push_back(left);
    }

    /// Forgets pods of which `stands` says that the mesh's record is no longer theirs: it has moved on, and what it says
    /// now of that name is about another pod, also where the address is the same again.
    pub fn forget_unless(&mut self, stands: impl Fn(&NamespacedName, &[IpAddr]) -> bool) {
        self.newest_last.retain(|left| stands(&left.key, &left.addresses));
    }

    pub fn is_empty(&self) -> bool {
        self.newest_last.is_empty()
    }

    /// What the predecessors of this pod had; not what it had itself.
    pub fn before(&self, key: &NamespacedName, uid: &str) -> Vec<IpAddr> {
        let before = self.newest_last.iter().filter(|left| left.key == *key && *left.uid != *uid);
        before.flat_map(|left| left.addresses.iter().copied()).collect()
    }
}

#[cfg(test)]
mod tests;
