//! Service → service, and which pods are its endpoints.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::control::index::{Index, IndexedPod};
use crate::kube::types::pod::PodSpec;
use crate::kube::types::service::{EndpointSlice, Service, ServicePort, TargetPort};
use crate::model::name::NamespacedName;
use crate::model::service::{self, VirtualAddress};
use crate::model::workload::ServiceMembership;

use super::Settings;
use super::attach::selects;

/// All services, arranged for the question "which of them is this pod an endpoint of".
pub(super) struct Services<'a> {
    /// Namespace → services, in order of names.
    by_namespace: BTreeMap<Arc<str>, Vec<(service::Service, &'a Service)>>,
    /// Pod → the services without a selector whose slices name it, with the slice.
    by_pod: BTreeMap<NamespacedName, Vec<(NamespacedName, &'a EndpointSlice)>>,
}

// === impl Services ===

impl<'a> Services<'a> {
    pub(super) fn build(index: &'a Index, settings: &Settings) -> Self {
        let mut by_namespace: BTreeMap<Arc<str>, Vec<_>> = BTreeMap::new();
        let mut by_pod: BTreeMap<NamespacedName, Vec<_>> = BTreeMap::new();
        for (key, object) in &index.services {
            if object.spec.kind.as_deref() == Some("ExternalName") {
                continue;
            }
            by_namespace.entry(Arc::clone(&key.namespace)).or_default().push((model(key, object, settings), object));
            if !object.spec.selector.is_empty() {
                continue;
            }
            for slice in index.slices.get(key).into_iter().flatten() {
                for pod in slice.endpoints.iter().filter_map(|e| e.target_ref.as_ref()).filter(|t| t.kind == "Pod") {
                    let name = NamespacedName::new(Arc::clone(&slice.metadata.namespace), Arc::clone(&pod.name));
                    let found = index.pods.get(&name).is_some_and(|indexed| is_meant(indexed, pod.uid.as_deref()));
                    // A slice names pods of its own namespace only, as its controller would.
                    if found && (pod.namespace.is_empty() || pod.namespace == slice.metadata.namespace) {
                        by_pod.entry(name).or_default().push((key.clone(), slice));
                    }
                }
            }
        }
        Self { by_namespace, by_pod }
    }

    /// The services that a pod is an endpoint of, each once, in order of names.
    pub(super) fn of_pod(&self, indexed: &IndexedPod) -> Vec<ServiceMembership> {
        let key = &indexed.pod.key;
        let slices = self.by_pod.get(key);
        let mut memberships = Vec::new();
        for (model, object) in self.by_namespace.get(&key.namespace).into_iter().flatten() {
            let selector = &object.spec.selector;
            let ports = if !selector.is_empty() {
                if !selects(selector, &indexed.object.metadata.labels) {
                    continue;
                }
                target_ports(&object.spec.ports, &indexed.object.spec)
            } else {
                let mine = |(service, _): &&(NamespacedName, _)| *service.name == *model.name;
                let Some((_, slice)) = slices.into_iter().flatten().find(mine) else { continue };
                slice_ports(&object.spec.ports, slice)
            };
            memberships.push(ServiceMembership { service: model.key(), ports });
        }
        memberships
    }

    pub(super) fn models(self) -> Vec<service::Service> {
        self.by_namespace.into_values().flatten().map(|(model, _)| model).collect()
    }
}

/// A slice may remember a pod of the same name that is gone.
fn is_meant(indexed: &IndexedPod, uid: Option<&str>) -> bool {
    uid.is_none_or(|uid| uid.is_empty() || *indexed.pod.uid == *uid)
}

fn model(key: &NamespacedName, object: &Service, settings: &Settings) -> service::Service {
    let addresses = object.spec.addresses().filter_map(|text| text.parse::<IpAddr>().ok());
    let network = || Arc::clone(&settings.network);
    let ports = tcp(&object.spec.ports).map(|port| service::ServicePort {
        port: port.port,
        target: match port.target_port {
            None => port.port,
            Some(TargetPort::Number(target)) => target,
            Some(TargetPort::Name(_)) => 0,
        },
        ..service::ServicePort::default()
    });
    service::Service {
        name: Arc::clone(&key.name),
        namespace: Arc::clone(&key.namespace),
        hostname: format!("{}.{}.svc.{}", key.name, key.namespace, settings.cluster_domain).into(),
        addresses: addresses.map(|ip| VirtualAddress::single(network(), ip)).collect(),
        ports: ports.collect(),
        canonical: true,
        ..service::Service::default()
    }
}

/// Only TCP is carried.
fn tcp(ports: &[ServicePort]) -> impl Iterator<Item = &ServicePort> {
    ports.iter().filter(|port| is_tcp(port.protocol.as_deref()))
}

fn is_tcp(protocol: Option<&str>) -> bool {
    matches!(protocol, None | Some("" | "TCP"))
}

/// Service port → port of this pod. A name that no container has leaves the port out.
fn target_ports(ports: &[ServicePort], pod: &PodSpec) -> Vec<(u16, u16)> {
    let target = |port: &ServicePort| match &port.target_port {
        None => Some(port.port),
        Some(TargetPort::Number(number)) => Some(*number),
        Some(TargetPort::Name(name)) => named_port(name, pod),
    };
    tcp(ports).filter_map(|port| Some((port.port, target(port)?))).collect()
}

fn named_port(name: &str, pod: &PodSpec) -> Option<u16> {
    let sidecars = pod.init_containers.iter().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let mut ports = pod.containers.iter().chain(sidecars).flat_map(|container| &container.ports);
    ports.find(|p| p.name.as_deref() == Some(name) && is_tcp(p.protocol.as_deref())).map(|p| p.container_port)
}

/// Service port → port of the slice with the same name; an only port has none.
fn slice_ports(ports: &[ServicePort], slice: &EndpointSlice) -> Vec<(u16, u16)> {
    let named = |name: Option<&str>| {
        let wanted = name.unwrap_or_default();
        let mut candidates = slice.ports.iter().filter(|port| is_tcp(port.protocol.as_deref()));
        candidates.find(|port| port.name.as_deref().unwrap_or_default() == wanted).and_then(|port| port.port)
    };
    tcp(ports).filter_map(|port| Some((port.port, named(port.name.as_deref())?))).collect()
}
