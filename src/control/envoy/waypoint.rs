//! What a waypoint must know.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use super::rules::Policy;
use crate::model::spiffe::Identity;

/// One waypoint and all that goes through it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waypoint {
    pub name: Arc<str>,
    pub namespace: Arc<str>,
    /// Its own. The trust domain is that of every peer.
    pub identity: Identity,
    /// Other names of that trust domain.
    pub aliases: Vec<Arc<str>>,
    pub credentials: Credentials,
    /// Where it takes HBONE. The unspecified address of IPv6 takes IPv4 as well.
    pub listen: SocketAddr,
    /// Where Envoy's own pages are; loopback, because they change it.
    pub admin: SocketAddr,
    /// A request header that tells servers the caller's SPIFFE identity. What a caller sends under
    /// this name is replaced.
    pub peer_header: Option<String>,
    pub services: Vec<Served>,
    pub workloads: Vec<Direct>,
    /// For all of its traffic; those of one service are in [`Served`].
    pub policies: Vec<Policy>,
}

// === impl Waypoint ===

impl Waypoint {
    /// What every peer's certificate must say: a name of the trust domain.
    pub(super) fn trusted_names(&self) -> Value {
        let matcher =
            |domain: &Arc<str>| json!({"san_type": "URI", "matcher": {"prefix": format!("spiffe://{domain}/")}});
        std::iter::once(&self.identity.trust_domain).chain(&self.aliases).map(matcher).collect()
    }
}

/// PEM files, read by Envoy when it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    pub key: PathBuf,
    /// Leaf first.
    pub chain: PathBuf,
    pub root: PathBuf,
}

/// A service whose virtual addresses go through the waypoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    pub hostname: Arc<str>,
    /// Virtual addresses; without one it is not served.
    pub addresses: Vec<IpAddr>,
    pub ports: Vec<ServedPort>,
    pub policies: Vec<Policy>,
}

/// A port of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedPort {
    pub port: u16,
    pub protocol: Protocol,
    pub endpoints: Vec<Endpoint>,
}

/// What is spoken on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1 or HTTP/2 without TLS.
    Http,
    /// Anything: HTTP is looked for in the first bytes.
    Sniffed,
    /// Bytes, which nothing looks into.
    Tcp,
}

/// Where a service's traffic can go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// With the target port.
    pub address: SocketAddr,
    /// Identities of which its certificate must prove one; none for a plain endpoint, outside of the mesh.
    pub identities: Vec<Identity>,
}

/// Workloads that are called by their own addresses, through the waypoint. Those with the same
/// identities can be one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Direct {
    pub addresses: Vec<IpAddr>,
    /// As [`Endpoint::identities`].
    pub identities: Vec<Identity>,
}

// === impl Served ===

impl Served {
    /// True when it has an address and a port to be called at.
    pub(super) fn is_reachable(&self) -> bool {
        !self.addresses.is_empty() && !self.ports.is_empty()
    }
}
