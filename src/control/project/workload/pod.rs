//! Pod → workload.

use std::sync::Arc;

use crate::control::index::IndexedPod;
use crate::control::project::owner;
use crate::kube::types;
use crate::model::workload::Workload;

use super::{Context, locality, tunnel};

/// `None` for a pod that has ended or has no address.
pub(super) fn workload(context: &Context<'_>, indexed: &IndexedPod) -> Option<Workload> {
    let IndexedPod { pod, object } = indexed;
    if pod.finished || pod.addresses.is_empty() {
        return None;
    }
    let Context { index, settings, services, attachments } = *context;
    let key = &pod.key;
    let owner = owner::workload_name(&object.metadata);
    let (canonical_name, canonical_revision) = owner::canonical(&object.metadata, &owner);
    let meta = &object.metadata;
    let (tunnel, native_tunnel) = tunnel::of(&meta.labels, index.membership(pod).is_in());
    Some(Workload {
        uid: format!("{}//Pod/{}/{}", settings.cluster, key.namespace, key.name).into(),
        name: Arc::clone(&key.name),
        namespace: Arc::clone(&key.namespace),
        service_account: Arc::clone(&pod.service_account),
        trust_domain: Arc::clone(&settings.trust_domain),
        addresses: pod.addresses.clone(),
        network: Arc::clone(&settings.network),
        cluster: Arc::clone(&settings.cluster),
        node: Arc::clone(&pod.node),
        tunnel,
        native_tunnel,
        owner: owner.into(),
        canonical_name: canonical_name.into(),
        canonical_revision: canonical_revision.into(),
        locality: locality::of_node(index, &pod.node),
        healthy: is_healthy(object, pod.netns.is_some()) && !services.is_unready(key),
        host_network: pod.host_network,
        policies: attachments.keys_for(&key.namespace, &meta.labels),
        services: services.of_pod(indexed),
        ..Workload::default()
    })
}

/// Ready, and not on its way out. Nobody writes conditions for a static pod, so it is healthy as
/// long as its manifest does not say otherwise.
pub(in crate::control::project) fn is_healthy(object: &types::Pod, is_static: bool) -> bool {
    let ready = object.status.conditions.iter().find(|condition| condition.kind == "Ready");
    object.metadata.deletion_timestamp.is_none() && ready.map_or(is_static, |condition| condition.status == "True")
}
