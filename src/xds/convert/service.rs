//! Services.

use std::sync::Arc;
use std::time::Duration;

use crate::model::service::{
    Affinity, AppProtocol, Balancing, IpFamilies, Mode, Scope, Service, ServicePort, VirtualAddress, Visibility,
};
use crate::model::spiffe::Identity;
use crate::proto::extension::SessionAffinity;
use crate::proto::workload as wire;

use super::outcome::{Checked, Fault, LeftOut, each, port};
use super::{address, extension, gateway};

const NANOSECONDS: u32 = 1_000_000_000;

pub(super) fn encode(service: &Service) -> wire::Service {
    let Service {
        name,
        namespace,
        hostname,
        addresses,
        ports,
        subject_alt_names,
        waypoint,
        weighted_waypoints,
        balancing,
        families,
        canonical,
        visibility,
        ingress_use_waypoint,
    } = service;
    let text = |text: &Arc<str>| text.as_ref().to_owned();
    let affinity = balancing.affinity.map(|Affinity { timeout }| SessionAffinity {
        seconds: timeout.as_secs(),
        nanoseconds: timeout.subsec_nanos(),
    });
    wire::Service {
        name: text(name),
        namespace: text(namespace),
        hostname: text(hostname),
        addresses: addresses.iter().map(encode_address).collect(),
        ports: ports.iter().map(encode_port).collect(),
        subject_alt_names: subject_alt_names.iter().map(ToString::to_string).collect(),
        waypoint: waypoint.as_ref().map(gateway::encode),
        load_balancing: encode_balancing(balancing),
        ip_families: encode_families(*families).into(),
        extensions: affinity.iter().map(extension::pack).collect(),
        canonical: *canonical,
        ingress_use_waypoint: *ingress_use_waypoint,
        weighted_waypoints: weighted_waypoints
            .iter()
            .map(|(to, weight)| wire::WeightedWaypoint { destination: Some(gateway::encode(to)), weight: *weight })
            .collect(),
        visibility: match visibility {
            Visibility::Namespace => wire::Visibility::Namespace,
            Visibility::Public => wire::Visibility::Public,
        }
        .into(),
    }
}

pub(super) fn decode(message: wire::Service, left_out: &mut LeftOut) -> Checked<Service> {
    let wire::Service {
        name,
        namespace,
        hostname,
        addresses,
        ports,
        subject_alt_names,
        waypoint,
        load_balancing,
        ip_families,
        extensions,
        canonical,
        ingress_use_waypoint,
        weighted_waypoints,
        visibility,
    } = message;
    for (field, text) in [("namespace", &namespace), ("hostname", &hostname)] {
        if text.is_empty() || text.contains('/') {
            return Err(Fault::new(text, "it is a part of the service's key, <namespace>/<hostname>").within(field));
        }
    }
    let mut balancing = decode_balancing(load_balancing).map_err(|fault| fault.within("load_balancing"))?;
    balancing.affinity = decode_affinity(&extensions).unwrap_or_else(|fault| {
        left_out.add(fault);
        None
    });
    Ok(Service {
        name: name.into(),
        namespace: namespace.into(),
        hostname: hostname.into(),
        addresses: each("addresses", addresses, |wire::NetworkAddress { network, address, length }| {
            Ok(VirtualAddress { network: network.into(), net: address::decode_net(&address, length)? })
        })?,
        ports: each("ports", ports, decode_port)?,
        subject_alt_names: identities(subject_alt_names, left_out),
        waypoint: gateway::decode_field("waypoint", waypoint)?,
        weighted_waypoints: each(
            "weighted_waypoints",
            weighted_waypoints,
            |wire::WeightedWaypoint { destination, weight }| {
                Ok((
                    gateway::decode(destination.unwrap_or_default()).map_err(|fault| fault.within("destination"))?,
                    weight,
                ))
            },
        )?,
        balancing,
        families: decode_families(ip_families).map_err(|fault| fault.within("ip_families"))?,
        canonical,
        visibility: decode_visibility(visibility).map_err(|fault| fault.within("visibility"))?,
        ingress_use_waypoint,
    })
}

/// A ServiceEntry may name hosts and other URIs, which no workload of the mesh proves.
fn identities(names: Vec<String>, left_out: &mut LeftOut) -> Vec<Identity> {
    let mut identities = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        match name.parse() {
            Ok(identity) => identities.push(identity),
            Err(_) => left_out.add(
                Fault::new(name, "only spiffe://<trust domain>/ns/<namespace>/sa/<service account> can be proved here")
                    .within_item("service.subject_alt_names", index),
            ),
        }
    }
    identities
}

/// A prefix only where there is more than one address.
fn encode_address(address: &VirtualAddress) -> wire::NetworkAddress {
    let VirtualAddress { network, net } = address;
    wire::NetworkAddress {
        network: network.as_ref().into(),
        address: address::encode(net.addr()),
        length: address.ip().is_none().then(|| u32::from(net.prefix_len())),
    }
}

fn encode_port(port: &ServicePort) -> wire::Port {
    let ServicePort { port, target, protocol } = port;
    let protocol = match protocol {
        AppProtocol::Grpc => wire::AppProtocol::Grpc,
        AppProtocol::Http11 => wire::AppProtocol::Http11,
        AppProtocol::Http2 => wire::AppProtocol::Http2,
        AppProtocol::Tcp => wire::AppProtocol::Tcp,
        AppProtocol::Tls => wire::AppProtocol::Tls,
        AppProtocol::Unknown => wire::AppProtocol::Unknown,
    };
    wire::Port { service_port: u32::from(*port), target_port: u32::from(*target), app_protocol: protocol.into() }
}

pub(super) fn decode_port(message: wire::Port) -> Checked<ServicePort> {
    let wire::Port { service_port, target_port, app_protocol } = message;
    Ok(ServicePort {
        port: port(service_port).map_err(|fault| fault.within("service_port"))?,
        target: port(target_port).map_err(|fault| fault.within("target_port"))?,
        protocol: match wire::AppProtocol::try_from(app_protocol) {
            Ok(wire::AppProtocol::Grpc) => AppProtocol::Grpc,
            Ok(wire::AppProtocol::Http11) => AppProtocol::Http11,
            Ok(wire::AppProtocol::Http2) => AppProtocol::Http2,
            Ok(wire::AppProtocol::Tcp) => AppProtocol::Tcp,
            Ok(wire::AppProtocol::Tls) => AppProtocol::Tls,
            Ok(wire::AppProtocol::Unknown) => AppProtocol::Unknown,
            Err(_) => return Err(Fault::new(app_protocol, "0 to 5 are known").within("app_protocol")),
        },
    })
}

/// Absent when there is nothing to say. Affinity has no field there.
fn encode_balancing(balancing: &Balancing) -> Option<wire::LoadBalancing> {
    let Balancing { mode, preference, accept_unhealthy, affinity: _ } = balancing;
    let scope = |scope: &Scope| match scope {
        Scope::Cluster => wire::Scope::Cluster,
        Scope::Network => wire::Scope::Network,
        Scope::Node => wire::Scope::Node,
        Scope::Region => wire::Scope::Region,
        Scope::Subzone => wire::Scope::Subzone,
        Scope::Zone => wire::Scope::Zone,
    };
    let mode = match mode {
        Mode::Any => wire::Mode::ModeUnspecified,
        Mode::Failover => wire::Mode::Failover,
        Mode::Passthrough => wire::Mode::Passthrough,
        Mode::Strict => wire::Mode::Strict,
    };
    let health = if *accept_unhealthy { wire::HealthPolicy::AllowAll } else { wire::HealthPolicy::OnlyHealthy };
    let message = wire::LoadBalancing {
        routing_preference: preference.iter().map(|each| scope(each).into()).collect(),
        mode: mode.into(),
        health_policy: health.into(),
    };
    (message != wire::LoadBalancing::default()).then_some(message)
}

fn decode_balancing(message: Option<wire::LoadBalancing>) -> Checked<Balancing> {
    let Some(wire::LoadBalancing { routing_preference, mode, health_policy }) = message else {
        return Ok(Balancing::default());
    };
    let mode = match wire::Mode::try_from(mode) {
        Ok(wire::Mode::Failover) => Mode::Failover,
        Ok(wire::Mode::ModeUnspecified) => Mode::Any,
        Ok(wire::Mode::Passthrough) => Mode::Passthrough,
        Ok(wire::Mode::Strict) => Mode::Strict,
        Err(_) => return Err(Fault::new(mode, "modes 0 to 3 are known").within("mode")),
    };
    // One that is left out would let a strict service go where it must not.
    let preference = each("routing_preference", routing_preference, |number| match wire::Scope::try_from(number) {
        Ok(wire::Scope::Cluster) => Ok(Scope::Cluster),
        Ok(wire::Scope::Network) => Ok(Scope::Network),
        Ok(wire::Scope::Node) => Ok(Scope::Node),
        Ok(wire::Scope::Region) => Ok(Scope::Region),
        Ok(wire::Scope::Subzone) => Ok(Scope::Subzone),
        Ok(wire::Scope::Zone) => Ok(Scope::Zone),
        Ok(wire::Scope::ScopeUnspecified) | Err(_) => Err(Fault::new(number, "scopes 1 to 6 are known")),
    })?;
    let accept_unhealthy = match wire::HealthPolicy::try_from(health_policy) {
        Ok(wire::HealthPolicy::AllowAll) => true,
        Ok(wire::HealthPolicy::OnlyHealthy) => false,
        Err(_) => {
            let fault = Fault::new(health_policy, "0 (only healthy) and 1 (all) are known");
            return Err(fault.within("health_policy"));
        }
    };
    Ok(Balancing { mode, preference, accept_unhealthy, affinity: None })
}

fn decode_affinity(extensions: &[wire::Extension]) -> Checked<Option<Affinity>> {
    let Some(SessionAffinity { seconds, nanoseconds }) =
        extension::find(extensions).map_err(|fault| fault.within("service"))?
    else {
        return Ok(None);
    };
    if nanoseconds >= NANOSECONDS {
        let fault = Fault::new(nanoseconds, "the seconds have a field of their own");
        return Err(fault.within("service.extensions.nanoseconds"));
    }
    Ok(Some(Affinity { timeout: Duration::new(seconds, nanoseconds) }))
}

const fn encode_families(families: IpFamilies) -> wire::IPFamilies {
    match families {
        IpFamilies::Automatic => wire::IPFamilies::Automatic,
        IpFamilies::Dual => wire::IPFamilies::Dual,
        IpFamilies::Ipv4Only => wire::IPFamilies::Ipv4Only,
        IpFamilies::Ipv6Only => wire::IPFamilies::Ipv6Only,
    }
}

fn decode_families(number: i32) -> Checked<IpFamilies> {
    match wire::IPFamilies::try_from(number) {
        Ok(wire::IPFamilies::Automatic) => Ok(IpFamilies::Automatic),
        Ok(wire::IPFamilies::Dual) => Ok(IpFamilies::Dual),
        Ok(wire::IPFamilies::Ipv4Only) => Ok(IpFamilies::Ipv4Only),
        Ok(wire::IPFamilies::Ipv6Only) => Ok(IpFamilies::Ipv6Only),
        Err(_) => Err(Fault::new(number, "0 to 3 are known")),
    }
}

/// A visibility that we do not know is not "for everybody".
fn decode_visibility(number: i32) -> Checked<Visibility> {
    match wire::Visibility::try_from(number) {
        Ok(wire::Visibility::Namespace) => Ok(Visibility::Namespace),
        Ok(wire::Visibility::Public) => Ok(Visibility::Public),
        Err(_) => Err(Fault::new(number, "0 (public) and 1 (namespace) are known")),
    }
}
