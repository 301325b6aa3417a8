//! The mesh's record of an address: one pod, VM or gateway.

use std::net::IpAddr;
use std::sync::Arc;

use super::gateway::GatewayAddress;
use super::name::NamespacedName;
use super::spiffe::Identity;

/// A workload as it comes and goes. Field names follow `istio.workload.Workload`, so that nothing is lost on the wire.
/// The mesh keeps it in a smaller form, `mesh::Held`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Unique in the mesh: `<cluster>//Pod/<namespace>/<name>` for a pod.
    pub uid: Arc<str>,
    pub name: Arc<str>,
    pub namespace: Arc<str>,
    pub service_account: Arc<str>,
    pub trust_domain: Arc<str>,
    pub addresses: Vec<IpAddr>,
    /// Found by DNS for each connection when there are no addresses; empty when there is none.
    pub hostname: Arc<str>,
    /// Name of the flat network that the addresses belong to; empty is the default one.
    pub network: Arc<str>,
    pub cluster: Arc<str>,
    /// Name of the node that runs it; empty when it has none.
    pub node: Arc<str>,
    pub tunnel: Tunnel,
    /// It speaks HBONE itself (a waypoint, a gateway): nobody captures for it.
    pub native_tunnel: bool,
    /// Where an arriving tunnel's connection goes instead of the port that was asked for.
    pub application_tunnel: Option<ApplicationTunnel>,
    /// Where calls to its own addresses go first.
    pub waypoint: Option<GatewayAddress>,
    /// The way to it from other networks.
    pub network_gateway: Option<GatewayAddress>,
    pub kind: Kind,
    /// What owns it (the Deployment's name, say).
    pub owner: Arc<str>,
    pub canonical_name: Arc<str>,
    pub canonical_revision: Arc<str>,
    pub locality: Locality,
    pub healthy: bool,
    /// Its weight among a service's endpoints; 0 is never chosen.
    pub capacity: u32,
    /// A host-network workload shares its node's addresses and is not found by address.
    pub host_network: bool,
    /// Policies of workload scope that apply to it, `namespace/name`. A name that is not in the view
    /// makes new connections wait, then be denied.
    pub policies: Vec<NamespacedName>,
    /// Keys `<namespace>/<hostname>` of the services that it is an endpoint of.
    pub services: Vec<ServiceMembership>,
}

/// What runs it; a word in `baggage`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    Deployment,
    CronJob,
    #[default]
    Pod,
    Job,
}

/// A tunnel inside of the tunnel, for a waypoint that has its TLS done by a node proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ApplicationTunnel {
    /// Write a PROXY protocol header (version 2) before the first byte.
    pub proxy: bool,
    /// 0 keeps the port that was asked for.
    pub port: u16,
}

/// How a workload is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Tunnel {
    /// HTTP/2 CONNECT over mutual TLS on port 15008.
    Hbone,
    /// Plain TCP: it is outside of the mesh.
    #[default]
    None,
}

/// Where a workload runs. Empty parts are unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Locality {
    pub region: Arc<str>,
    pub zone: Arc<str>,
    pub subzone: Arc<str>,
}

/// A workload's place in one service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceMembership {
    /// `<namespace>/<hostname>`.
    pub service: NamespacedName,
    /// Service port → port that this workload listens on.
    pub ports: Vec<(u16, u16)>,
}

// === impl Workload ===

impl Default for Workload {
    /// Healthy, of weight 1, and otherwise nothing.
    fn default() -> Self {
        let empty = Arc::<str>::default;
        Self {
            uid: empty(),
            name: empty(),
            namespace: empty(),
            service_account: empty(),
            trust_domain: empty(),
            addresses: Vec::new(),
            hostname: empty(),
            network: empty(),
            cluster: empty(),
            node: empty(),
            tunnel: Tunnel::None,
            native_tunnel: false,
            application_tunnel: None,
            waypoint: None,
            network_gateway: None,
            kind: Kind::Pod,
            owner: empty(),
            canonical_name: empty(),
            canonical_revision: empty(),
            locality: Locality::default(),
            healthy: true,
            capacity: 1,
            host_network: false,
            policies: Vec::new(),
            services: Vec::new(),
        }
    }
}

impl Workload {
    pub fn identity(&self) -> Identity {
        Identity {
            trust_domain: Arc::clone(&self.trust_domain),
            namespace: Arc::clone(&self.namespace),
            service_account: Arc::clone(&self.service_account),
        }
    }
}
