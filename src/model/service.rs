//! A service: a hostname with virtual addresses in front of workloads.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::gateway::GatewayAddress;
use super::name::NamespacedName;
use super::spiffe::Identity;

/// A service as the mesh knows it. Field names follow `istio.workload.Service`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    pub name: Arc<str>,
    pub namespace: Arc<str>,
    /// `<name>.<namespace>.svc.<cluster domain>` for a Kubernetes Service.
    pub hostname: Arc<str>,
    /// Virtual addresses; none for a headless service.
    pub addresses: Vec<VirtualAddress>,
    pub ports: Vec<ServicePort>,
    /// Identities that its endpoints may prove, besides their own.
    pub subject_alt_names: Vec<Identity>,
    /// Where calls to its addresses go first.
    pub waypoint: Option<GatewayAddress>,
    /// Several waypoints with their weights, chosen between for each connection. When it is empty, or every weight is
    /// 0, `waypoint` counts.
    pub weighted_waypoints: Vec<(GatewayAddress, u32)>,
    pub balancing: Balancing,
    pub families: IpFamilies,
    /// Of several services with one address or name this one is meant, unless the caller's namespace has its own.
    pub canonical: bool,
    pub visibility: Visibility,
    /// Ingress gateways send through the waypoint as well. Carried for them; nothing here reads it.
    pub ingress_use_waypoint: bool,
}

/// A virtual address, or a block of them (ServiceEntry).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VirtualAddress {
    /// Empty is the default network.
    pub network: Arc<str>,
    pub net: IpNet,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServicePort {
    pub port: u16,
    /// 0 when every endpoint has its own (a named port).
    pub target: u16,
    pub protocol: AppProtocol,
}

/// What the port's name or `appProtocol` says is spoken there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AppProtocol {
    #[default]
    Unknown,
    Http11,
    Http2,
    Grpc,
    Tcp,
    Tls,
}

/// How an endpoint is chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Balancing {
    pub mode: Mode,
    /// What caller and endpoint should share, the most important first.
    pub preference: Vec<Scope>,
    /// Endpoints that are not ready are chosen too.
    pub accept_unhealthy: bool,
    /// A client's calls go to one endpoint for as long as it is there (`sessionAffinity: ClientIP`).
    pub affinity: Option<Affinity>,
}

/// `sessionAffinityConfig`. The time after which a client may go elsewhere; Kubernetes' default: 10800 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Affinity {
    pub timeout: Duration,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Every endpoint.
    #[default]
    Any,
    /// Only endpoints that share all of the preference.
    Strict,
    /// The endpoints that share most of it.
    Failover,
    /// No balancing: the connection goes where it was addressed.
    Passthrough,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Region,
    Zone,
    Subzone,
    Node,
    Cluster,
    Network,
}

/// Families of addresses that a service's endpoints are called at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IpFamilies {
    /// Nobody said.
    #[default]
    Automatic,
    Ipv4Only,
    Ipv6Only,
    Dual,
}

/// Who can call it by its addresses and name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Visibility {
    #[default]
    Public,
    /// Callers of its own namespace.
    Namespace,
}

// === impl Service ===

impl Service {
    /// `<namespace>/<hostname>`: the key under which workloads refer to it.
    pub fn key(&self) -> NamespacedName {
        NamespacedName { namespace: Arc::clone(&self.namespace), name: Arc::clone(&self.hostname) }
    }

    /// The port's entry.
    pub fn port(&self, port: u16) -> Option<&ServicePort> {
        self.ports.iter().find(|entry| entry.port == port)
    }

    /// Whether `ip` is one of its own addresses, and not only within a block.
    pub fn is_at(&self, network: &str, ip: IpAddr) -> bool {
        self.addresses.iter().any(|at| *at.network == *network && at.ip() == Some(ip))
    }
}

// === impl VirtualAddress ===

impl VirtualAddress {
    /// One address. IPv4 in IPv6 is IPv4.
    pub fn single(network: Arc<str>, ip: IpAddr) -> Self {
        Self { network, net: IpNet::from(ip.to_canonical()) }
    }

    /// The address when it is a single one.
    pub fn ip(&self) -> Option<IpAddr> {
        (self.net.prefix_len() == self.net.max_prefix_len()).then(|| self.net.addr())
    }
}

// === impl IpFamilies ===

impl IpFamilies {
    pub const fn allows(self, ip: &IpAddr) -> bool {
        match self {
            Self::Automatic | Self::Dual => true,
            Self::Ipv4Only => ip.is_ipv4(),
            Self::Ipv6Only => ip.is_ipv6(),
        }
    }
}
