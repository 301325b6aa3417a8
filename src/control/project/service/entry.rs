//! ServiceEntry, checked: what is sound of it, and a note for each part that is not.

use std::collections::BTreeSet;
use std::sync::Arc;

use ipnet::IpNet;

use crate::control::index::Index;
use crate::control::project::Settings;
use crate::control::project::notes::{Notes, SERVICE_ENTRY};
use crate::control::project::status::Reason;
use crate::kube::types::ServiceEntry;
use crate::kube::types::entry::{Resolution, WorkloadEntrySpec};
use crate::kube::types::meta::StringMap;
use crate::model::name::NamespacedName;
use crate::model::service::{self, Balancing, Mode, VirtualAddress};
use crate::model::spiffe::Identity;

use super::{balancing, protocol, values};

/// Set to `false`, it keeps a ServiceEntry from being given addresses.
pub(super) const AUTO_ALLOCATE: &str = "networking.istio.io/enable-autoallocate-ip";

/// The sound parts of a ServiceEntry.
pub(in crate::control::project) struct Entry<'a> {
    pub key: NamespacedName,
    pub object: &'a ServiceEntry,
    /// In lower case, each once.
    pub hosts: Vec<Arc<str>>,
    nets: BTreeSet<IpNet>,
    /// Nobody wrote an address, and hosts without a wildcard may be given some.
    allocate: bool,
    pub(super) ports: Vec<Port<'a>>,
    subject_alt_names: Vec<Identity>,
    /// Those that count.
    pub endpoints: &'a [WorkloadEntrySpec],
    /// With at least one label.
    pub(super) selector: Option<&'a StringMap>,
    pub(super) balancing: Balancing,
}

/// A port and the name by which endpoints refer to it.
pub(super) struct Port<'a> {
    pub name: &'a str,
    pub port: service::ServicePort,
}

// === impl Entry ===

impl<'a> Entry<'a> {
    pub(super) fn check(key: &NamespacedName, object: &'a ServiceEntry, index: &Index, notes: &mut Notes) -> Self {
        let spec = &object.spec;
        let mut wrong = |message: String| notes.warn(SERVICE_ENTRY, key, Reason::Invalid, message);
        let hosts = hosts(object, &mut wrong);
        let ports = ports(object, &mut wrong);
        let mut nets = BTreeSet::new();
        for (i, text) in spec.addresses.iter().enumerate() {
            match values::net(text) {
                Ok(net) => {
                    nets.insert(net);
                }
                Err(refusal) => {
                    // Half of its addresses would be half of its traffic.
                    wrong(format!("spec.addresses[{i}]: {refusal}; until then it has no address"));
                    nets.clear();
                    break;
                }
            }
        }
        let mut subject_alt_names = Vec::new();
        for (i, text) in spec.subject_alt_names.iter().enumerate() {
            match text.parse::<Identity>() {
                Ok(identity) => subject_alt_names.push(identity),
                Err(_) => wrong(format!(
                    "spec.subjectAltNames[{i}]: `{text}` is not a workload's identity and does not count; write it as \
                     spiffe://cluster.local/ns/NAMESPACE/sa/NAME"
                )),
            }
        }
        if spec.export_to.iter().any(|namespace| namespace != "*") {
            wrong("spec.exportTo is not read: every namespace sees the hosts; remove it, or write `*`".to_owned());
        }
        let opted_out = object.metadata.labels.get(AUTO_ALLOCATE).is_some_and(|value| value == "false");
        let allocate = spec.addresses.is_empty() && !opted_out && spec.resolution != Resolution::None;
        let unaddressed = hosts.iter().find(|host| nets.is_empty() && (!allocate || values::is_wildcard(host)));
        if let Some(host) = unaddressed.filter(|_| spec.addresses.is_empty()) {
            let why = if values::is_wildcard(host) {
                "no address is given to a wildcard"
            } else if opted_out {
                "a label says that none is given"
            } else {
                "resolution is NONE, which goes where a connection was addressed"
            };
            wrong(format!(
                "`{host}` has no address, because {why}: nothing is recognised as its own; write spec.addresses"
            ));
        }
        let selector = spec.workload_selector.as_ref().map(|selector| &selector.labels);
        let endpoints = endpoints(object, selector.is_some(), &mut wrong);
        if selector.is_some_and(StringMap::is_empty) {
            let message = "spec.workloadSelector has no labels and selects nothing; write its labels";
            notes.warn(SERVICE_ENTRY, key, Reason::EmptySelector, message);
        }
        Self {
            key: key.clone(),
            object,
            hosts,
            nets,
            allocate,
            ports,
            subject_alt_names,
            endpoints,
            selector: selector.filter(|labels| !labels.is_empty()),
            balancing: balancing(object, index),
        }
    }

    /// Its service of one host.
    pub(super) fn model(&self, host: &Arc<str>, settings: &Settings) -> service::Service {
        let network = || Arc::clone(&settings.network);
        let mut addresses: Vec<_> =
            self.nets.iter().map(|net| VirtualAddress { network: network(), net: *net }).collect();
        if self.may_have_allocated(host) {
            let written = self.object.status.addresses.iter().filter(|a| a.host.is_empty() || *a.host == **host);
            let written: BTreeSet<_> = written.filter_map(|address| values::ip(&address.value).ok()).collect();
            addresses.extend(written.into_iter().map(|ip| VirtualAddress::single(network(), ip)));
        }
        service::Service {
            name: Arc::clone(&self.key.name),
            namespace: Arc::clone(&self.key.namespace),
            hostname: Arc::clone(host),
            addresses,
            ports: self.ports.iter().map(|port| port.port).collect(),
            subject_alt_names: self.subject_alt_names.clone(),
            balancing: self.balancing.clone(),
            ..service::Service::default()
        }
    }

    /// Whether a host of it may have an address that nobody declared.
    pub(super) fn may_have_allocated(&self, host: &str) -> bool {
        self.allocate && !values::is_wildcard(host)
    }

    /// Whether its hosts themselves are what is called, by DNS.
    pub fn calls_hosts(&self) -> bool {
        let resolution = self.object.spec.resolution;
        matches!(resolution, Resolution::Dns | Resolution::DnsRoundRobin | Resolution::DynamicDns)
            && self.object.spec.endpoints.is_empty()
            && self.object.spec.workload_selector.is_none()
    }
}

fn hosts(object: &ServiceEntry, wrong: &mut impl FnMut(String)) -> Vec<Arc<str>> {
    let (mut hosts, mut seen) = (Vec::new(), BTreeSet::new());
    for (i, text) in object.spec.hosts.iter().enumerate() {
        match values::host(text) {
            Ok(host) if seen.insert(Arc::clone(&host)) => hosts.push(host),
            Ok(host) => wrong(format!("spec.hosts[{i}]: `{host}` stands twice; remove one of the two")),
            Err(refusal) => wrong(format!("spec.hosts[{i}]: {refusal}; until then it does not count")),
        }
    }
    if hosts.is_empty() {
        wrong("spec.hosts names no host, so nothing is made of it; write at least one".to_owned());
    }
    hosts
}

fn ports<'a>(object: &'a ServiceEntry, wrong: &mut impl FnMut(String)) -> Vec<Port<'a>> {
    let (mut ports, mut seen) = (Vec::new(), BTreeSet::new());
    let carried = |protocol: &str| !protocol.eq_ignore_ascii_case("UDP");
    for (i, port) in object.spec.ports.iter().enumerate().filter(|(_, port)| carried(&port.protocol)) {
        let target = port.target_port.filter(|target| *target != 0);
        let checked = values::port(port.number).and_then(|number| Ok((number, target.map(values::port).transpose()?)));
        match checked {
            Ok((number, target)) if seen.insert(number) => {
                let protocol = protocol::named(&port.protocol).unwrap_or_default();
                let port = service::ServicePort { port: number, target: target.unwrap_or(number), protocol };
                ports.push(Port { name: &object.spec.ports[i].name, port });
            }
            Ok((number, _)) => {
                wrong(format!("spec.ports[{i}]: {number} stands twice and the first counts; remove one of the two"));
            }
            Err(refusal) => wrong(format!("spec.ports[{i}]: {refusal}; until then it does not count")),
        }
    }
    ports
}

/// The endpoints that count, which are all or none of them.
fn endpoints<'a>(
    object: &'a ServiceEntry,
    has_selector: bool,
    wrong: &mut impl FnMut(String),
) -> &'a [WorkloadEntrySpec] {
    let spec = &object.spec;
    match (spec.resolution, spec.endpoints.is_empty()) {
        (_, false) if has_selector => {
            wrong("spec.endpoints does not count beside spec.workloadSelector; remove one of the two".to_owned());
            &[]
        }
        (Resolution::None, false) => {
            let message = "spec.endpoints does not count: resolution NONE goes where a connection was addressed; write \
                           STATIC or DNS, or remove the endpoints";
            wrong(message.to_owned());
            &[]
        }
        (Resolution::Static, true) if !has_selector => {
            wrong("it has no endpoint to go to; write spec.endpoints or spec.workloadSelector".to_owned());
            &[]
        }
        (Resolution::DynamicDns, true) if !has_selector => {
            let message =
                "resolution DYNAMIC_DNS is a waypoint's work; without one its hosts are looked up as with DNS";
            wrong(message.to_owned());
            &[]
        }
        _ => &spec.endpoints,
    }
}

fn balancing(object: &ServiceEntry, index: &Index) -> Balancing {
    if object.spec.resolution == Resolution::None {
        return Balancing { mode: Mode::Passthrough, accept_unhealthy: true, ..Balancing::default() };
    }
    let meta = &object.metadata;
    let (mode, preference) =
        balancing::annotated(&meta.annotations, index.namespaces.get(&meta.namespace)).unwrap_or_default();
    Balancing { mode, preference, ..Balancing::default() }
}
