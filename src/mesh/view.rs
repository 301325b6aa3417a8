//! A snapshot of the mesh and its look-ups.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::model::name::NamespacedName;
use crate::model::service::Service;
use crate::model::workload::{Tunnel, Workload};

use super::State;
use super::compiled::Compiled;
use super::policies::{Applicable, Policies};
use super::services::{Endpoint, Services};

/// The mesh at one moment.
#[derive(Default)]
pub struct View {
    version: u64,
    workloads: HashMap<Arc<str>, Arc<Workload>>,
    /// Network → address → workload. Two levels, so that a look-up needs no owned key.
    workloads_at: HashMap<Arc<str>, HashMap<IpAddr, Arc<Workload>>>,
    /// Host name → workloads with it, in order of UIDs. Only those that are no pods have one.
    workloads_named: HashMap<Arc<str>, Vec<Arc<Workload>>>,
    services: Services,
    policies: Policies,
}

// === impl View ===

impl View {
    pub(super) fn build(version: u64, state: State, before: &Self) -> Self {
        let policies = Policies::build(state.policies, &before.policies);
        let mut view = Self { version, policies, ..Self::default() };
        for workload in state.workloads {
            view.workloads.insert(Arc::clone(&workload.uid), Arc::new(workload));
        }
        for workload in view.workloads.values().filter(|workload| !workload.host_network) {
            let at = view.workloads_at.entry(Arc::clone(&workload.network)).or_default();
            for address in workload.addresses.iter().map(IpAddr::to_canonical) {
                let holder = at.entry(address).or_insert_with(|| Arc::clone(workload));
                if precedence(workload) < precedence(holder) {
                    *holder = Arc::clone(workload);
                }
            }
        }
        for workload in view.workloads.values().filter(|workload| !workload.hostname.is_empty()) {
            view.workloads_named.entry(Arc::clone(&workload.hostname)).or_default().push(Arc::clone(workload));
        }
        for named in view.workloads_named.values_mut() {
            named.sort_by(|a, b| a.uid.cmp(&b.uid));
        }
        view.services = Services::build(state.services, view.workloads.values());
        view
    }

    /// Counts up with every change; 0 is "nothing has arrived yet".
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The workload at an address of a network. Workloads of the host's network are not found: they
    /// share their node's address. Of several, a pod comes first, then one that speaks HBONE.
    pub fn workload_at(&self, network: &str, address: IpAddr) -> Option<&Arc<Workload>> {
        self.workloads_at.get(network)?.get(&address.to_canonical())
    }

    pub fn workload_by_uid(&self, uid: &str) -> Option<&Arc<Workload>> {
        self.workloads.get(uid)
    }

    /// The workload of a namespace with a host name.
    pub fn workload_named(&self, namespace: &str, hostname: &str) -> Option<&Arc<Workload>> {
        self.workloads_named.get(hostname)?.iter().find(|workload| *workload.namespace == *namespace)
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

    /// All endpoints of a service, in order of UIDs, healthy or not.
    pub fn endpoints(&self, service: &NamespacedName) -> &[Endpoint] {
        self.services.endpoints(service)
    }

    /// All workloads, in no order.
    pub fn workloads(&self) -> impl ExactSizeIterator<Item = &Arc<Workload>> {
        self.workloads.values()
    }

    /// All services, in no order.
    pub fn services(&self) -> impl ExactSizeIterator<Item = &Arc<Service>> {
        self.services.all()
    }

    /// All policies, in no order.
    pub fn policies(&self) -> impl ExactSizeIterator<Item = &Arc<crate::model::policy::Policy>> {
        self.policies.all().map(|compiled| compiled.policy())
    }

    /// All policies as they are judged, in no order.
    pub fn policies_compiled(&self) -> impl ExactSizeIterator<Item = &Arc<Compiled>> {
        self.policies.all()
    }

    /// What applies to connections that arrive at a workload.
    pub fn policies_for(&self, workload: &Workload) -> Applicable {
        self.policies.applicable(workload)
    }
}

/// Smaller wins. The UID makes it the same on every node and after every change.
fn precedence(workload: &Workload) -> (bool, bool, &str) {
    (!workload.uid.contains("//Pod/"), workload.tunnel != Tunnel::Hbone, &workload.uid)
}
