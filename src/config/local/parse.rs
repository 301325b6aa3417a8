//! From the file's shape to the mesh's state. Every mistake names its field.

use std::collections::HashSet;
use std::fmt::Display;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipnet::IpNet;
use serde_json::Value;

use super::shape::{self, Document};
use crate::config::source::LocalMesh;
use crate::mesh::State;
use crate::model::gateway::{GatewayAddress, GatewayDestination};
use crate::model::name::NamespacedName;
use crate::model::policy::{Action, Clause, Group, Match, Policy, Scope, ServiceAccountMatch, StringMatch};
use crate::model::service::{self, Balancing, IpFamilies, Service, ServicePort, VirtualAddress, Visibility};
use crate::model::spiffe::Identity;
use crate::model::workload::{ApplicationTunnel, Kind, Locality, ServiceMembership, Tunnel, Workload};

/// The largest file, 256 MiB: 100,000 workloads have some 60.
const MAX_FILE: u64 = 256 << 20;

/// What a workload has of which the file says nothing.
#[derive(Clone, Debug)]
pub struct Settings {
    pub trust_domain: Arc<str>,
    pub cluster: Arc<str>,
}

/// Why the file cannot be used. Configuration.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// A field's value is not what the field takes.
    #[error("{place}: {field}: {reason}")]
    Field { place: String, field: String, reason: String },
    #[error("{place} cannot be read: mount it, and let this user read it")]
    Read {
        place: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{place} is larger than 256 MiB: give the mesh by a control plane")]
    Size { place: String },
    #[error("{place} is not YAML")]
    Syntax {
        place: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A field and what is wrong with it.
type Wrong = (String, String);

/// Reads the file at `path`.
pub fn read(path: &Path, settings: &Settings) -> Result<State, LocalError> {
    let place = path.display().to_string();
    let failed = |source| LocalError::Read { place: place.clone(), source };
    if std::fs::metadata(path).map_err(failed)?.len() > MAX_FILE {
        return Err(LocalError::Size { place });
    }
    let text = std::fs::read_to_string(PathBuf::from(path)).map_err(failed)?;
    parse(&place, &text, settings)
}

/// Reads a text; `place` is for messages.
pub fn parse(place: &str, text: &str, settings: &Settings) -> Result<State, LocalError> {
    let blank = text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
    if blank {
        return Ok(State::default());
    }
    let value = yaml(text).map_err(|source| LocalError::Syntax { place: place.to_owned(), source })?;
    let document: Document = serde_path_to_error::deserialize(value).map_err(|error| LocalError::Field {
        place: place.to_owned(),
        field: error.path().to_string(),
        reason: error.inner().to_string(),
    })?;
    state(document, settings).map_err(|(field, reason)| LocalError::Field { place: place.to_owned(), field, reason })
}

/// The document as it is written, for the dump; an empty object where it is larger than 1 MiB, which a dump of the mesh
/// says better, or cannot be read.
pub fn echo(local: LocalMesh<'_>) -> Value {
    const MOST: u64 = 1 << 20;
    let small = |path: &Path| std::fs::metadata(path).is_ok_and(|file| file.len() <= MOST);
    let text = match local {
        LocalMesh::Text(text) if text.len() as u64 <= MOST => Some(text.to_owned()),
        LocalMesh::File(path) if small(path) => std::fs::read_to_string(path).ok(),
        LocalMesh::File(_) | LocalMesh::Text(_) => None,
    };
    let value = text.and_then(|text| yaml(&text).ok()).filter(Value::is_object);
    value.unwrap_or_else(|| Value::Object(serde_json::Map::new()))
}

/// As plain values first: an error of the shape can then name its field. The file is the operator's own, so its size is
/// bounded by the file's; what aliases can multiply is not.
fn yaml(text: &str) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
    let budget = serde_saphyr::budget! { max_nodes: 40_000_000, max_events: 160_000_000 };
    let alias_limits = serde_saphyr::alias_limits! { max_total_replayed_events: 100_000 };
    let options = serde_saphyr::options! { budget: budget, alias_limits: alias_limits };
    serde_saphyr::from_str_with_options(text, options).map_err(Into::into)
}

fn state(document: Document, settings: &Settings) -> Result<State, Wrong> {
    let mut state = State::default();
    let (mut uids, mut names, mut policies) = (HashSet::new(), HashSet::new(), HashSet::new());
    for (at, one) in document.workloads.into_iter().enumerate() {
        let one = workload(at, one, settings)?;
        once(&mut uids, one.uid.to_string(), || format!("workloads[{at}].uid"))?;
        state.workloads.push(one);
    }
    for (at, one) in document.policies.into_iter().enumerate() {
        let one = policy(at, one)?;
        once(&mut policies, one.key.to_string(), || format!("policies[{at}].name"))?;
        state.policies.push(one);
    }
    for (at, one) in document.services.into_iter().enumerate() {
        let one = service(at, one)?;
        once(&mut names, one.key().to_string(), || format!("services[{at}].hostname"))?;
        state.services.push(one);
    }
    Ok(state)
}

fn once(seen: &mut HashSet<String>, name: String, field: impl FnOnce() -> String) -> Result<(), Wrong> {
    match seen.insert(name.clone()) {
        true => Ok(()),
        false => Err((field(), format!("{name:?} is there twice"))),
    }
}

fn workload(at: usize, from: shape::Workload, settings: &Settings) -> Result<Workload, Wrong> {
    let field = |name: &str| format!("workloads[{at}].{name}");
    let or = |text: Option<String>, default: &Arc<str>| match text {
        Some(text) if !text.is_empty() => Arc::from(text),
        _ => Arc::clone(default),
    };
    let cluster = or(from.cluster_id, &settings.cluster);
    let called =
        if from.name.is_empty() { from.workload_ips.first().map(ToString::to_string) } else { Some(from.name.clone()) };
    let uid = match (from.uid.is_empty(), called) {
        (false, _) => from.uid,
        (true, Some(called)) => format!("{cluster}//Pod/{}/{called}", from.namespace),
        (true, None) => return Err((field("uid"), "a workload without a name and an address needs one".into())),
    };
    let mut policies = Vec::with_capacity(from.authorization_policies.len());
    for (place, key) in from.authorization_policies.iter().enumerate() {
        policies.push(
            name(key).ok_or_else(|| wrong(field(&format!("authorizationPolicies[{place}]")), key, "NAMESPACE/NAME"))?,
        );
    }
    let mut services = Vec::with_capacity(from.services.len());
    for (key, ports) in &from.services {
        let service = name(key).ok_or_else(|| wrong(field("services"), key, "NAMESPACE/HOSTNAME"))?;
        services
            .push(ServiceMembership { service, ports: ports.iter().map(|(port, target)| (*port, *target)).collect() });
    }
    Ok(Workload {
        uid: uid.into(),
        name: from.name.into(),
        namespace: from.namespace.into(),
        service_account: or(from.service_account, &Arc::from("default")),
        trust_domain: or(from.trust_domain, &settings.trust_domain),
        addresses: from.workload_ips.iter().map(IpAddr::to_canonical).collect(),
        hostname: from.hostname.into(),
        network: from.network.into(),
        cluster,
        node: from.node.into(),
        tunnel: match from.protocol {
            shape::Protocol::Hbone => Tunnel::Hbone,
            shape::Protocol::Tcp => Tunnel::None,
        },
        native_tunnel: from.native_tunnel,
        application_tunnel: from.application_tunnel.map(|tunnel| ApplicationTunnel {
            proxy: tunnel.protocol == shape::TunnelProtocol::Proxy,
            port: tunnel.port.unwrap_or(0),
        }),
        waypoint: from.waypoint.map(|to| gateway(to, || field("waypoint.destination"))).transpose()?,
        network_gateway: from
            .network_gateway
            .map(|to| gateway(to, || field("networkGateway.destination")))
            .transpose()?,
        kind: match from.workload_type {
            shape::WorkloadType::CronJob => Kind::CronJob,
            shape::WorkloadType::Deployment => Kind::Deployment,
            shape::WorkloadType::Job => Kind::Job,
            shape::WorkloadType::Pod => Kind::Pod,
        },
        owner: from.workload_name.into(),
        canonical_name: from.canonical_name.into(),
        canonical_revision: from.canonical_revision.into(),
        locality: Locality {
            region: from.locality.region.into(),
            zone: from.locality.zone.into(),
            subzone: from.locality.subzone.into(),
        },
        healthy: matches!(from.status, shape::Status::Healthy),
        capacity: from.capacity.unwrap_or(1),
        host_network: matches!(from.network_mode, shape::NetworkMode::HostNetwork),
        policies,
        services,
    })
}

fn policy(at: usize, from: shape::Policy) -> Result<Policy, Wrong> {
    let scope = match from.scope {
        shape::Scope::Global => Scope::Global,
        shape::Scope::Namespace => Scope::Namespace,
        shape::Scope::WorkloadSelector => Scope::Workload,
    };
    let action = match from.action {
        shape::Action::Allow => Action::Allow,
        shape::Action::Deny => Action::Deny,
    };
    let mut groups = Vec::with_capacity(from.rules.len());
    for (rule, clauses) in from.rules.into_iter().enumerate() {
        let rule = u32::try_from(rule).map_err(|_| (format!("policies[{at}].rules"), "too many rules".to_owned()))?;
        let clause = |matches: Vec<shape::Match>| Clause { matches: matches.into_iter().map(matched).collect() };
        groups.push(Group { rule, clauses: clauses.into_iter().map(clause).collect() });
    }
    let key = NamespacedName::new(from.namespace, from.name);
    Ok(Policy { dry_run: from.dry_run, ..Policy::new(key, scope, action, groups) })
}

fn matched(from: shape::Match) -> Match {
    let texts = |all: Vec<shape::Text>| -> Vec<StringMatch> {
        let one = |text| match text {
            shape::Text::Exact(text) => StringMatch::Exact(text.into()),
            shape::Text::Prefix(text) => StringMatch::Prefix(text.into()),
            shape::Text::Presence => StringMatch::Presence,
            shape::Text::Suffix(text) => StringMatch::Suffix(text.into()),
        };
        all.into_iter().map(one).collect()
    };
    let accounts = |all: Vec<shape::ServiceAccount>| -> Vec<ServiceAccountMatch> {
        let one = |account: shape::ServiceAccount| ServiceAccountMatch {
            namespace: account.namespace.into(),
            service_account: account.service_account.into(),
        };
        all.into_iter().map(one).collect()
    };
    let nets = |all: Vec<shape::Net>| -> Vec<IpNet> { all.into_iter().map(|net| net.0).collect() };
    Match {
        namespaces: texts(from.namespaces),
        not_namespaces: texts(from.not_namespaces),
        principals: texts(from.principals),
        not_principals: texts(from.not_principals),
        service_accounts: accounts(from.service_accounts),
        not_service_accounts: accounts(from.not_service_accounts),
        source_ips: nets(from.source_ips),
        not_source_ips: nets(from.not_source_ips),
        destination_ips: nets(from.destination_ips),
        not_destination_ips: nets(from.not_destination_ips),
        destination_ports: from.destination_ports,
        not_destination_ports: from.not_destination_ports,
        ..Match::default()
    }
}

fn service(at: usize, from: shape::Service) -> Result<Service, Wrong> {
    let field = |name: &str| format!("services[{at}].{name}");
    let mut addresses = Vec::with_capacity(from.vips.len() + from.cidr_vips.len());
    for (place, text) in from.vips.iter().enumerate() {
        let parsed = text.split_once('/').and_then(|(network, ip)| Some((network, ip.parse::<IpAddr>().ok()?)));
        let (network, ip) = parsed.ok_or_else(|| wrong(field(&format!("vips[{place}]")), text, "NETWORK/IP"))?;
        addresses.push(VirtualAddress::single(network.into(), ip));
    }
    for (place, text) in from.cidr_vips.iter().enumerate() {
        let parsed = text.split_once('/').and_then(|(network, net)| Some((network, net.parse::<IpNet>().ok()?)));
        let (network, net) = parsed.ok_or_else(|| wrong(field(&format!("cidrVips[{place}]")), text, "NETWORK/CIDR"))?;
        addresses.push(VirtualAddress { network: network.into(), net: net.trunc() });
    }
    let mut subject_alt_names: Vec<Identity> = Vec::with_capacity(from.subject_alt_names.len());
    for (place, text) in from.subject_alt_names.iter().enumerate() {
        let parsed = text.parse();
        subject_alt_names
            .push(parsed.map_err(|_| wrong(field(&format!("subjectAltNames[{place}]")), text, "a SPIFFE identity"))?);
    }
    let mut weighted_waypoints = Vec::with_capacity(from.weighted_waypoints.len());
    for (place, one) in from.weighted_waypoints.into_iter().enumerate() {
        let to = gateway(one.destination, || field(&format!("weightedWaypoints[{place}].destination")))?;
        weighted_waypoints.push((to, one.weight));
    }
    Ok(Service {
        name: from.name.into(),
        namespace: from.namespace.into(),
        hostname: from.hostname.into(),
        addresses,
        ports: from
            .ports
            .iter()
            .map(|(&port, &target)| ServicePort { port, target, ..ServicePort::default() })
            .collect(),
        subject_alt_names,
        waypoint: from.waypoint.map(|to| gateway(to, || field("waypoint.destination"))).transpose()?,
        weighted_waypoints,
        balancing: from.load_balancer.map(balancing).unwrap_or_default(),
        families: match from.ip_families {
            None => IpFamilies::Automatic,
            Some(shape::IpFamilies::Dual) => IpFamilies::Dual,
            Some(shape::IpFamilies::IPv4) => IpFamilies::Ipv4Only,
            Some(shape::IpFamilies::IPv6) => IpFamilies::Ipv6Only,
        },
        canonical: from.canonical,
        visibility: match from.visibility {
            shape::Visibility::Namespace => Visibility::Namespace,
            shape::Visibility::Public => Visibility::Public,
        },
        ingress_use_waypoint: false,
    })
}

fn balancing(from: shape::LoadBalancer) -> Balancing {
    let scope = |locale| match locale {
        shape::Locale::Region => service::Scope::Region,
        shape::Locale::Zone => service::Scope::Zone,
        shape::Locale::Subzone => service::Scope::Subzone,
        shape::Locale::Node => service::Scope::Node,
        shape::Locale::Cluster => service::Scope::Cluster,
        shape::Locale::Network => service::Scope::Network,
    };
    Balancing {
        mode: match from.mode {
            shape::Mode::Failover => service::Mode::Failover,
            shape::Mode::Passthrough => service::Mode::Passthrough,
            shape::Mode::Standard => service::Mode::Any,
            shape::Mode::Strict => service::Mode::Strict,
        },
        preference: from.routing_preferences.into_iter().map(scope).collect(),
        accept_unhealthy: matches!(from.health_policy, shape::HealthPolicy::AllowAll),
        affinity: None,
    }
}

/// An address of a network, or the name of a service or workload.
fn gateway(from: shape::Gateway, field: impl FnOnce() -> String) -> Result<GatewayAddress, Wrong> {
    let parts = from.destination.split_once('/').filter(|(_, rest)| !rest.is_empty() && !rest.contains('/'));
    let Some((first, rest)) = parts else {
        return Err(wrong(field(), &from.destination, "NETWORK/IP or NAMESPACE/HOSTNAME"));
    };
    let destination = match rest.parse::<IpAddr>() {
        Ok(ip) => GatewayDestination::Address { network: first.into(), ip: ip.to_canonical() },
        Err(_) => GatewayDestination::Hostname(NamespacedName::new(first, rest)),
    };
    Ok(GatewayAddress { destination, port: from.hbone_mtls_port })
}

fn name(key: &str) -> Option<NamespacedName> {
    let (namespace, name) = key.split_once('/')?;
    let good = !namespace.is_empty() && !name.is_empty() && !name.contains('/');
    good.then(|| NamespacedName::new(namespace, name))
}

fn wrong(field: String, text: impl Display, expected: &str) -> Wrong {
    (field, format!("\"{text}\" is not {expected}"))
}

#[cfg(test)]
mod tests;
