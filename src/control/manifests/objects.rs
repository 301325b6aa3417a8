//! What a set of manifests declares, by kind.

use std::collections::BTreeMap;

use crate::kube::types::{
    AuthorizationPolicy, EndpointSlice, Gateway, GatewayClass, Namespace, Node, PeerAuthentication, Pod, Service,
    ServiceEntry, WorkloadEntry,
};

/// Everything that a set of manifests declares. Every object is namespaced, named and checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Objects {
    pub namespaces: Vec<Namespace>,
    pub pods: Vec<Pod>,
    pub services: Vec<Service>,
    pub endpoint_slices: Vec<EndpointSlice>,
    pub nodes: Vec<Node>,
    pub service_entries: Vec<ServiceEntry>,
    pub workload_entries: Vec<WorkloadEntry>,
    pub authorization_policies: Vec<AuthorizationPolicy>,
    pub peer_authentications: Vec<PeerAuthentication>,
    pub gateways: Vec<Gateway>,
    pub gateway_classes: Vec<GatewayClass>,
    /// `<apiVersion> <kind>` that nothing here reads → how many. At most [`super::MAX_IGNORED`] of them.
    pub ignored: BTreeMap<String, usize>,
}

// === impl Objects ===

impl Objects {
    /// One sentence about the kinds that were ignored, for one warning.
    pub fn ignored_warning(&self) -> Option<String> {
        let kinds: Vec<_> = self.ignored.iter().map(|(kind, count)| format!("{kind} ({count})")).collect();
        (!kinds.is_empty()).then(|| format!("ignored, because nothing here reads them: {}", kinds.join(", ")))
    }
}
