//! Kubernetes' Service → service.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use crate::control::index::Index;
use crate::control::project::Settings;
use crate::control::project::notes::{Notes, SERVICE};
use crate::control::project::status::Reason;
use crate::kube::types::service::{Service, ServicePort, ServiceSpec, TargetPort};
use crate::model::name::NamespacedName;
use crate::model::service::{self, IpFamilies, VirtualAddress};

use super::{balancing, protocol};

/// The host name of a Service.
pub(super) fn hostname(key: &NamespacedName, settings: &Settings) -> Arc<str> {
    format!("{}.{}.svc.{}", key.name, key.namespace, settings.cluster_domain).into()
}

/// Whether the mesh has it: a name for another name has no address and no endpoint.
pub(super) fn is_carried(object: &Service) -> bool {
    object.spec.kind.as_deref() != Some("ExternalName")
}

/// The service, whose ports are those of [`ports`].
pub(super) fn model(
    key: &NamespacedName,
    object: &Service,
    ports: &[&ServicePort],
    (index, settings): (&Index, &Settings),
    notes: &mut Notes,
) -> service::Service {
    let (mut addresses, mut seen) = (Vec::new(), BTreeSet::new());
    for text in object.spec.addresses() {
        match text.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
            Ok(ip) if seen.insert(ip) => addresses.push(ip),
            Ok(_) => {}
            Err(_) => notes.warn(
                SERVICE,
                key,
                Reason::Invalid,
                format_args!(
                    "spec.clusterIPs: `{text}` is not an address and does not count; write an address, or None"
                ),
            ),
        }
    }
    let namespace = index.namespaces.get(&key.namespace);
    let ports = ports.iter().map(|port| service::ServicePort {
        port: port.port,
        target: match port.target_port {
            None => port.port,
            Some(TargetPort::Number(target)) => target,
            Some(TargetPort::Name(_)) => 0,
        },
        protocol: protocol::of_port(port.app_protocol.as_deref(), port.name.as_deref(), port.port),
    });
    service::Service {
        name: Arc::clone(&key.name),
        namespace: Arc::clone(&key.namespace),
        hostname: hostname(key, settings),
        addresses: addresses.into_iter().map(|ip| VirtualAddress::single(Arc::clone(&settings.network), ip)).collect(),
        ports: ports.collect(),
        balancing: balancing::of_service(key, &object.spec, &object.metadata.annotations, namespace, notes),
        families: families(&object.spec),
        canonical: true,
        ..service::Service::default()
    }
}

/// The ports that are carried: TCP, sound, and each number once.
pub(super) fn ports<'a>(key: &NamespacedName, spec: &'a ServiceSpec, notes: &mut Notes) -> Vec<&'a ServicePort> {
    let mut seen = BTreeSet::new();
    let mut ports = Vec::new();
    for (i, port) in spec.ports.iter().enumerate().filter(|(_, port)| is_tcp(port.protocol.as_deref())) {
        let wrong = if port.port == 0 || port.target_port == Some(TargetPort::Number(0)) {
            format!("spec.ports[{i}]: 0 is not a port and it does not count; write a number from 1 to 65535")
        } else if !seen.insert(port.port) {
            format!("spec.ports[{i}]: {} stands twice and the first counts; remove one of the two", port.port)
        } else {
            ports.push(port);
            continue;
        };
        notes.warn(SERVICE, key, Reason::Invalid, wrong);
    }
    ports
}

/// Only TCP is carried.
pub(in crate::control::project) fn is_tcp(protocol: Option<&str>) -> bool {
    matches!(protocol, None | Some("" | "TCP"))
}

fn families(spec: &ServiceSpec) -> IpFamilies {
    let has = |family: &str| spec.ip_families.iter().any(|text| text == family);
    match (has("IPv4"), has("IPv6")) {
        (false, false) => IpFamilies::Automatic,
        (true, false) => IpFamilies::Ipv4Only,
        (false, true) => IpFamilies::Ipv6Only,
        (true, true) => IpFamilies::Dual,
    }
}
