//! A snapshot of the mesh and its look-ups.

use std::net::IpAddr;
use std::sync::Arc;

use crate::model::name::NamespacedName;
use crate::model::policy::Policy;
use crate::model::service::Service;

use super::compiled::Compiled;
use super::held::Held;
use super::index::Index;
use super::keys::{ByAddress, ByHostname, ByUid};
use super::policies::{Applicable, Policies};
use super::services::{Endpoint, Services};
use super::step::Step;

/// The mesh at one moment. A clone shares everything with it.
#[derive(Clone, Default)]
pub struct View {
    version: u64,
    policies_version: u64,
    workloads: Index<ByUid>,
    workloads_at: Index<ByAddress>,
    workloads_named: Index<ByHostname>,
    services: Services,
    policies: Policies,
    whole: bool,
}

/// What a step did.
pub(super) struct Changed {
    pub anything: bool,
    /// Records that went away.
    pub gone: usize,
}

// === impl View ===

impl View {
    /// Takes a step, which costs what it changes. The version counts up when anything did.
    pub(super) fn change(&mut self, step: Step) -> Changed {
        let Step { workloads, mut services, policies, synced, whole } = step;
        let (mut out, mut into) = (Vec::new(), Vec::new());
        for (uid, held) in workloads {
            let old = self.workloads.first(&uid);
            if old.map(Arc::as_ptr) != held.as_ref().map(Arc::as_ptr) {
                out.extend(old.cloned());
                into.extend(held);
            }
        }
        services.retain(|key, new| self.services.get(key).map(Arc::as_ptr) != new.as_ref().map(Arc::as_ptr));
        let gone = out.len() + services.keys().filter(|key| self.services.get(key).is_some()).count();
        let policies = self.policies.change(policies) | (synced && self.policies.set_synced());
        let told = whole && !std::mem::replace(&mut self.whole, true);
        let same = out.is_empty() && into.is_empty() && services.is_empty() && !policies && !told;
        let anything = !same || self.version == 0;
        self.workloads.change(&out, &into);
        self.workloads_at.change(&out, &into);
        self.workloads_named.change(&out, &into);
        self.services.change(services, &out, &into);
        self.version += u64::from(anything);
        if policies {
            self.policies_version = self.version;
        }
        Changed { anything, gone }
    }

    /// All there is has been sent once, so that what is not here is outside of the mesh. Before that it may be a pod of the
    /// mesh that was not told of yet. A mesh that holds what was asked for is whole once there is somebody to ask.
    pub const fn is_whole(&self) -> bool {
        self.whole
    }

    /// Every policy there is has been sent once. Before that one that applies by its scope, which no workload names, may
    /// be on its way, so that nobody can say what is allowed.
    pub const fn has_policies(&self) -> bool {
        self.whole || self.policies.is_synced()
    }

    /// Counts up with every change; 0 is "nothing has arrived yet".
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The version with which a policy last came, went or changed. While it and a workload's record stay, so does every
    /// decision about connections to the workload, but for the time of day.
    pub const fn policies_version(&self) -> u64 {
        self.policies_version
    }

    /// The workload at an address of a network. Workloads of the host's network are not found: they
    /// share their node's address. Of several, a pod comes first, then one that speaks HBONE.
    pub fn workload_at(&self, network: &str, address: IpAddr) -> Option<&Arc<Held>> {
        self.workloads_at.first((network, address.to_canonical()))
    }

    pub fn workload_by_uid(&self, uid: &str) -> Option<&Arc<Held>> {
        self.workloads.first(uid)
    }

    /// The workload of a namespace with a host name; only those that are no pods have one. Of several the first in
    /// order of UIDs.
    pub fn workload_named(&self, namespace: &str, hostname: &str) -> Option<&Arc<Held>> {
        self.workloads_named.first((namespace, hostname))
    }

    /// The service with a virtual address of a network, as a caller of the namespace `caller` sees it; `None` sees
    /// every service. A single address beats a block. Of several services that of the caller's namespace comes first,
    /// then a canonical one, then the first in order of keys.
    pub fn service_at(&self, network: &str, address: IpAddr, caller: Option<&str>) -> Option<&Arc<Service>> {
        self.services.at(network, address, caller)
    }

    /// The service under `<namespace>/<hostname>`, whoever asks.
    pub fn service(&self, key: &NamespacedName) -> Option<&Arc<Service>> {
        self.services.get(key)
    }

    /// The service with a host name, as a caller of the namespace `caller` sees it; ranked as [`Self::service_at`].
    pub fn service_named(&self, hostname: &str, caller: &str) -> Option<&Arc<Service>> {
        self.services.named(hostname, caller)
    }

    /// Every service with a host name that a caller of the namespace `caller` sees, in the order of [`Self::service_named`].
    pub fn services_named<'a>(&'a self, hostname: &str, caller: &'a str) -> impl Iterator<Item = &'a Arc<Service>> {
        self.services.all_named(hostname, caller)
    }

    /// All endpoints of a service, in order of UIDs, healthy or not.
    pub fn endpoints(&self, service: &NamespacedName) -> &[Endpoint] {
        self.services.endpoints(service)
    }

    /// Endpoints whose service is not here: not yet, or not any more. Keys in no order.
    pub fn staged(&self) -> impl Iterator<Item = (&NamespacedName, &[Endpoint])> {
        self.services.staged()
    }

    /// All workloads, in no order.
    pub fn workloads(&self) -> impl ExactSizeIterator<Item = &Arc<Held>> {
        self.workloads.all()
    }

    /// The workloads that went and those that came since `old`, an earlier view of this mesh; one that changed is among
    /// both. It costs what changed and not what there is.
    pub fn workloads_since<'a>(&'a self, old: &'a Self) -> (Vec<&'a Arc<Held>>, Vec<&'a Arc<Held>>) {
        self.workloads.since(&old.workloads)
    }

    /// All services, in no order.
    pub fn services(&self) -> impl ExactSizeIterator<Item = &Arc<Service>> {
        self.services.all()
    }

    /// All policies, in no order.
    pub fn policies(&self) -> impl ExactSizeIterator<Item = &Arc<Policy>> {
        self.policies.all().map(|compiled| compiled.policy())
    }

    /// The policy under `<namespace>/<name>`.
    pub fn policy(&self, key: &NamespacedName) -> Option<&Arc<Compiled>> {
        self.policies.get(key)
    }

    /// All policies as they are judged, in no order.
    pub fn policies_compiled(&self) -> impl ExactSizeIterator<Item = &Arc<Compiled>> {
        self.policies.all()
    }

    /// How many shards [`Self::workloads_since`] looks through.
    #[cfg(test)]
    pub(super) fn workloads_unshared(&self, old: &Self) -> usize {
        self.workloads.unshared(&old.workloads).count()
    }

    /// What finding takes: workloads with their places in services, and services.
    #[cfg(test)]
    pub(super) fn index_bytes(&self) -> (usize, usize) {
        let (endpoints, services) = self.services.bytes();
        (self.workloads.bytes() + self.workloads_at.bytes() + self.workloads_named.bytes() + endpoints, services)
    }

    /// What applies to connections that arrive at a workload.
    pub fn policies_for(&self, workload: &Held) -> Applicable {
        self.policies.applicable(workload)
    }
}
