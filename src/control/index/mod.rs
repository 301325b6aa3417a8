//! Look-ups between Kubernetes objects: pods by key, the mode of a namespace, services of a pod.
//!
//! Owns: making `model::Pod` out of a Pod, and finding pods that claim what another has. Never:
//! where objects come from, or what the mesh makes of them (`project`).

mod build;
mod conflict;
mod pod;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::kube::types;
use crate::model::membership::{Membership, membership};
use crate::model::name::NamespacedName;
use crate::model::pod::Pod;

pub use conflict::{Claim, Conflict};

/// All objects by key, with pods in the mesh's own form. Iteration is in order of keys.
#[derive(Clone, Debug, Default)]
pub struct Index {
    pub(super) pods: BTreeMap<NamespacedName, IndexedPod>,
    pub(super) namespaces: BTreeMap<Arc<str>, types::Namespace>,
    pub(super) nodes: BTreeMap<Arc<str>, types::Node>,
    pub(super) services: BTreeMap<NamespacedName, types::Service>,
    /// Keyed by the Service that a slice belongs to.
    pub(super) slices: BTreeMap<NamespacedName, Vec<types::EndpointSlice>>,
    pub(super) service_entries: BTreeMap<NamespacedName, types::ServiceEntry>,
    pub(super) workload_entries: BTreeMap<NamespacedName, types::WorkloadEntry>,
    pub(super) authorization_policies: BTreeMap<NamespacedName, types::AuthorizationPolicy>,
    pub(super) peer_authentications: BTreeMap<NamespacedName, types::PeerAuthentication>,
    pub(super) gateways: BTreeMap<NamespacedName, types::Gateway>,
    pub(super) gateway_classes: BTreeMap<Arc<str>, types::GatewayClass>,
    conflicts: Vec<Conflict>,
}

/// A pod in both forms.
#[derive(Clone, Debug)]
pub(super) struct IndexedPod {
    pub pod: Arc<Pod>,
    pub object: types::Pod,
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

#[cfg(test)]
mod tests;
