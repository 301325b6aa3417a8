//! The mesh model, made of an index: workloads, services, policies, and a status for each object
//! that is not enforced as it was written.
//!
//! Owns: what L4 makes of Kubernetes and Istio objects. Never: I/O, state between two projections.
//! A workload never refers to a policy that the same projection did not emit.

mod attach;
mod authorization;
mod narrow;
mod notes;
mod owner;
mod peer;
mod service;
mod status;
mod workload;

use std::sync::Arc;

use crate::model::policy::Policy;
use crate::model::service::Service;
use crate::model::workload::Workload;

use super::index::Index;

pub use peer::{CONVERTED_PREFIX, STATIC_STRICT};
pub use status::{Level, Reason, Status};

/// What the whole mesh has in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Name of the cluster, the first part of workload UIDs. Istio's default: `Kubernetes`.
    pub cluster: Arc<str>,
    /// Istio's default: `cluster.local`.
    pub trust_domain: Arc<str>,
    /// Name of the flat network; empty is the default one.
    pub network: Arc<str>,
    /// End of service host names. Kubernetes' default: `cluster.local`.
    pub cluster_domain: Arc<str>,
    /// Policies without a selector in this namespace are for the whole mesh. Istio's default:
    /// `istio-system`.
    pub root_namespace: Arc<str>,
}

/// What a projection makes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Projection {
    pub workloads: Vec<Workload>,
    pub services: Vec<Service>,
    pub policies: Vec<Policy>,
    /// At least one for each policy object, and one for whatever else is worth a word; in order of kind and key.
    pub statuses: Vec<Status>,
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Self {
            cluster: "Kubernetes".into(),
            trust_domain: "cluster.local".into(),
            network: "".into(),
            cluster_domain: "cluster.local".into(),
            root_namespace: "istio-system".into(),
        }
    }
}

/// Projects everything.
pub fn project(index: &Index, settings: &Settings) -> Projection {
    let mut statuses: Vec<_> = index.conflicts().iter().map(Status::of_conflict).collect();
    let attachments = attach::Attachments::build(index, settings, &mut statuses);
    let services = service::Services::build(index, settings, &mut statuses);
    let workloads = workload::workloads(index, settings, &services, &attachments, &mut statuses);
    statuses.sort_by(|a, b| (a.kind, &a.key).cmp(&(b.kind, &b.key)));
    Projection { workloads, services: services.models(), policies: attachments.into_policies(), statuses }
}

#[cfg(test)]
mod tests;
