//! Services by name and by virtual address, and the endpoints of each.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::model::name::NamespacedName;
use crate::model::service::{Service, Visibility};
use crate::model::workload::Workload;

/// A workload as an endpoint of one service. Two words: a large mesh has one for each pod and service.
#[derive(Clone, Debug)]
pub struct Endpoint {
    workload: Arc<Workload>,
    /// Which of the workload's memberships this is.
    membership: usize,
}

/// All services. A list under one name or address is in order of preference: those that are canonical first, then by
/// key, so that every node picks the same.
#[derive(Default)]
pub(super) struct Services {
    by_key: HashMap<NamespacedName, Arc<Service>>,
    by_hostname: HashMap<Arc<str>, Vec<Arc<Service>>>,
    /// Network → address → services.
    at: HashMap<Arc<str>, HashMap<IpAddr, Vec<Arc<Service>>>>,
    /// Network → blocks of addresses. Few: only a ServiceEntry has one.
    blocks: HashMap<Arc<str>, Vec<(IpNet, Arc<Service>)>>,
    endpoints: HashMap<NamespacedName, Vec<Endpoint>>,
}

// === impl Endpoint ===

impl Endpoint {
    pub const fn workload(&self) -> &Arc<Workload> {
        &self.workload
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
    /// `workloads` may come in any order; endpoints are kept in order of UIDs, so that every node has the same list.
    pub(super) fn build<'a>(services: Vec<Service>, workloads: impl Iterator<Item = &'a Arc<Workload>>) -> Self {
        let mut built = Self::default();
        for service in services {
            built.by_key.insert(service.key(), Arc::new(service));
        }
        let mut ranked: Vec<_> = built.by_key.iter().collect();
        ranked.sort_by(|(a, one), (b, other)| (!one.canonical, a).cmp(&(!other.canonical, b)));
        for (_, service) in ranked {
            built.by_hostname.entry(Arc::clone(&service.hostname)).or_default().push(Arc::clone(service));
            for address in &service.addresses {
                let service = Arc::clone(service);
                match address.ip() {
                    Some(ip) => {
                        let at = built.at.entry(Arc::clone(&address.network)).or_default();
                        at.entry(ip.to_canonical()).or_default().push(service);
                    }
                    None => {
                        built.blocks.entry(Arc::clone(&address.network)).or_default().push((address.net, service));
                    }
                }
            }
        }
        for workload in workloads {
            for (membership, of) in workload.services.iter().enumerate() {
                // The services' own key: a name is then in memory once, however many endpoints it has.
                let Some((key, _)) = built.by_key.get_key_value(&of.service) else { continue };
                let endpoint = Endpoint { workload: Arc::clone(workload), membership };
                built.endpoints.entry(key.clone()).or_default().push(endpoint);
            }
        }
        for endpoints in built.endpoints.values_mut() {
            endpoints.sort_by(|a, b| a.workload.uid.cmp(&b.workload.uid));
            endpoints.dedup_by(|a, b| a.workload.uid == b.workload.uid);
            endpoints.shrink_to_fit();
        }
        built
    }

    pub(super) fn all(&self) -> impl ExactSizeIterator<Item = &Arc<Service>> {
        self.by_key.values()
    }

    pub(super) fn get(&self, key: &NamespacedName) -> Option<&Arc<Service>> {
        self.by_key.get(key)
    }

    pub(super) fn named(&self, hostname: &str, caller: &str) -> Option<&Arc<Service>> {
        preferred(self.by_hostname.get(hostname)?, Some(caller))
    }

    pub(super) fn at(&self, network: &str, address: IpAddr, caller: Option<&str>) -> Option<&Arc<Service>> {
        let exact = self.at.get(network).and_then(|at| preferred(at.get(&address.to_canonical())?, caller));
        exact.or_else(|| self.covering(network, address.to_canonical(), caller))
    }

    /// By namespace, then by the length of the prefix, then by preference.
    fn covering(&self, network: &str, address: IpAddr, caller: Option<&str>) -> Option<&Arc<Service>> {
        let mut best: Option<((bool, u8), &Arc<Service>)> = None;
        let blocks = self.blocks.get(network)?;
        for (net, service) in blocks.iter().filter(|(net, service)| net.contains(&address) && is_seen(service, caller))
        {
            let rank = (caller == Some(&*service.namespace), net.prefix_len());
            if best.is_none_or(|(held, _)| rank > held) {
                best = Some((rank, service));
            }
        }
        best.map(|(_, service)| service)
    }

    pub(super) fn endpoints(&self, service: &NamespacedName) -> &[Endpoint] {
        self.endpoints.get(service).map_or(&[], Vec::as_slice)
    }
}

/// The caller's own namespace first, then the order of the list.
fn preferred<'a>(list: &'a [Arc<Service>], caller: Option<&str>) -> Option<&'a Arc<Service>> {
    let own = list.iter().find(|service| caller == Some(&*service.namespace));
    own.or_else(|| list.iter().find(|service| is_seen(service, caller)))
}

/// Nobody in particular sees everything.
fn is_seen(service: &Service, caller: Option<&str>) -> bool {
    service.visibility == Visibility::Public || caller.is_none_or(|namespace| *namespace == *service.namespace)
}

#[cfg(test)]
mod tests;
