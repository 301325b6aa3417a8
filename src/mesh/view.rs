//! A snapshot of the mesh and its look-ups.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::model::name::NamespacedName;
use crate::model::service::{Service, VirtualAddress};
use crate::model::workload::{Tunnel, Workload};

use super::State;
use super::policies::{Applicable, Policies};

/// The mesh at one moment.
#[derive(Default)]
pub struct View {
    version: u64,
    workloads: HashMap<Arc<str>, Arc<Workload>>,
    /// Network → address → workload. Two levels, so that a look-up needs no owned key.
    workloads_at: HashMap<Arc<str>, HashMap<IpAddr, Arc<Workload>>>,
    services: HashMap<NamespacedName, Arc<Service>>,
    services_at: HashMap<IpAddr, Arc<Service>>,
    policies: Policies,
}

// === impl View ===

impl View {
    pub(super) fn build(version: u64, state: State) -> Self {
        let mut view = Self { version, policies: Policies::build(state.policies), ..Self::default() };
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
        for service in state.services {
            view.services.insert(service.key(), Arc::new(service));
        }
        let mut services: Vec<_> = view.services.values().collect();
        services.sort_by_key(|service| service.key());
        for service in services {
            for address in service.addresses.iter().filter_map(VirtualAddress::ip) {
                view.services_at.entry(address).or_insert_with(|| Arc::clone(service));
            }
        }
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

    /// The service with a virtual address. Of several, the first in order of keys. A service's
    /// addresses carry no network in the model yet: every one is of the caller's network.
    pub fn service_at(&self, _network: &str, address: IpAddr) -> Option<&Arc<Service>> {
        self.services_at.get(&address.to_canonical())
    }

    /// All workloads, in no order.
    pub fn workloads(&self) -> impl ExactSizeIterator<Item = &Arc<Workload>> {
        self.workloads.values()
    }

    /// All services, in no order.
    pub fn services(&self) -> impl ExactSizeIterator<Item = &Arc<Service>> {
        self.services.values()
    }

    /// All policies, in no order.
    pub fn policies(&self) -> impl ExactSizeIterator<Item = &Arc<crate::model::policy::Policy>> {
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
