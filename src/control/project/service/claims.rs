//! Who keeps a host name or an address that several objects claim.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;

use ipnet::IpNet;

use crate::control::project::notes::Notes;
use crate::control::project::status::Reason;
use crate::model::service::VirtualAddress;

use super::allocate::Allocator;
use super::services::{Declared, Source};

/// One service for each host of a namespace: the Kubernetes Service, else the oldest ServiceEntry, else the first in
/// order of keys. Then says which of the same host in several namespaces is meant by strangers. In order of keys.
pub(super) fn names<'a>(all: Vec<Declared<'a>>, notes: &mut Notes) -> Vec<Declared<'a>> {
    let mut by_name: BTreeMap<_, Vec<Declared<'a>>> = BTreeMap::new();
    for declared in all {
        by_name.entry(declared.model.key()).or_default().push(declared);
    }
    let mut kept = Vec::new();
    for mut claimants in by_name.into_values() {
        claimants.sort_by(|a, b| a.age().cmp(&b.age()));
        let mut claimants = claimants.into_iter();
        let Some(first) = claimants.next() else { continue };
        for other in claimants {
            let (kind, key) = other.object();
            let message = format!(
                "its host `{}` is {}'s already and nothing is made of it here; remove it from one of the two",
                other.model.hostname, first.source
            );
            notes.warn(kind, key, Reason::Shadowed, message);
        }
        kept.push(first);
    }
    let mut canonical: BTreeMap<_, usize> = BTreeMap::new();
    for (i, declared) in kept.iter().enumerate() {
        match canonical.entry(declared.model.hostname.clone()) {
            Slot::Vacant(slot) => {
                slot.insert(i);
            }
            Slot::Occupied(mut slot) if declared.age() < kept[*slot.get()].age() => {
                slot.insert(i);
            }
            Slot::Occupied(_) => {}
        }
    }
    for i in canonical.into_values() {
        kept[i].model.canonical = true;
    }
    kept
}

/// Takes each address away from all but one. A Kubernetes Service has its addresses for the whole cluster, the oldest
/// before the others and before every ServiceEntry. A ServiceEntry has its own for its namespace, and shares them
/// among its hosts; callers elsewhere go by `canonical`.
pub(super) fn addresses(all: &mut [Declared<'_>], notes: &mut Notes) {
    let mut by_net: BTreeMap<IpNet, Vec<usize>> = BTreeMap::new();
    for (i, declared) in all.iter().enumerate() {
        for address in &declared.model.addresses {
            by_net.entry(address.net).or_default().push(i);
        }
    }
    for (net, mut claimants) in by_net.into_iter().filter(|(_, claimants)| claimants.len() > 1) {
        claimants.sort_by(|a, b| all[*a].age().cmp(&all[*b].age()));
        let oldest = claimants[0];
        let cluster_wide = matches!(all[oldest].source, Source::Kubernetes { .. });
        let mut of_namespace: BTreeMap<_, usize> = BTreeMap::new();
        for i in claimants {
            let keeper =
                if cluster_wide { oldest } else { *of_namespace.entry(all[i].model.namespace.clone()).or_insert(i) };
            if all[keeper].object() == all[i].object() {
                continue;
            }
            let net = VirtualAddress { network: Default::default(), net };
            let shown = net.ip().map_or_else(|| net.net.to_string(), |ip| ip.to_string());
            let message = format!(
                "the address {shown} is {}'s already and does not count here; give one of the two another",
                all[keeper].source
            );
            let (kind, key) = all[i].object();
            notes.warn(kind, key, Reason::Conflict, message);
            all[i].model.addresses.retain(|address| address.net != net.net);
        }
    }
}

/// Gives addresses to hosts that nobody gave any, older objects first: a newcomer moves no one.
pub(super) fn allocate(all: &mut [Declared<'_>], notes: &mut Notes) {
    let mut allocator = Allocator::default();
    for address in all.iter().flat_map(|declared| &declared.model.addresses) {
        address.ip().into_iter().for_each(|ip| allocator.reserve(ip));
    }
    let wants = |declared: &Declared<'_>| match &declared.source {
        Source::Entry(entry) => {
            declared.model.addresses.is_empty() && entry.may_have_allocated(&declared.model.hostname)
        }
        Source::Kubernetes { .. } => false,
    };
    let mut wanting: Vec<_> = all.iter_mut().filter(|declared| wants(declared)).collect();
    wanting.sort_by_key(|declared| (declared.created, declared.model.key()));
    for declared in wanting {
        let (kind, key) = declared.object();
        let host = &declared.model.hostname;
        match allocator.allocate(&declared.model.namespace, host) {
            Some(ips) => {
                let [v4, v6] = ips;
                notes.tell(kind, key, Reason::Allocated, format_args!("`{host}` was given {v4} and {v6}"));
                let network = declared.network.clone();
                declared.model.addresses = ips.map(|ip| VirtualAddress::single(network.clone(), ip)).into();
            }
            None => notes.warn(
                kind,
                key,
                Reason::Allocated,
                format_args!("`{host}` has no address: all of 240.240.0.0/16 is given away; write spec.addresses"),
            ),
        }
    }
}
