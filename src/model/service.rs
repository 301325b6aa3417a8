//! A service: a hostname with virtual addresses in front of workloads.

use std::net::IpAddr;
use std::sync::Arc;

use super::name::NamespacedName;

/// A service as the mesh knows it. Field names follow `istio.workload.Service`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub name: Arc<str>,
    pub namespace: Arc<str>,
    /// `<name>.<namespace>.svc.<cluster domain>` for a Kubernetes Service.
    pub hostname: Arc<str>,
    /// Virtual addresses; none for a headless service.
    pub addresses: Vec<IpAddr>,
    /// Service port → target port, 0 when every endpoint has its own (a named port).
    pub ports: Vec<(u16, u16)>,
}

// === impl Service ===

impl Service {
    /// `<namespace>/<hostname>`: the key under which workloads refer to it.
    pub fn key(&self) -> NamespacedName {
        NamespacedName { namespace: Arc::clone(&self.namespace), name: Arc::clone(&self.hostname) }
    }
}
