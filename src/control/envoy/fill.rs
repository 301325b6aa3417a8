//! Who and what goes through a waypoint, out of a projection.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::rules::{self, Policy};
use super::{Direct, Endpoint, Protocol, Served, ServedPort, Waypoint};
use crate::control::index::Index;
use crate::control::policy::{Problem, authorization};
use crate::control::project::{Projection, Settings, write_out};
use crate::kube::types::AuthorizationPolicy;
use crate::kube::types::authorization::TargetReference;
use crate::model::gateway::GatewayAddress;
use crate::model::name::NamespacedName;
use crate::model::service::{AppProtocol, Service, ServicePort, VirtualAddress};
use crate::model::spiffe::Identity;
use crate::model::workload::{Tunnel, Workload};

/// A policy that is enforced closed, because it cannot be expressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub key: NamespacedName,
    pub problems: Vec<Problem>,
}

/// The class of a waypoint whose Gateway is not among the objects.
const CLASS: &str = "istio-waypoint";
const GATEWAYS: &str = "gateway.networking.k8s.io";

/// Gives `waypoint` the services, workloads and policies that belong to it, in place of those that it has.
/// `references` is how services and workloads of the projection name it.
pub fn fill(
    waypoint: Waypoint,
    references: &[GatewayAddress],
    index: &Index,
    settings: &Settings,
    projection: &Projection,
) -> (Waypoint, Vec<Refused>) {
    let mut policies = Policies { index, settings, refused: BTreeMap::new() };
    // An address has one way: the first that claims it.
    let mut taken = BTreeSet::new();
    let mut services = Vec::new();
    for service in projection.services.iter().filter(|service| names(service, references)) {
        let own = policies.of(|target, namespace| is_service(target, namespace, service, settings));
        let mut served = served(service, projection, settings, own);
        served.addresses.retain(|address| taken.insert(*address));
        services.push(served);
    }
    let mut direct: BTreeMap<Vec<Identity>, Vec<IpAddr>> = BTreeMap::new();
    let bound = |workload: &&Workload| workload.waypoint.as_ref().is_some_and(|named| references.contains(named));
    for workload in projection.workloads.iter().filter(bound) {
        let addresses = workload.addresses.iter().copied().filter(|address| taken.insert(*address));
        direct.entry(proven(workload, &[], settings)).or_default().extend(addresses);
    }
    let workloads = direct.into_iter().map(|(identities, addresses)| Direct { addresses, identities }).collect();
    let key = NamespacedName::new(waypoint.namespace.clone(), waypoint.name.clone());
    let class = index.gateways.get(&key).map_or(CLASS, |gateway| &gateway.spec.gateway_class_name);
    let own = policies.of(|target, namespace| is_waypoint(target, namespace, &key, class, settings));
    let refused = policies.refused.into_values().collect();
    let aliases = settings.trust_domain_aliases.clone();
    (Waypoint { aliases, services, workloads, policies: own, ..waypoint }, refused)
}

/// True when some of the service's calls come through it.
fn names(service: &Service, references: &[GatewayAddress]) -> bool {
    let weighted = service.weighted_waypoints.iter().map(|(waypoint, _)| waypoint);
    service.waypoint.iter().chain(weighted).any(|named| references.contains(named))
}

fn served(service: &Service, projection: &Projection, settings: &Settings, policies: Vec<Policy>) -> Served {
    let key = service.key();
    let mut ports: BTreeMap<u16, ServedPort> = BTreeMap::new();
    for port in &service.ports {
        let endpoints =
            projection.workloads.iter().filter_map(|workload| endpoint(service, &key, port, workload, settings));
        let entry = ServedPort { port: port.port, protocol: protocol(port.protocol), endpoints: endpoints.collect() };
        ports.entry(port.port).or_insert(entry);
    }
    Served {
        hostname: service.hostname.clone(),
        // Blocks are of services outside of the cluster, whose addresses are their endpoints.
        addresses: service.addresses.iter().filter_map(VirtualAddress::ip).collect(),
        ports: ports.into_values().collect(),
        policies,
    }
}

fn endpoint(
    service: &Service,
    key: &NamespacedName,
    port: &ServicePort,
    workload: &Workload,
    settings: &Settings,
) -> Option<Endpoint> {
    let chosen = workload.capacity > 0 && (workload.healthy || service.balancing.accept_unhealthy);
    let membership = workload.services.iter().find(|membership| membership.service == *key).filter(|_| chosen)?;
    let (_, target) = membership.ports.iter().find(|(from, _)| *from == port.port)?;
    let address = workload.addresses.iter().find(|address| service.families.allows(address))?;
    let identities = proven(workload, &service.subject_alt_names, settings);
    Some(Endpoint { address: (*address, *target).into(), identities })
}

/// Whom the far side must prove to be, under any name of the trust domain; nobody outside of the mesh.
fn proven(workload: &Workload, others: &[Identity], settings: &Settings) -> Vec<Identity> {
    match workload.tunnel {
        Tunnel::Hbone => {
            let all = std::iter::once(workload.identity()).chain(others.iter().cloned());
            all.flat_map(|identity| settings.every_name_of(identity)).collect()
        }
        Tunnel::None => Vec::new(),
    }
}

const fn protocol(declared: AppProtocol) -> Protocol {
    match declared {
        AppProtocol::Http11 | AppProtocol::Http2 | AppProtocol::Grpc => Protocol::Http,
        AppProtocol::Tcp | AppProtocol::Tls => Protocol::Tcp,
        AppProtocol::Unknown => Protocol::Sniffed,
    }
}

/// A Service of Kubernetes has a host name of Kubernetes; a ServiceEntry of the same name has another.
fn is_service(target: &TargetReference, namespace: &str, service: &Service, settings: &Settings) -> bool {
    let host = format!("{}.{}.svc.{}", service.name, service.namespace, settings.cluster_domain);
    let kind = match (target.group.as_str(), target.kind.as_str()) {
        ("" | "core", "Service") => *service.hostname == *host,
        ("networking.istio.io", "ServiceEntry") => *service.hostname != *host,
        _ => false,
    };
    kind && *target.name == *service.name && *namespace == *service.namespace
}

/// `class` is the one of the waypoint's own Gateway.
fn is_waypoint(
    target: &TargetReference,
    namespace: &str,
    key: &NamespacedName,
    class: &str,
    settings: &Settings,
) -> bool {
    if target.group != GATEWAYS {
        return false;
    }
    match target.kind.as_str() {
        "Gateway" => *target.name == *key.name && *namespace == *key.namespace,
        "GatewayClass" => target.name == class && *namespace == *settings.root_namespace,
        _ => false,
    }
}

struct Policies<'a> {
    index: &'a Index,
    settings: &'a Settings,
    refused: BTreeMap<NamespacedName, Refused>,
}

// === impl Policies ===

impl Policies<'_> {
    /// The policies with a target that `is_ours` says yes to, asked with the policy's namespace.
    fn of(&mut self, is_ours: impl Fn(&TargetReference, &str) -> bool) -> Vec<Policy> {
        let mut own = Vec::new();
        for (key, object) in &self.index.authorization_policies {
            let spec = &object.spec;
            let mut targets = spec.target_ref.iter().chain(spec.target_refs.iter().flatten());
            let elsewhere =
                |target: &TargetReference| !target.namespace.is_empty() && *target.namespace != *key.namespace;
            let aimed = targets.any(|target| !elsewhere(target) && is_ours(target, &key.namespace));
            if !aimed || is_tried_out(object) {
                continue;
            }
            let mut policy = rules::read(object).unwrap_or_else(|problems| {
                self.refused.insert(key.clone(), Refused { key: key.clone(), problems });
                Policy::closed(key.clone(), spec.action)
            });
            policy.callers_mut().for_each(|m| write_out(m, self.settings));
            own.push(policy);
        }
        own
    }
}

fn is_tried_out(object: &AuthorizationPolicy) -> bool {
    authorization::parse(object).is_ok_and(|parsed| parsed.dry_run)
}

#[cfg(test)]
mod tests;
