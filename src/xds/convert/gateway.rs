//! Waypoints and network gateways.

use std::sync::Arc;

use crate::model::gateway::{GatewayAddress, GatewayDestination};
use crate::model::name::NamespacedName;
use crate::proto::workload as wire;
use crate::proto::workload::GatewayAddressDestination as Destination;

use super::address;
use super::outcome::{Checked, Fault, port};

pub(super) fn encode(gateway: &GatewayAddress) -> wire::GatewayAddress {
    let GatewayAddress { destination, port } = gateway;
    let destination = match destination {
        GatewayDestination::Address { network, ip } => Destination::Address(wire::NetworkAddress {
            network: network.as_ref().into(),
            address: address::encode(*ip),
            length: None,
        }),
        GatewayDestination::Hostname(NamespacedName { namespace, name }) => {
            Destination::Hostname(wire::NamespacedHostname {
                namespace: namespace.as_ref().into(),
                hostname: name.as_ref().into(),
            })
        }
    };
    wire::GatewayAddress { destination: Some(destination), hbone_mtls_port: u32::from(*port) }
}

/// Refuses what cannot be read: a resource without its waypoint would be called past it.
pub(super) fn decode(message: wire::GatewayAddress) -> Checked<GatewayAddress> {
    let wire::GatewayAddress { destination, hbone_mtls_port } = message;
    let destination = match destination {
        Some(Destination::Address(wire::NetworkAddress { network, address, length })) => {
            let net = address::decode_net(&address, length).map_err(|fault| fault.within("address"))?;
            if net.prefix_len() != net.max_prefix_len() {
                return Err(Fault::new(net, "a gateway has one address").within("address"));
            }
            GatewayDestination::Address { network: Arc::from(network), ip: net.addr() }
        }
        Some(Destination::Hostname(wire::NamespacedHostname { namespace, hostname })) => {
            if hostname.is_empty() {
                return Err(Fault::new(hostname, "a host has a name").within("hostname.hostname"));
            }
            GatewayDestination::Hostname(NamespacedName::new(namespace, hostname))
        }
        None => {
            return Err(
                Fault::new("", "a gateway is a host or an address of a kind that is known").within("destination")
            );
        }
    };
    let port = port(hbone_mtls_port).map_err(|fault| fault.within("hbone_mtls_port"))?;
    Ok(GatewayAddress { destination, port })
}

/// The same for a field that may be absent.
pub(super) fn decode_field(field: &str, message: Option<wire::GatewayAddress>) -> Checked<Option<GatewayAddress>> {
    message.map(decode).transpose().map_err(|fault| fault.within(field))
}
