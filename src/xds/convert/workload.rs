//! Workloads.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::workload::{ApplicationTunnel, Kind, Locality, ServiceMembership, Tunnel, Workload};
use crate::proto::workload as wire;

use super::outcome::{Checked, Fault, each, port};
use super::{address, gateway, name, service};

/// The trust domain that is not written.
const TRUST_DOMAIN: &str = "cluster.local";
/// What an absent service account is.
const SERVICE_ACCOUNT: &str = "default";
/// What an absent cluster is.
const CLUSTER: &str = "Kubernetes";

pub(super) fn encode(workload: &Workload) -> wire::Workload {
    let Workload {
        uid,
        name,
        namespace,
        service_account,
        trust_domain,
        addresses,
        hostname,
        network,
        cluster,
        node,
        tunnel,
        native_tunnel,
        application_tunnel,
        waypoint,
        network_gateway,
        kind,
        owner,
        canonical_name,
        canonical_revision,
        locality: Locality { region, zone, subzone },
        healthy,
        capacity,
        host_network,
        policies,
        services,
    } = workload;
    let text = |text: &Arc<str>| text.as_ref().to_owned();
    let somewhere = [region, zone, subzone].iter().any(|part| !part.is_empty());
    wire::Workload {
        uid: text(uid),
        name: text(name),
        namespace: text(namespace),
        addresses: addresses.iter().map(|ip| address::encode(*ip)).collect(),
        hostname: text(hostname),
        network: text(network),
        tunnel_protocol: encode_tunnel(*tunnel).into(),
        trust_domain: if **trust_domain == *TRUST_DOMAIN { String::new() } else { text(trust_domain) },
        service_account: text(service_account),
        waypoint: waypoint.as_ref().map(gateway::encode),
        network_gateway: network_gateway.as_ref().map(gateway::encode),
        node: text(node),
        canonical_name: text(canonical_name),
        canonical_revision: text(canonical_revision),
        workload_type: encode_kind(*kind).into(),
        workload_name: text(owner),
        native_tunnel: *native_tunnel,
        application_tunnel: application_tunnel.map(encode_application_tunnel),
        services: encode_services(services),
        authorization_policies: policies.iter().map(ToString::to_string).collect(),
        status: if *healthy { wire::WorkloadStatus::Healthy } else { wire::WorkloadStatus::Unhealthy }.into(),
        cluster_id: text(cluster),
        locality: somewhere.then(|| wire::Locality { region: text(region), zone: text(zone), subzone: text(subzone) }),
        network_mode: if *host_network { wire::NetworkMode::HostNetwork } else { wire::NetworkMode::Standard }.into(),
        extensions: Vec::new(),
        capacity: (*capacity != 1).then_some(*capacity),
    }
}

pub(super) fn decode(message: wire::Workload) -> Checked<Workload> {
    let wire::Workload {
        uid,
        name,
        namespace,
        addresses,
        hostname,
        network,
        tunnel_protocol,
        trust_domain,
        service_account,
        waypoint,
        network_gateway,
        node,
        canonical_name,
        canonical_revision,
        workload_type,
        workload_name,
        native_tunnel,
        application_tunnel,
        services,
        authorization_policies,
        status,
        cluster_id,
        locality,
        network_mode,
        extensions: _,
        capacity,
    } = message;
    if uid.is_empty() {
        return Err(Fault::new(uid, "a workload has a uid").within("uid"));
    }
    let or = |text: String, absent: &str| if text.is_empty() { Arc::from(absent) } else { Arc::from(text) };
    let wire::Locality { region, zone, subzone } = locality.unwrap_or_default();
    Ok(Workload {
        uid: uid.into(),
        name: name.into(),
        namespace: namespace.into(),
        service_account: or(service_account, SERVICE_ACCOUNT),
        trust_domain: or(trust_domain, TRUST_DOMAIN),
        addresses: each("addresses", addresses, |bytes| address::decode(&bytes))?,
        hostname: hostname.into(),
        network: network.into(),
        cluster: or(cluster_id, CLUSTER),
        node: node.into(),
        tunnel: decode_tunnel(tunnel_protocol).map_err(|fault| fault.within("tunnel_protocol"))?,
        native_tunnel,
        application_tunnel: application_tunnel
            .map(decode_application_tunnel)
            .transpose()
            .map_err(|fault| fault.within("application_tunnel"))?,
        waypoint: gateway::decode_field("waypoint", waypoint)?,
        network_gateway: gateway::decode_field("network_gateway", network_gateway)?,
        kind: decode_kind(workload_type).map_err(|fault| fault.within("workload_type"))?,
        owner: workload_name.into(),
        canonical_name: canonical_name.into(),
        canonical_revision: canonical_revision.into(),
        locality: Locality { region: region.into(), zone: zone.into(), subzone: subzone.into() },
        healthy: decode_status(status).map_err(|fault| fault.within("status"))?,
        capacity: capacity.unwrap_or(1),
        host_network: decode_mode(network_mode).map_err(|fault| fault.within("network_mode"))?,
        policies: each("authorization_policies", authorization_policies, |text| name::key(&text))?,
        services: services
            .into_iter()
            .map(|(key, list)| {
                decode_membership(&key, list).map_err(|fault| fault.within_item("services", shown(&key)))
            })
            .collect::<Checked<_>>()?,
    })
}

/// A key is as long as its sender likes.
fn shown(key: &str) -> String {
    Fault::new(key, "").value
}

/// Two memberships of one service become one, with the ports of both.
fn encode_services(services: &[ServiceMembership]) -> BTreeMap<String, wire::PortList> {
    let mut map = BTreeMap::<String, wire::PortList>::new();
    for ServiceMembership { service, ports } in services {
        let ports = ports.iter().map(|(port, target)| wire::Port {
            service_port: u32::from(*port),
            target_port: u32::from(*target),
            app_protocol: 0,
        });
        map.entry(service.to_string()).or_default().ports.extend(ports);
    }
    map
}

fn decode_membership(key: &str, list: wire::PortList) -> Checked<ServiceMembership> {
    // The protocol of a port is the service's to say.
    let ports =
        each("ports", list.ports, |message| service::decode_port(message).map(|port| (port.port, port.target)))?;
    Ok(ServiceMembership { service: name::key(key)?, ports })
}

fn encode_application_tunnel(tunnel: ApplicationTunnel) -> wire::ApplicationTunnel {
    let ApplicationTunnel { proxy, port } = tunnel;
    let protocol = if proxy { wire::TunnelledProtocol::Proxy } else { wire::TunnelledProtocol::TunnelledProtocolNone };
    wire::ApplicationTunnel { protocol: protocol.into(), port: u32::from(port) }
}

fn decode_application_tunnel(message: wire::ApplicationTunnel) -> Checked<ApplicationTunnel> {
    let wire::ApplicationTunnel { protocol, port: number } = message;
    let proxy = match wire::TunnelledProtocol::try_from(protocol) {
        Ok(wire::TunnelledProtocol::Proxy) => true,
        Ok(wire::TunnelledProtocol::TunnelledProtocolNone) => false,
        Err(_) => return Err(Fault::new(protocol, "0 (none) and 1 (PROXY) are known").within("protocol")),
    };
    Ok(ApplicationTunnel { proxy, port: port(number).map_err(|fault| fault.within("port"))? })
}

const fn encode_tunnel(tunnel: Tunnel) -> wire::TunnelProtocol {
    match tunnel {
        Tunnel::Hbone => wire::TunnelProtocol::Hbone,
        Tunnel::None => wire::TunnelProtocol::None,
    }
}

/// A protocol that we do not speak is not "no protocol": that would be plain text.
fn decode_tunnel(number: i32) -> Checked<Tunnel> {
    match wire::TunnelProtocol::try_from(number) {
        Ok(wire::TunnelProtocol::Hbone) => Ok(Tunnel::Hbone),
        Ok(wire::TunnelProtocol::None) => Ok(Tunnel::None),
        Ok(wire::TunnelProtocol::LegacyIstioMtls) | Err(_) => {
            Err(Fault::new(number, "0 (none) and 1 (HBONE) are spoken here"))
        }
    }
}

fn decode_mode(number: i32) -> Checked<bool> {
    match wire::NetworkMode::try_from(number) {
        Ok(wire::NetworkMode::HostNetwork) => Ok(true),
        Ok(wire::NetworkMode::Standard) => Ok(false),
        Err(_) => Err(Fault::new(number, "0 (standard) and 1 (host network) are known")),
    }
}

const fn encode_kind(kind: Kind) -> wire::WorkloadType {
    match kind {
        Kind::CronJob => wire::WorkloadType::Cronjob,
        Kind::Deployment => wire::WorkloadType::Deployment,
        Kind::Job => wire::WorkloadType::Job,
        Kind::Pod => wire::WorkloadType::Pod,
    }
}

/// A word for logs and metrics.
fn decode_kind(number: i32) -> Checked<Kind> {
    match wire::WorkloadType::try_from(number) {
        Ok(wire::WorkloadType::Cronjob) => Ok(Kind::CronJob),
        Ok(wire::WorkloadType::Deployment) => Ok(Kind::Deployment),
        Ok(wire::WorkloadType::Job) => Ok(Kind::Job),
        Ok(wire::WorkloadType::Pod) => Ok(Kind::Pod),
        Err(_) => Err(Fault::new(number, "0 to 3 are known")),
    }
}

fn decode_status(number: i32) -> Checked<bool> {
    match wire::WorkloadStatus::try_from(number) {
        Ok(wire::WorkloadStatus::Healthy) => Ok(true),
        Ok(wire::WorkloadStatus::Unhealthy) => Ok(false),
        Err(_) => Err(Fault::new(number, "0 (healthy) and 1 (unhealthy) are known")),
    }
}
