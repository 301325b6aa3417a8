//! What EndpointSlices say of pods: which Services without a selector they belong to, and which are not ready.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::control::index::{Index, IndexedPod};
use crate::kube::types::service::{Endpoint, EndpointSlice};
use crate::model::name::NamespacedName;

use super::kubernetes;

/// Slices by the pods that they name.
#[derive(Default)]
pub(super) struct Slices<'a> {
    /// Pod → the Services whose slices name it, with the slice.
    by_pod: BTreeMap<NamespacedName, Vec<(&'a NamespacedName, &'a EndpointSlice)>>,
    unready: BTreeSet<NamespacedName>,
}

// === impl Slices ===

impl<'a> Slices<'a> {
    pub(super) fn build(index: &'a Index) -> Self {
        let mut slices = Self::default();
        for (service, slice) in carried(index) {
            for endpoint in &slice.endpoints {
                let Some(pod) = pod(index, slice, endpoint) else { continue };
                if !endpoint.conditions.is_ready() {
                    slices.unready.insert(pod.clone());
                }
                slices.by_pod.entry(pod).or_default().push((service, slice));
            }
        }
        slices
    }

    /// The slices of a Service that name a pod.
    pub(super) fn of<'s>(
        &'s self,
        pod: &NamespacedName,
        service: &'s NamespacedName,
    ) -> impl Iterator<Item = &'a EndpointSlice> + 's {
        let all = self.by_pod.get(pod).into_iter().flatten();
        all.filter(move |(of, _)| *of == service).map(|(_, slice)| *slice)
    }

    pub(super) fn is_unready(&self, pod: &NamespacedName) -> bool {
        self.unready.contains(pod)
    }
}

/// All slices of Services that are there, with the Service's key.
pub(super) fn carried(index: &Index) -> impl Iterator<Item = (&NamespacedName, &EndpointSlice)> {
    let services = index.services.iter().filter(|(_, object)| kubernetes::is_carried(object));
    services.flat_map(|(key, _)| index.slices.get(key).into_iter().flatten().map(move |slice| (key, slice)))
}

/// Key of the pod that an endpoint stands for, when it is there and meant.
fn pod(index: &Index, slice: &EndpointSlice, endpoint: &Endpoint) -> Option<NamespacedName> {
    let target = endpoint.target_ref.as_ref().filter(|target| target.kind == "Pod")?;
    // A slice names pods of its own namespace only, as its controller would.
    if !target.namespace.is_empty() && target.namespace != slice.metadata.namespace {
        return None;
    }
    let name = NamespacedName::new(Arc::clone(&slice.metadata.namespace), Arc::clone(&target.name));
    index.pods.get(&name).is_some_and(|indexed| is_meant(indexed, target.uid.as_deref())).then_some(name)
}

/// A slice may remember a pod of the same name that is gone.
fn is_meant(indexed: &IndexedPod, uid: Option<&str>) -> bool {
    uid.is_none_or(|uid| uid.is_empty() || *indexed.pod.uid == *uid)
}
