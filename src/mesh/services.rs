//! Services by name and by virtual address, and the endpoints of each.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::model::name::NamespacedName;
use crate::model::service::{Service, Visibility};

use super::held::Held;
use super::index::{All, Index};
use super::keys::{ByBlock, ByKey, ByVirtualAddress, ServiceByHostname, borrowed};

/// A workload as an endpoint of one service. Two words: a large mesh has one for each pod and service.
#[derive(Clone, Debug)]
pub struct Endpoint {
    workload: Arc<Held>,
    /// Which of the workload's memberships this is.
    membership: usize,
}

/// What there is under a service's key.
#[derive(Clone)]
pub(super) struct Entry {
    pub key: NamespacedName,
    /// `None` while only workloads speak of it.
    service: Option<Arc<Service>>,
    /// In order of UIDs, healthy or not.
    endpoints: Arc<[Endpoint]>,
}

/// All services.
#[derive(Clone, Default)]
pub(super) struct Services {
    entries: Index<ByKey>,
    by_hostname: Index<ServiceByHostname>,
    at: Index<ByVirtualAddress>,
    blocks: Index<ByBlock>,
}

/// What changes under one key.
#[derive(Default)]
struct Edit {
    /// `None`: the service stays as it is.
    service: Option<Option<Arc<Service>>>,
    /// UIDs of endpoints that go.
    gone: Vec<Arc<str>>,
    /// Endpoints that come. Of one workload several only by its mistake; the first counts.
    come: Vec<Endpoint>,
}

// === impl Endpoint ===

impl Endpoint {
    pub const fn workload(&self) -> &Arc<Held> {
        &self.workload
    }

    /// The endpoint's own ports: of the service, and of the workload.
    pub fn ports(&self) -> &[(u16, u16)] {
        self.workload.services.get(self.membership).map_or(&[], |membership| &membership.ports)
    }

    /// The endpoint's own port for a service port, when it says one.
    pub fn port(&self, service_port: u16) -> Option<u16> {
        let membership = self.workload.services.get(self.membership)?;
        let entry = membership.ports.iter().find(|(port, target)| *port == service_port && *target != 0);
        entry.map(|(_, target)| *target)
    }
}

// === impl Services ===

impl Services {
    /// One step: services that come (`Some`) and go, and workloads that go and come. Endpoints stay when their service
    /// goes, and wait for it when it is not here yet.
    pub(super) fn change(
        &mut self,
        services: HashMap<NamespacedName, Option<Arc<Service>>>,
        gone: &[Arc<Held>],
        come: &[Arc<Held>],
    ) {
        let mut edits = HashMap::<NamespacedName, Edit>::new();
        for (key, service) in services {
            edits.entry(key).or_default().service = Some(service);
        }
        for workload in gone {
            for of in &workload.services {
                edits.entry(of.service.clone()).or_default().gone.push(Arc::clone(&workload.uid));
            }
        }
        for workload in come {
            for (membership, of) in workload.services.iter().enumerate() {
                let endpoint = Endpoint { workload: Arc::clone(workload), membership };
                edits.entry(of.service.clone()).or_default().come.push(endpoint);
            }
        }
        let (mut old_entries, mut new_entries) = (Vec::new(), Vec::new());
        let (mut old_services, mut new_services) = (Vec::new(), Vec::new());
        for (key, edit) in edits {
            let old = self.entries.first(borrowed(&key));
            let held = old.and_then(|old| old.service.as_ref());
            if let Some(service) = &edit.service
                && held.map(Arc::as_ptr) != service.as_ref().map(Arc::as_ptr)
            {
                old_services.extend(held.cloned());
                new_services.extend(service.clone());
            }
            let new = edit.of(key, old);
            old_entries.extend(old.cloned());
            // Nothing is left to remember of a service that is gone and has no endpoints.
            if new.service.is_some() || !new.endpoints.is_empty() {
                new_entries.push(Arc::new(new));
            }
        }
        self.entries.change(&old_entries, &new_entries);
        self.by_hostname.change(&old_services, &new_services);
        self.at.change(&old_services, &new_services);
        self.blocks.change(&old_services, &new_services);
    }

    pub(super) fn all(&self) -> All<'_, Service> {
        // Each has one host name.
        self.by_hostname.all()
    }

    pub(super) fn get(&self, key: &NamespacedName) -> Option<&Arc<Service>> {
        self.entries.first(borrowed(key))?.service.as_ref()
    }

    pub(super) fn named(&self, hostname: &str, caller: &str) -> Option<&Arc<Service>> {
        preferred(self.by_hostname.find(hostname), Some(caller))
    }

    /// Every one with the name that `caller` sees, in order of preference.
    pub(super) fn all_named(&self, hostname: &str, caller: &str) -> impl Iterator<Item = &Arc<Service>> + use<'_> {
        let found = self.by_hostname.find(hostname).map(|(service, _)| service);
        let mut seen: Vec<_> = found.filter(|service| is_seen(service, Some(caller))).collect();
        // Stable: within each half the order stays.
        seen.sort_by_key(|service| *service.namespace != *caller);
        seen.into_iter()
    }

    pub(super) fn at(&self, network: &str, address: IpAddr, caller: Option<&str>) -> Option<&Arc<Service>> {
        let address = address.to_canonical();
        preferred(self.at.find((network, address)), caller).or_else(|| self.covering(network, address, caller))
    }

    /// By namespace, then by the length of the prefix, then by preference.
    fn covering(&self, network: &str, address: IpAddr, caller: Option<&str>) -> Option<&Arc<Service>> {
        let mut best: Option<((bool, u8), &Arc<Service>)> = None;
        for (service, number) in self.blocks.find(network) {
            let block = usize::try_from(number).ok().and_then(|number| service.addresses.get(number));
            let Some(net) = block.map(|block| block.net) else { continue };
            if !net.contains(&address) || !is_seen(service, caller) {
                continue;
            }
            let rank = (caller == Some(&*service.namespace), net.prefix_len());
            if best.is_none_or(|(held, _)| rank > held) {
                best = Some((rank, service));
            }
        }
        best.map(|(_, service)| service)
    }

    pub(super) fn endpoints(&self, service: &NamespacedName) -> &[Endpoint] {
        let entry = self.entries.first(borrowed(service)).filter(|entry| entry.service.is_some());
        entry.map_or(&[], |entry| &entry.endpoints)
    }

    /// What the lists of endpoints and what everything else takes, without the services' records.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> (usize, usize) {
        let endpoints = self.entries.all().map(|entry| 16 + size_of_val(&*entry.endpoints)).sum();
        let indices = self.entries.bytes() + self.by_hostname.bytes() + self.at.bytes() + self.blocks.bytes();
        (endpoints, indices + self.entries.all().len() * (16 + size_of::<Entry>()))
    }

    pub(super) fn staged(&self) -> impl Iterator<Item = (&NamespacedName, &[Endpoint])> {
        let waiting = self.entries.all().filter(|entry| entry.service.is_none());
        waiting.map(|entry| (&entry.key, &*entry.endpoints))
    }
}

/// The caller's own namespace first, then the order of the list.
fn preferred<'a>(
    list: impl Iterator<Item = (&'a Arc<Service>, u32)>,
    caller: Option<&str>,
) -> Option<&'a Arc<Service>> {
    let mut first = None;
    for (service, _) in list {
        if caller == Some(&*service.namespace) {
            return Some(service);
        }
        if first.is_none() && is_seen(service, caller) {
            first = Some(service);
        }
    }
    first
}

/// Nobody in particular sees everything.
fn is_seen(service: &Service, caller: Option<&str>) -> bool {
    service.visibility == Visibility::Public || caller.is_none_or(|namespace| *namespace == *service.namespace)
}

// === impl Edit ===

impl Edit {
    /// The entry as it is afterwards.
    fn of(self, key: NamespacedName, old: Option<&Arc<Entry>>) -> Entry {
        let Self { service, mut gone, come } = self;
        let service = service.unwrap_or_else(|| old.and_then(|old| old.service.clone()));
        let before = old.map(|old| &old.endpoints);
        let endpoints = match before {
            Some(before) if gone.is_empty() && come.is_empty() => Arc::clone(before),
            _ => {
                gone.sort_unstable();
                let stays = |endpoint: &&Endpoint| gone.binary_search(&endpoint.workload.uid).is_err();
                let staying = before.into_iter().flat_map(|before| before.iter()).filter(stays).cloned();
                let mut endpoints: Vec<_> = staying.chain(come).collect();
                endpoints.sort_by(|a, b| a.workload.uid.cmp(&b.workload.uid));
                endpoints.dedup_by(|a, b| a.workload.uid == b.workload.uid);
                endpoints.into()
            }
        };
        // The names of the record that is there, which are in memory already.
        let key = service.as_ref().map_or(key, |service| service.key());
        Entry { key, service, endpoints }
    }
}

#[cfg(test)]
mod tests;
