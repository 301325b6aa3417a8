//! What is found under what.

use std::cmp::Ordering;
use std::net::IpAddr;

use crate::model::name::NamespacedName;
use crate::model::policy::Scope;
use crate::model::service::Service;
use crate::model::workload::Tunnel;

use super::compiled::Compiled;
use super::held::Held;
use super::index::Keys;
use super::services::Entry;

/// Workloads by UID.
pub(super) enum ByUid {}

/// Workloads by network and address. One of the host's network shares its node's addresses and is not found.
pub(super) enum ByAddress {}

/// Workloads that have a host name, by it and their namespace.
pub(super) enum ByHostname {}

/// Services and their endpoints, by the service's key.
pub(super) enum ByKey {}

/// Services by host name.
pub(super) enum ServiceByHostname {}

/// Services by network and single virtual address.
pub(super) enum ByVirtualAddress {}

/// Services with blocks of addresses, by network. Few: only a ServiceEntry has one.
pub(super) enum ByBlock {}

/// Policies by name.
pub(super) enum PolicyByKey {}

/// Policies by the namespace that they apply to; `None` for those of the mesh. Those that workloads name are not here.
pub(super) enum ByScope {}

/// A name in two parts, borrowed.
pub(super) fn borrowed(key: &NamespacedName) -> (&str, &str) {
    (&key.namespace, &key.name)
}

fn only(number: u32) -> Option<()> {
    (number == 0).then_some(())
}

// === impl ByUid ===

impl Keys for ByUid {
    type Record = Held;
    type Key<'k> = &'k str;

    fn count(_: &Held) -> usize {
        1
    }

    fn key(held: &Held, number: u32) -> Option<&str> {
        only(number).map(|()| &*held.uid)
    }

    fn is(held: &Held, _: u32, key: &&str) -> bool {
        *held.uid == **key
    }

    fn order(a: &Held, b: &Held) -> Ordering {
        a.uid.cmp(&b.uid)
    }
}

// === impl ByAddress ===

impl Keys for ByAddress {
    type Record = Held;
    type Key<'k> = (&'k str, IpAddr);

    fn count(held: &Held) -> usize {
        if held.host_network { 0 } else { held.addresses.len() }
    }

    fn key(held: &Held, number: u32) -> Option<(&str, IpAddr)> {
        let ip = held.addresses.get(usize::try_from(number).ok()?)?;
        Some((&*held.network, *ip))
    }

    fn is(held: &Held, number: u32, key: &(&str, IpAddr)) -> bool {
        Self::key(held, number) == Some(*key)
    }

    /// Pods first, then what speaks HBONE. The UID makes it the same after every change.
    fn order(a: &Held, b: &Held) -> Ordering {
        let rank = |of: &Held| (!of.uid.contains("//Pod/"), of.tunnel != Tunnel::Hbone);
        rank(a).cmp(&rank(b)).then_with(|| a.uid.cmp(&b.uid))
    }
}

// === impl ByHostname ===

impl Keys for ByHostname {
    type Record = Held;
    type Key<'k> = (&'k str, &'k str);

    fn count(held: &Held) -> usize {
        usize::from(!held.hostname.is_empty())
    }

    fn key(held: &Held, number: u32) -> Option<(&str, &str)> {
        only(number).map(|()| (&*held.namespace, &*held.hostname))
    }

    fn is(held: &Held, number: u32, key: &(&str, &str)) -> bool {
        Self::key(held, number) == Some(*key)
    }

    fn order(a: &Held, b: &Held) -> Ordering {
        a.uid.cmp(&b.uid)
    }
}

// === impl ByKey ===

impl Keys for ByKey {
    type Record = Entry;
    type Key<'k> = (&'k str, &'k str);

    fn count(_: &Entry) -> usize {
        1
    }

    fn key(entry: &Entry, number: u32) -> Option<(&str, &str)> {
        only(number).map(|()| borrowed(&entry.key))
    }

    fn is(entry: &Entry, _: u32, key: &(&str, &str)) -> bool {
        borrowed(&entry.key) == *key
    }

    fn order(a: &Entry, b: &Entry) -> Ordering {
        a.key.cmp(&b.key)
    }
}

/// Canonical ones first, then by key: so that every node picks the same.
fn preference(a: &Service, b: &Service) -> Ordering {
    let rank = |of: &Service| !of.canonical;
    rank(a).cmp(&rank(b)).then_with(|| (&a.namespace, &a.hostname).cmp(&(&b.namespace, &b.hostname)))
}

// === impl ServiceByHostname ===

impl Keys for ServiceByHostname {
    type Record = Service;
    type Key<'k> = &'k str;

    fn count(_: &Service) -> usize {
        1
    }

    fn key(service: &Service, number: u32) -> Option<&str> {
        only(number).map(|()| &*service.hostname)
    }

    fn is(service: &Service, _: u32, key: &&str) -> bool {
        *service.hostname == **key
    }

    fn order(a: &Service, b: &Service) -> Ordering {
        preference(a, b)
    }
}

// === impl ByVirtualAddress ===

impl Keys for ByVirtualAddress {
    type Record = Service;
    type Key<'k> = (&'k str, IpAddr);

    fn count(service: &Service) -> usize {
        service.addresses.len()
    }

    fn key(service: &Service, number: u32) -> Option<(&str, IpAddr)> {
        let address = service.addresses.get(usize::try_from(number).ok()?)?;
        Some((&*address.network, address.ip()?.to_canonical()))
    }

    fn is(service: &Service, number: u32, key: &(&str, IpAddr)) -> bool {
        Self::key(service, number) == Some(*key)
    }

    fn order(a: &Service, b: &Service) -> Ordering {
        preference(a, b)
    }
}

// === impl ByBlock ===

impl Keys for ByBlock {
    type Record = Service;
    type Key<'k> = &'k str;

    fn count(service: &Service) -> usize {
        service.addresses.len()
    }

    fn key(service: &Service, number: u32) -> Option<&str> {
        let address = service.addresses.get(usize::try_from(number).ok()?)?;
        address.ip().is_none().then_some(&*address.network)
    }

    fn is(service: &Service, number: u32, key: &&str) -> bool {
        Self::key(service, number) == Some(*key)
    }

    fn order(a: &Service, b: &Service) -> Ordering {
        preference(a, b)
    }
}

// === impl PolicyByKey ===

impl Keys for PolicyByKey {
    type Record = Compiled;
    type Key<'k> = (&'k str, &'k str);

    fn count(_: &Compiled) -> usize {
        1
    }

    fn key(policy: &Compiled, number: u32) -> Option<(&str, &str)> {
        only(number).map(|()| borrowed(&policy.key))
    }

    fn is(policy: &Compiled, _: u32, key: &(&str, &str)) -> bool {
        borrowed(&policy.key) == *key
    }

    fn order(a: &Compiled, b: &Compiled) -> Ordering {
        a.key.cmp(&b.key)
    }
}

// === impl ByScope ===

impl Keys for ByScope {
    type Record = Compiled;
    type Key<'k> = Option<&'k str>;

    fn count(policy: &Compiled) -> usize {
        usize::from(policy.scope != Scope::Workload)
    }

    fn key(policy: &Compiled, number: u32) -> Option<Option<&str>> {
        only(number).map(|()| (policy.scope == Scope::Namespace).then_some(&*policy.key.namespace))
    }

    fn is(policy: &Compiled, number: u32, key: &Option<&str>) -> bool {
        Self::key(policy, number) == Some(*key)
    }

    fn order(a: &Compiled, b: &Compiled) -> Ordering {
        a.key.cmp(&b.key)
    }
}
