//! Workloads and services as the dump has them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Serialize, Serializer};

use crate::mesh::{Held, View};
use crate::model::gateway::{GatewayAddress, GatewayDestination};
use crate::model::name::NamespacedName;
use crate::model::service::{self, Balancing, IpFamilies, Mode, Scope, Service, Visibility};
use crate::model::workload::{Kind, Locality, Tunnel};

/// A workload with the dump's keys.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WorkloadEntry<'a> {
    uid: &'a str,
    workload_ips: &'a [IpAddr],
    #[serde(skip_serializing_if = "Option::is_none")]
    waypoint: Option<Gateway>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network_gateway: Option<Gateway>,
    protocol: &'static str,
    name: &'a str,
    namespace: &'a str,
    service_account: &'a str,
    trust_domain: &'a str,
    workload_name: &'a str,
    workload_type: &'static str,
    canonical_name: &'a str,
    canonical_revision: &'a str,
    cluster_id: &'a str,
    locality: Place<'a>,
    node: &'a str,
    network: &'a str,
    network_mode: &'static str,
    native_tunnel: bool,
    status: &'static str,
    hostname: &'a str,
    capacity: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    application_tunnel: Option<Application>,
    authorization_policies: Names<'a>,
    services: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Gateway {
    /// `namespace/hostname` or `network/ip`.
    destination: String,
    hbone_mtls_port: u16,
}

#[derive(Serialize)]
struct Weighted {
    destination: Gateway,
    weight: u32,
}

#[derive(Serialize)]
struct Place<'a> {
    region: &'a str,
    zone: &'a str,
    subzone: &'a str,
}

#[derive(Serialize)]
struct Application {
    protocol: &'static str,
    port: u16,
}

/// `namespace/name` each.
struct Names<'a>(&'a [NamespacedName]);

/// A service with the dump's keys.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServiceEntry<'a> {
    name: &'a str,
    namespace: &'a str,
    hostname: &'a str,
    vips: Vec<String>,
    cidr_vips: Vec<String>,
    ports: BTreeMap<u16, u16>,
    endpoints: BTreeMap<&'a str, Endpoint<'a>>,
    subject_alt_names: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waypoint: Option<Gateway>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    weighted_waypoints: Vec<Weighted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    load_balancer: Option<LoadBalancer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip_families: Option<&'static str>,
    canonical: bool,
    visibility: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Endpoint<'a> {
    workload_uid: &'a str,
    port: BTreeMap<u16, u16>,
    status: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LoadBalancer {
    mode: &'static str,
    routing_preferences: Vec<&'static str>,
    health_policy: &'static str,
}

const fn status(workload: &Held) -> &'static str {
    if workload.healthy { "Healthy" } else { "Unhealthy" }
}

// === impl WorkloadEntry ===

impl<'a> WorkloadEntry<'a> {
    pub(super) fn new(workload: &'a Held) -> Self {
        let Locality { region, zone, subzone } = &*workload.locality;
        Self {
            uid: &workload.uid,
            workload_ips: &workload.addresses,
            waypoint: workload.waypoint.as_ref().map(Gateway::new),
            network_gateway: workload.network_gateway.as_ref().map(Gateway::new),
            protocol: match workload.tunnel {
                Tunnel::Hbone => "HBONE",
                Tunnel::None => "TCP",
            },
            name: &workload.name,
            namespace: &workload.namespace,
            service_account: &workload.service_account,
            trust_domain: &workload.trust_domain,
            workload_name: &workload.owner,
            workload_type: match workload.kind {
                Kind::CronJob => "cronjob",
                Kind::Deployment => "deployment",
                Kind::Job => "job",
                Kind::Pod => "pod",
            },
            canonical_name: &workload.canonical_name,
            canonical_revision: &workload.canonical_revision,
            cluster_id: &workload.cluster,
            locality: Place { region, zone, subzone },
            node: &workload.node,
            network: &workload.network,
            network_mode: if workload.host_network { "HostNetwork" } else { "Standard" },
            native_tunnel: workload.native_tunnel,
            status: status(workload),
            hostname: &workload.hostname,
            capacity: workload.capacity,
            application_tunnel: workload
                .application_tunnel
                .map(|tunnel| Application { protocol: if tunnel.proxy { "PROXY" } else { "NONE" }, port: tunnel.port }),
            authorization_policies: Names(&workload.policies),
            services: workload.services.iter().map(|of| of.service.to_string()).collect(),
        }
    }
}

impl Serialize for Names<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.iter().map(ToString::to_string))
    }
}

// === impl Gateway ===

impl Gateway {
    fn new(of: &GatewayAddress) -> Self {
        let destination = match &of.destination {
            GatewayDestination::Address { network, ip } => format!("{network}/{ip}"),
            GatewayDestination::Hostname(key) => key.to_string(),
        };
        Self { destination, hbone_mtls_port: of.port }
    }
}

// === impl ServiceEntry ===

impl<'a> ServiceEntry<'a> {
    pub(super) fn new(service: &'a Service, view: &'a View) -> Self {
        let (vips, blocks): (Vec<_>, Vec<_>) = service.addresses.iter().partition(|address| address.ip().is_some());
        let vip = |at: &service::VirtualAddress| format!("{}/{}", at.network, at.net.addr());
        let block = |at: &service::VirtualAddress| format!("{}/{}", at.network, at.net);
        let endpoints = view.endpoints(&service.key()).iter().map(|endpoint| {
            let workload = endpoint.workload();
            (&*workload.uid, Endpoint::new(workload, endpoint.ports()))
        });
        let weighted =
            |(to, weight): &(GatewayAddress, u32)| Weighted { destination: Gateway::new(to), weight: *weight };
        Self {
            name: &service.name,
            namespace: &service.namespace,
            hostname: &service.hostname,
            vips: vips.into_iter().map(vip).collect(),
            cidr_vips: blocks.into_iter().map(block).collect(),
            ports: service.ports.iter().map(|entry| (entry.port, entry.target)).collect(),
            endpoints: endpoints.collect(),
            subject_alt_names: service.subject_alt_names.iter().map(ToString::to_string).collect(),
            waypoint: service.waypoint.as_ref().map(Gateway::new),
            weighted_waypoints: service.weighted_waypoints.iter().map(weighted).collect(),
            load_balancer: LoadBalancer::new(&service.balancing),
            ip_families: match service.families {
                IpFamilies::Automatic => None,
                IpFamilies::Dual => Some("Dual"),
                IpFamilies::Ipv4Only => Some("IPv4"),
                IpFamilies::Ipv6Only => Some("IPv6"),
            },
            canonical: service.canonical,
            visibility: match service.visibility {
                Visibility::Namespace => "Namespace",
                Visibility::Public => "Public",
            },
        }
    }
}

// === impl Endpoint ===

impl<'a> Endpoint<'a> {
    fn new(workload: &'a Held, ports: &[(u16, u16)]) -> Self {
        Self { workload_uid: &workload.uid, port: ports.iter().copied().collect(), status: status(workload) }
    }
}

// === impl LoadBalancer ===

impl LoadBalancer {
    /// Nothing where nothing was said.
    fn new(of: &Balancing) -> Option<Self> {
        if of.mode == Mode::Any && of.preference.is_empty() && !of.accept_unhealthy {
            return None;
        }
        let scope = |scope: &Scope| match scope {
            Scope::Region => "Region",
            Scope::Zone => "Zone",
            Scope::Subzone => "Subzone",
            Scope::Node => "Node",
            Scope::Cluster => "Cluster",
            Scope::Network => "Network",
        };
        Some(Self {
            mode: match of.mode {
                Mode::Any => "Standard",
                Mode::Failover => "Failover",
                Mode::Passthrough => "Passthrough",
                Mode::Strict => "Strict",
            },
            routing_preferences: of.preference.iter().map(scope).collect(),
            health_policy: if of.accept_unhealthy { "AllowAll" } else { "OnlyHealthy" },
        })
    }
}

/// Endpoints of services that the mesh does not know (yet): `namespace/hostname` → UID → endpoint.
pub(super) fn staged(view: &View) -> BTreeMap<String, BTreeMap<&str, Endpoint<'_>>> {
    let mut staged: BTreeMap<String, BTreeMap<&str, Endpoint<'_>>> = BTreeMap::new();
    for (service, endpoints) in view.staged() {
        let of = staged.entry(service.to_string()).or_default();
        for endpoint in endpoints {
            let workload = endpoint.workload();
            of.insert(&workload.uid, Endpoint::new(workload, endpoint.ports()));
        }
    }
    staged
}
