//! Look-ups between Kubernetes objects: pods by key, the mode of a namespace, services of a pod.
//!
//! Owns: making `model::Pod` out of a Pod, and finding pods that claim what another has. Never:
//! where objects come from, or what the mesh makes of them (`project`).

mod build;
mod pod;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::kube::types;
use crate::model::membership::{Membership, membership};
use crate::model::name::NamespacedName;
use crate::model::pod::Pod;

/// All objects by key, with pods in the mesh's own form. Iteration is in order of keys.
#[derive(Clone, Debug, Default)]
pub struct Index {
    pub(super) pods: BTreeMap<NamespacedName, IndexedPod>,
    namespaces: BTreeMap<Arc<str>, types::Namespace>,
    pub(super) services: BTreeMap<NamespacedName, types::Service>,
    /// Keyed by the Service that a slice belongs to.
    pub(super) slices: BTreeMap<NamespacedName, Vec<types::EndpointSlice>>,
    pub(super) authorization_policies: BTreeMap<NamespacedName, types::AuthorizationPolicy>,
    pub(super) peer_authentications: BTreeMap<NamespacedName, types::PeerAuthentication>,
    conflicts: Vec<Conflict>,
}

/// A pod in both forms.
#[derive(Clone, Debug)]
pub(super) struct IndexedPod {
    pub pod: Arc<Pod>,
    pub object: types::Pod,
}

/// Two pods claim one thing. The first in order of keys keeps it; the other is kept out of the mesh
/// until one of them changes, because nobody can tell whose traffic it would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    pub kept: NamespacedName,
    pub refused: NamespacedName,
    pub claim: Claim,
}

/// What two pods claim.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Claim {
    Address(IpAddr),
    Netns(PathBuf),
    Uid(Arc<str>),
}

// === impl Index ===

impl Index {
    /// All pods but those that were refused.
    pub fn pods(&self) -> impl Iterator<Item = &Arc<Pod>> {
        self.pods.values().map(|indexed| &indexed.pod)
    }

    pub fn pod(&self, key: &NamespacedName) -> Option<&Arc<Pod>> {
        self.pods.get(key).map(|indexed| &indexed.pod)
    }

    /// The value of a namespace's `istio.io/dataplane-mode` label. A namespace that nobody declared
    /// has none, and never opts in.
    pub fn namespace_mode(&self, namespace: &str) -> Option<&str> {
        let labels = &self.namespaces.get(namespace)?.metadata.labels;
        labels.get(crate::model::membership::DATAPLANE_MODE).map(String::as_str)
    }

    /// Whether a pod belongs to the mesh, and why.
    pub fn membership(&self, pod: &Pod) -> Membership {
        membership(pod, self.namespace_mode(&pod.key.namespace))
    }

    /// The pods that were refused, and for whom.
    pub fn conflicts(&self) -> &[Conflict] {
        &self.conflicts
    }
}

// === impl Conflict ===

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kept, refused, claim } = self;
        match claim {
            Claim::Address(ip) => write!(f, "pods {kept} and {refused} both claim the address {ip}")?,
            Claim::Netns(path) => write!(f, "pods {kept} and {refused} both claim the namespace {}", path.display())?,
            Claim::Uid(uid) => write!(f, "pods {kept} and {refused} both claim the UID {uid}")?,
        }
        write!(f, "; {refused} stays out of the mesh until one of them changes")
    }
}

#[cfg(test)]
mod tests;
