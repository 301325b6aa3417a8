//! A waypoint or a network gateway, as services and workloads refer to it.

use std::net::IpAddr;
use std::sync::Arc;

use super::name::NamespacedName;

/// Where a waypoint or a gateway is. Field names follow `istio.workload.GatewayAddress`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GatewayAddress {
    pub destination: GatewayDestination,
    /// Where it takes HBONE; 15008 for every waypoint that Istio declares.
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum GatewayDestination {
    Address {
        network: Arc<str>,
        ip: IpAddr,
    },
    /// `<namespace>/<hostname>`: a service, or else a workload with that host name.
    Hostname(NamespacedName),
}

// === impl GatewayAddress ===

impl std::fmt::Display for GatewayAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.destination {
            GatewayDestination::Address { ip, .. } => std::net::SocketAddr::new(*ip, self.port).fmt(f),
            GatewayDestination::Hostname(key) => write!(f, "{key}:{}", self.port),
        }
    }
}
