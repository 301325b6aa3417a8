//! A waypoint's own pods and Service. They have no waypoint: what reaches them has arrived at one.

use std::sync::Arc;

use crate::control::index::IndexedPod;
use crate::kube::types;
use crate::kube::types::gateway::GATEWAY_NAME;
use crate::model::name::NamespacedName;
use crate::model::workload::{Tunnel, Workload};

use super::declared::Waypoints;
use super::labels;

impl Waypoints<'_> {
    /// Writes how a pod's HBONE ends when nobody captures for it, and says whether it is a waypoint's own.
    ///
    /// An enrolled pod keeps what enrolment gave it: our listener is in front of whatever it has itself.
    pub(super) fn mark(&self, pod: &IndexedPod, workload: &mut Workload) -> bool {
        let waypoint = self.of_instance(pod);
        if !self.index.membership(&pod.pod).is_in() && waypoint.is_some_and(|waypoint| waypoint.native) {
            workload.tunnel = Tunnel::Hbone;
            workload.native_tunnel = true;
        }
        workload.application_tunnel = waypoint.and_then(|waypoint| waypoint.inbound);
        waypoint.is_some()
    }

    /// A Service that was made for a Gateway, or that selects a waypoint's pods.
    pub(super) fn is_own(&self, key: &NamespacedName, object: &types::Service) -> bool {
        let managed = object.metadata.labels.get(labels::MANAGED);
        let of = object.spec.selector.get(GATEWAY_NAME);
        let of = of.map(|name| NamespacedName::new(Arc::clone(&key.namespace), name.as_str()));
        managed.is_some_and(|by| labels::MANAGERS.contains(&by.as_str()))
            || of.and_then(|of| self.get(&of)).is_some_and(|waypoint| waypoint.declared)
    }
}
