//! What a projection takes as given.

use std::sync::Arc;

use crate::model::spiffe::Identity;

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
    /// Trust domains of others, of which nothing is projected: their principals may be somebody's, though no workload
    /// here has one.
    pub federated: Vec<Arc<str>>,
    /// Name of the flat network; empty is the default one.
    pub network: Arc<str>,
    /// End of service host names. Kubernetes' default: `cluster.local`.
    pub cluster_domain: Arc<str>,
    /// Policies without a selector in this namespace are for the whole mesh. Istio's default:
    /// `istio-system`.
    pub root_namespace: Arc<str>,
}

// === impl Settings ===

impl Settings {
    /// All names of the own trust domain.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        std::iter::once(&self.trust_domain).chain(&self.trust_domain_aliases)
    }

    /// An identity under every name that counts as the same: those of the own trust domain are one.
    pub fn every_name_of(&self, identity: Identity) -> Vec<Identity> {
        if !self.names().any(|name| *name == identity.trust_domain) {
            return vec![identity];
        }
        self.names().map(|name| Identity { trust_domain: Arc::clone(name), ..identity.clone() }).collect()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cluster: "Kubernetes".into(),
            trust_domain: "cluster.local".into(),
            trust_domain_aliases: Vec::new(),
            federated: Vec::new(),
            network: "".into(),
            cluster_domain: "cluster.local".into(),
            root_namespace: "istio-system".into(),
        }
    }
}
