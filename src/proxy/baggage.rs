//! What the two ends of a tunnel say of their workloads: as `baggage` is made of a record, and a record of baggage.
//!
//! Nothing of it is proven but the connection's identity. Good for labels and logs, never for a decision.

use std::sync::Arc;

use crate::hbone::headers::{Baggage, WorkloadKind};
use crate::mesh::Held;
use crate::model::spiffe::Identity;
use crate::model::workload::{Kind, Locality, Workload};

/// What a workload says of itself.
pub(super) fn of(workload: &Held) -> Baggage {
    let kind = match workload.kind {
        Kind::CronJob => WorkloadKind::CronJob,
        Kind::Deployment => WorkloadKind::Deployment,
        Kind::Job => WorkloadKind::Job,
        Kind::Pod => WorkloadKind::Pod,
    };
    Baggage {
        cluster: Arc::clone(&workload.cluster),
        namespace: Arc::clone(&workload.namespace),
        workload: Some((kind, Arc::clone(&workload.owner))),
        service: Arc::clone(&workload.canonical_name),
        revision: Arc::clone(&workload.canonical_revision),
        region: Arc::clone(&workload.locality.region),
        zone: Arc::clone(&workload.locality.zone),
    }
}

/// A record of what a peer says of itself, for one whose own record is not here. Its namespace is the one it has proven,
/// where it has: a peer counts for nobody else's.
pub(super) fn read(baggage: &Baggage, proven: Option<&Identity>) -> Arc<Held> {
    let (kind, owner) = baggage.workload.clone().unwrap_or_else(|| (WorkloadKind::Pod, Arc::default()));
    Arc::new(Held::apart(Workload {
        name: Arc::clone(&owner),
        owner,
        namespace: Arc::clone(proven.map_or(&baggage.namespace, |identity| &identity.namespace)),
        cluster: Arc::clone(&baggage.cluster),
        kind: match kind {
            WorkloadKind::CronJob => Kind::CronJob,
            WorkloadKind::Deployment => Kind::Deployment,
            WorkloadKind::Job => Kind::Job,
            WorkloadKind::Pod => Kind::Pod,
        },
        canonical_name: Arc::clone(&baggage.service),
        canonical_revision: Arc::clone(&baggage.revision),
        locality: Locality {
            region: Arc::clone(&baggage.region),
            zone: Arc::clone(&baggage.zone),
            ..Locality::default()
        },
        ..Workload::default()
    }))
}

/// Whose labels a connection counts under. Where the mesh has whom the peer has proven to be at its address, that is it, whatever
/// headers say. Where it has nobody or another there, as behind a gateway: the record, unless the address is said to be of
/// another network (`far`), and else what the peer says of itself.
pub(super) fn source(
    at_address: Option<Arc<Held>>,
    proven: &Identity,
    far: bool,
    said: Option<&Baggage>,
) -> Option<Arc<Held>> {
    let is_its = |held: &Arc<Held>| held.identity() == *proven;
    at_address.filter(|held| !far || is_its(held)).or_else(|| Some(read(said?, Some(proven))))
}

#[cfg(test)]
mod tests;
