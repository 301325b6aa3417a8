//! Service port → port of one endpoint.

use std::collections::BTreeMap;

use crate::kube::types::pod::PodSpec;
use crate::kube::types::service::{EndpointSlice, ServicePort, TargetPort};

use super::entry::Port;
use super::kubernetes::is_tcp;
use super::values::NamedPorts;

/// Pairs in order of the service's ports.
pub(super) type Ports = Vec<(u16, u16)>;

/// A Service's ports at a pod. A name that no container has leaves the port out.
pub(super) fn service_at_pod(ports: &[&ServicePort], pod: &PodSpec) -> Ports {
    let target = |port: &ServicePort| match &port.target_port {
        None => Some(port.port),
        Some(TargetPort::Number(number)) => Some(*number),
        Some(TargetPort::Name(name)) => container_port(name, pod),
    };
    ports.iter().filter_map(|port| Some((port.port, target(port)?))).collect()
}

/// A Service's ports at a WorkloadEntry. It has to have a port that the Service calls by name; otherwise what it says
/// about a port of the Service's name comes before the Service's target.
pub(super) fn service_at_entry(ports: &[&ServicePort], named: &NamedPorts<'_>) -> Ports {
    let own = |port: &ServicePort| named.get(port.name.as_deref()?).copied();
    let target = |port: &ServicePort| match &port.target_port {
        Some(TargetPort::Name(name)) => named.get(name.as_str()).copied(),
        Some(TargetPort::Number(number)) => Some(own(port).unwrap_or(*number)),
        None => Some(own(port).unwrap_or(port.port)),
    };
    ports.iter().filter_map(|port| Some((port.port, target(port)?))).collect()
}

/// A Service's ports at the endpoints of slices: the port of the same name, where an only port has none. Of several
/// slices the first that has it counts.
pub(super) fn service_at_slices<'a>(
    ports: &[&ServicePort],
    slices: impl IntoIterator<Item = &'a EndpointSlice>,
) -> Ports {
    let mut named: BTreeMap<&str, u16> = BTreeMap::new();
    for port in slices.into_iter().flat_map(|slice| &slice.ports).filter(|port| is_tcp(port.protocol.as_deref())) {
        if let Some(number) = port.port.filter(|number| *number != 0) {
            named.entry(port.name.as_deref().unwrap_or_default()).or_insert(number);
        }
    }
    let target = |port: &ServicePort| named.get(port.name.as_deref().unwrap_or_default()).copied();
    ports.iter().filter_map(|port| Some((port.port, target(port)?))).collect()
}

/// A ServiceEntry's ports at a pod: its container's port of the same name, else the entry's target.
pub(super) fn entry_at_pod(ports: &[Port<'_>], pod: &PodSpec) -> Ports {
    let own = |port: &Port<'_>| if port.name.is_empty() { None } else { container_port(port.name, pod) };
    ports.iter().map(|port| (port.port.port, own(port).unwrap_or(port.port.target))).collect()
}

/// A ServiceEntry's ports at an endpoint of its own or at a WorkloadEntry.
pub(super) fn entry_at_entry(ports: &[Port<'_>], named: &NamedPorts<'_>) -> Ports {
    ports.iter().map(|port| (port.port.port, named.get(port.name).copied().unwrap_or(port.port.target))).collect()
}

fn container_port(name: &str, pod: &PodSpec) -> Option<u16> {
    let sidecars = pod.init_containers.iter().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let mut ports = pod.containers.iter().chain(sidecars).flat_map(|container| &container.ports);
    ports.find(|p| p.name.as_deref() == Some(name) && is_tcp(p.protocol.as_deref())).map(|p| p.container_port)
}
