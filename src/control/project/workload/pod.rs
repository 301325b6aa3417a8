//! Pod → workload.

use std::sync::Arc;

use crate::control::index::{Index, IndexedPod};
use crate::kube::types;
use crate::model::workload::{Locality, Tunnel, Workload};

use super::attach::Attachments;
use super::service::Services;
use super::{Settings, owner};

/// One for each pod that runs and has an address, in order of keys.
pub(super) fn workloads(
    index: &Index,
    settings: &Settings,
    services: &Services<'_>,
    attachments: &Attachments,
) -> Vec<Workload> {
    let running = index.pods.values().filter(|p| !p.pod.finished && !p.pod.addresses.is_empty());
    running.map(|indexed| workload(index, settings, services, attachments, indexed)).collect()
}

fn workload(
    index: &Index,
    settings: &Settings,
    services: &Services<'_>,
    attachments: &Attachments,
    indexed: &IndexedPod,
) -> Workload {
    let IndexedPod { pod, object } = indexed;
    let key = &pod.key;
    let owner = owner::workload_name(&object.metadata);
    let (canonical_name, canonical_revision) = owner::canonical(&object.metadata, &owner);
    Workload {
        uid: format!("{}//Pod/{}/{}", settings.cluster, key.namespace, key.name).into(),
        name: Arc::clone(&key.name),
        namespace: Arc::clone(&key.namespace),
        service_account: Arc::clone(&pod.service_account),
        trust_domain: Arc::clone(&settings.trust_domain),
        addresses: pod.addresses.clone(),
        network: Arc::clone(&settings.network),
        cluster: Arc::clone(&settings.cluster),
        node: Arc::clone(&pod.node),
        tunnel: if index.membership(pod).is_in() { Tunnel::Hbone } else { Tunnel::None },
        owner: owner.into(),
        canonical_name: canonical_name.into(),
        canonical_revision: canonical_revision.into(),
        locality: Locality::default(),
        healthy: is_healthy(object, pod.netns.is_some()),
        host_network: pod.host_network,
        policies: attachments.keys_for(&key.namespace, &object.metadata.labels),
        services: services.of_pod(indexed),
        ..Workload::default()
    }
}

/// Ready, and not on its way out. Nobody writes conditions for a static pod, so it is healthy as
/// long as its manifest does not say otherwise.
fn is_healthy(object: &types::Pod, is_static: bool) -> bool {
    let ready = object.status.conditions.iter().find(|condition| condition.kind == "Ready");
    object.metadata.deletion_timestamp.is_none() && ready.map_or(is_static, |condition| condition.status == "True")
}
