//! Refusing a namespace before anything is written into it. The check is pure; the registry of
//! claims is the only state.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::sys::netns::NetnsId;

/// What is known of a namespace that a pod is said to live in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The host's, which is that of process 1, where it can be read.
    pub host: Option<NetnsId>,
    /// Every address of every interface inside.
    pub inside: Vec<IpAddr>,
    /// The daemon's own.
    pub own: NetnsId,
    /// The pod's addresses as its object says.
    pub pod: Vec<IpAddr>,
    pub target: NetnsId,
}

/// Why a namespace must not be written into.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Configuration, or a pod that was replaced while we looked.
    #[error(
        "the namespace belongs to pod {holder} already, and pod {asker} claims it too: correct the netns annotation of one, or wait until the other is gone"
    )]
    Claimed { asker: String, holder: String },
    /// Us: the claim that was shown is for another namespace.
    #[error("the claim of pod {asker} is for another namespace")]
    ClaimedElsewhere { asker: String },
    /// Configuration: the pod uses the host's network and stays out of the mesh.
    #[error("it is the host's network namespace, which is never redirected")]
    Host,
    /// Configuration: a netns annotation or a process that belongs to another pod.
    #[error("no interface in it has an address of the pod ({}): it is another pod's namespace", list(pod))]
    NoAddress { pod: Vec<IpAddr> },
    /// The pod's object has no address yet. Wait for it.
    #[error("the pod has no address yet, so the namespace cannot be told from another's")]
    NoPodAddress,
    /// Configuration: the netns annotation names the daemon's namespace.
    #[error("it is the daemon's own network namespace, which is never redirected")]
    Own,
}

/// Which pod holds which namespace. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    holders: Arc<Mutex<HashMap<NetnsId, String>>>,
}

/// A pod's hold on a namespace; it ends when this is dropped.
#[derive(Debug)]
#[must_use = "the claim ends when it is dropped"]
pub struct Claim {
    claims: Claims,
    namespace: NetnsId,
    pod: String,
}

/// Decides whether the namespace may be written into.
pub fn admit(facts: &Facts) -> Result<(), Refusal> {
    forbidden(facts.host, facts.own, facts.target)?;
    if facts.pod.is_empty() {
        return Err(Refusal::NoPodAddress);
    }
    // A pod may have lost its second address for the moment; one proves whose namespace it is.
    // Loopback and unspecified addresses prove nothing: every namespace has them.
    let proves = |address: &&IpAddr| !address.is_loopback() && !address.is_unspecified();
    let inside: Vec<_> = facts.inside.iter().map(IpAddr::to_canonical).collect();
    if facts.pod.iter().filter(proves).any(|address| inside.contains(&address.to_canonical())) {
        Ok(())
    } else {
        Err(Refusal::NoAddress { pod: facts.pod.clone() })
    }
}

/// Refuses the namespaces that are never a pod's.
pub fn forbidden(host: Option<NetnsId>, own: NetnsId, target: NetnsId) -> Result<(), Refusal> {
    if host == Some(target) {
        Err(Refusal::Host)
    } else if own == target {
        Err(Refusal::Own)
    } else {
        Ok(())
    }
}

fn list(addresses: &[IpAddr]) -> String {
    let texts: Vec<_> = addresses.iter().take(4).map(ToString::to_string).collect();
    texts.join(", ")
}

// === impl Refusal ===

impl Refusal {
    /// A word of a fixed set, for a metric's label.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Claimed { .. } | Self::ClaimedElsewhere { .. } => "claimed",
            Self::Host => "host",
            Self::NoAddress { .. } => "address",
            Self::NoPodAddress => "no_address",
            Self::Own => "own",
        }
    }
}

// === impl Claims ===

impl Claims {
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the namespace to `pod` (its UID) until the claim is dropped.
    pub fn claim(&self, namespace: NetnsId, pod: &str) -> Result<Claim, Refusal> {
        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        match holders.entry(namespace) {
            Entry::Occupied(entry) => Err(Refusal::Claimed { asker: pod.to_owned(), holder: entry.get().clone() }),
            Entry::Vacant(entry) => {
                entry.insert(pod.to_owned());
                Ok(Claim { claims: self.clone(), namespace, pod: pod.to_owned() })
            }
        }
    }
}

// === impl Claim ===

impl Claim {
    pub fn namespace(&self) -> NetnsId {
        self.namespace
    }

    /// The UID of the pod that holds it.
    pub fn pod(&self) -> &str {
        &self.pod
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut holders = self.claims.holders.lock().unwrap_or_else(PoisonError::into_inner);
        holders.remove(&self.namespace);
    }
}

#[cfg(test)]
mod tests;
