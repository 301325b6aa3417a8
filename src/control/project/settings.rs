//! What a projection takes as given.

use std::sync::Arc;

/// What the whole mesh has in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Name of the cluster, the first part of workload UIDs. Istio's default: `Kubernetes`.
    pub cluster: Arc<str>,
    /// Istio's default: `cluster.local`.
    pub trust_domain: Arc<str>,
    /// Other names of the trust domain: a principal that is written for one of them is meant for all. Istio's
    /// `trustDomainAliases`.
    pub trust_domain_aliases: Vec<Arc<str>>,
    /// Name of the flat network; empty is the default one.
    pub network: Arc<str>,
    /// End of service host names. Kubernetes' default: `cluster.local`.
    pub cluster_domain: Arc<str>,
    /// Policies without a selector in this namespace are for the whole mesh. Istio's default:
    /// `istio-system`.
    pub root_namespace: Arc<str>,
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            cluster: "Kubernetes".into(),
            trust_domain: "cluster.local".into(),
            trust_domain_aliases: Vec::new(),
            network: "".into(),
            cluster_domain: "cluster.local".into(),
            root_namespace: "istio-system".into(),
        }
    }
}
