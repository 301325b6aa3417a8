//! A workload as the mesh holds it: its own words, and what it shares with others once.
//!
//! The replicas of one Deployment differ in little: name, addresses, node, health. The rest is one record for all of
//! them, which the [`Names`](super::names::Names) of the writer finds again.

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use crate::model::gateway::GatewayAddress;
use crate::model::name::NamespacedName;
use crate::model::spiffe::Identity;
use crate::model::workload::{ApplicationTunnel, Kind, Locality, ServiceMembership, Tunnel, Workload};

use super::names::Names;

/// A [`Workload`] that is in the mesh. It reads as one: what is not here is in [`Shared`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub uid: Arc<str>,
    pub name: Arc<str>,
    pub addresses: Addresses,
    pub node: Arc<str>,
    pub locality: Arc<Locality>,
    pub healthy: bool,
    shared: Arc<Shared>,
}

/// What the replicas of one owner have in common. The fields are those of [`Workload`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shared {
    pub namespace: Arc<str>,
    pub service_account: Arc<str>,
    pub trust_domain: Arc<str>,
    pub hostname: Arc<str>,
    pub network: Arc<str>,
    pub cluster: Arc<str>,
    pub tunnel: Tunnel,
    pub native_tunnel: bool,
    pub application_tunnel: Option<ApplicationTunnel>,
    pub waypoint: Option<GatewayAddress>,
    pub network_gateway: Option<GatewayAddress>,
    pub kind: Kind,
    pub owner: Arc<str>,
    pub canonical_name: Arc<str>,
    pub canonical_revision: Arc<str>,
    pub capacity: u32,
    pub host_network: bool,
    pub policies: Box<[NamespacedName]>,
    pub services: Box<[ServiceMembership]>,
}

/// A workload's addresses; most have one, which needs no allocation. IPv4 in IPv6 is IPv4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addresses {
    One(IpAddr),
    /// None, or several.
    Many(Box<[IpAddr]>),
}

// === impl Held ===

impl Held {
    pub(super) fn new(workload: Workload, names: &mut Names) -> Self {
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
            locality,
            healthy,
            capacity,
            host_network,
            policies,
            services,
        } = workload;
        let membership = |names: &mut Names, ServiceMembership { service, mut ports }: ServiceMembership| {
            ports.shrink_to_fit();
            ServiceMembership { service: names.key(service), ports }
        };
        let shared = Shared {
            namespace: names.text(namespace),
            service_account: names.text(service_account),
            trust_domain: names.text(trust_domain),
            hostname: names.text(hostname),
            network: names.text(network),
            cluster: names.text(cluster),
            tunnel,
            native_tunnel,
            application_tunnel,
            waypoint: waypoint.map(|gateway| names.gateway(gateway)),
            network_gateway: network_gateway.map(|gateway| names.gateway(gateway)),
            kind,
            owner: names.text(owner),
            canonical_name: names.text(canonical_name),
            canonical_revision: names.text(canonical_revision),
            capacity,
            host_network,
            policies: policies.into_iter().map(|key| names.key(key)).collect(),
            services: services.into_iter().map(|of| membership(names, of)).collect(),
        };
        let Locality { region, zone, subzone } = locality;
        let locality = Locality { region: names.text(region), zone: names.text(zone), subzone: names.text(subzone) };
        Self {
            // Copies: a string that was made while reading a push lies among what is freed after it, and one of them
            // would keep a page.
            uid: Arc::from(&*uid),
            name: Arc::from(&*name),
            addresses: addresses.into(),
            node: names.text(node),
            locality: names.locality(locality),
            healthy,
            shared: names.shared(shared),
        }
    }

    /// A record that is not in the mesh and shares nothing.
    pub fn apart(workload: Workload) -> Self {
        Self::new(workload, &mut Names::default())
    }

    pub fn identity(&self) -> Identity {
        Identity {
            trust_domain: Arc::clone(&self.trust_domain),
            namespace: Arc::clone(&self.namespace),
            service_account: Arc::clone(&self.service_account),
        }
    }
}

impl Deref for Held {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl From<Workload> for Held {
    /// One that shares nothing with anybody.
    fn from(workload: Workload) -> Self {
        Self::new(workload, &mut Names::default())
    }
}

// === impl Addresses ===

impl Deref for Addresses {
    type Target = [IpAddr];

    fn deref(&self) -> &[IpAddr] {
        match self {
            Self::One(ip) => std::slice::from_ref(ip),
            Self::Many(ips) => ips,
        }
    }
}

impl From<Vec<IpAddr>> for Addresses {
    fn from(ips: Vec<IpAddr>) -> Self {
        match ips.as_slice() {
            [ip] => Self::One(ip.to_canonical()),
            several => Self::Many(several.iter().map(IpAddr::to_canonical).collect()),
        }
    }
}
