//! Objects to an index, and who claims what another has.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::control::manifests::Objects;
use crate::kube::types::ObjectMeta;
use crate::kube::types::service::SERVICE_NAME;
use crate::model::name::NamespacedName;
use crate::model::pod::PodNetns;

use super::{Claim, Conflict, Index, IndexedPod, pod};

impl Index {
    /// Builds the look-ups. Nothing fails: what is wrong with one object costs that object alone.
    pub fn build(objects: Objects) -> Self {
        let mut slices: BTreeMap<NamespacedName, Vec<_>> = BTreeMap::new();
        for slice in objects.endpoint_slices {
            if let Some(service) = slice.metadata.labels.get(SERVICE_NAME) {
                let key = NamespacedName::new(Arc::clone(&slice.metadata.namespace), service.as_str());
                slices.entry(key).or_default().push(slice);
            }
        }
        let all = objects.pods.into_iter().map(|object| {
            let pod = Arc::new(pod::model(&object));
            (pod.key.clone(), IndexedPod { pod, object })
        });
        let (pods, conflicts) = settle(all.collect());
        Self {
            pods,
            conflicts,
            namespaces: objects.namespaces.into_iter().map(|o| (Arc::clone(&o.metadata.name), o)).collect(),
            nodes: objects.nodes.into_iter().map(|o| (Arc::clone(&o.metadata.name), o)).collect(),
            services: keyed(objects.services, |o| &o.metadata),
            service_entries: keyed(objects.service_entries, |o| &o.metadata),
            workload_entries: keyed(objects.workload_entries, |o| &o.metadata),
            slices,
            authorization_policies: keyed(objects.authorization_policies, |o| &o.metadata),
            peer_authentications: keyed(objects.peer_authentications, |o| &o.metadata),
            gateways: keyed(objects.gateways, |o| &o.metadata),
            gateway_classes: objects.gateway_classes.into_iter().map(|o| (Arc::clone(&o.metadata.name), o)).collect(),
        }
    }
}

fn keyed<T>(objects: Vec<T>, metadata: fn(&T) -> &ObjectMeta) -> BTreeMap<NamespacedName, T> {
    objects.into_iter().map(|object| (pod::key(metadata(&object)), object)).collect()
}

/// Takes out every pod that claims what an earlier one has. Pods of the host's network share the
/// node's addresses, and finished pods have given theirs back, so neither claims any.
fn settle(all: BTreeMap<NamespacedName, IndexedPod>) -> (BTreeMap<NamespacedName, IndexedPod>, Vec<Conflict>) {
    let mut owners: HashMap<Claim, NamespacedName> = HashMap::new();
    let mut pods = BTreeMap::new();
    let mut conflicts = Vec::new();
    for (key, indexed) in all {
        let pod = &indexed.pod;
        let mut claims = vec![Claim::Uid(Arc::clone(&pod.uid))];
        if !pod.host_network && !pod.finished {
            claims.extend(pod.addresses.iter().map(|ip| Claim::Address(*ip)));
            claims.extend(pod.netns.as_ref().and_then(PodNetns::path).map(|path| Claim::Netns(path.to_owned())));
        }
        let taken = claims.iter().find_map(|claim| owners.get(claim).map(|kept| (claim.clone(), kept.clone())));
        if let Some((claim, kept)) = taken {
            conflicts.push(Conflict { kept, refused: key, claim });
            continue;
        }
        owners.extend(claims.into_iter().map(|claim| (claim, key.clone())));
        pods.insert(key, indexed);
    }
    (pods, conflicts)
}
