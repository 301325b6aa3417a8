//! The mesh's record of an address: one pod, VM or gateway.

use std::net::IpAddr;
use std::sync::Arc;

use super::name::NamespacedName;
use super::spiffe::Identity;

/// A workload. Field names follow `istio.workload.Workload`, so that nothing is lost on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Unique in the mesh: `<cluster>//Pod/<namespace>/<name>` for a pod.
    pub uid: Arc<str>,
    pub name: Arc<str>,
    pub namespace: Arc<str>,
    pub service_account: Arc<str>,
    pub trust_domain: Arc<str>,
    pub addresses: Vec<IpAddr>,
    /// Name of the flat network that the addresses belong to; empty is the default one.
    pub network: Arc<str>,
    pub cluster: Arc<str>,
    /// Name of the node that runs it; empty when it has none.
    pub node: Arc<str>,
    pub tunnel: Tunnel,
    /// What owns it (the Deployment's name, say).
    pub owner: Arc<str>,
    pub canonical_name: Arc<str>,
    pub canonical_revision: Arc<str>,
    pub locality: Locality,
    pub healthy: bool,
    /// A host-network workload shares its node's addresses and is not found by address.
    pub host_network: bool,
    /// Policies of workload scope that apply to it, `namespace/name`. A name that is not in the view
    /// makes new connections wait, then be denied.
    pub policies: Vec<NamespacedName>,
    /// Keys `<namespace>/<hostname>` of the services that it is an endpoint of.
    pub services: Vec<ServiceMembership>,
}

/// How a workload is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tunnel {
    /// HTTP/2 CONNECT over mutual TLS on port 15008.
    Hbone,
    /// Plain TCP: it is outside of the mesh.
    None,
}

/// Where a workload runs. Empty parts are unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locality {
    pub region: Arc<str>,
    pub zone: Arc<str>,
    pub subzone: Arc<str>,
}

/// A workload's place in one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceMembership {
    /// `<namespace>/<hostname>`.
    pub service: NamespacedName,
    /// Service port → port that this workload listens on.
    pub ports: Vec<(u16, u16)>,
}

// === impl Workload ===

impl Workload {
    pub fn identity(&self) -> Identity {
        Identity {
            trust_domain: Arc::clone(&self.trust_domain),
            namespace: Arc::clone(&self.namespace),
            service_account: Arc::clone(&self.service_account),
        }
    }
}
