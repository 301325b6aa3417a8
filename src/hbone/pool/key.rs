//! What makes two tunnels fit on one connection.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::hbone::authority::Authority;
use crate::model::spiffe::Identity;

/// What makes two tunnels fit on one connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    source: Identity,
    expected: Arc<[Identity]>,
    destination: SocketAddr,
    source_ip: IpAddr,
    /// The UID of the workload that has the destination's address.
    holder: Arc<str>,
    through: Option<Arc<Through>>,
}

/// The tunnel that a connection runs in, where it does not run on TCP.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Through {
    /// The connection to the network gateway.
    pub outer: Arc<Key>,
    /// What the gateway is asked for.
    pub authority: Authority,
}

// === impl Key ===

impl Key {
    /// `expected` is a set: order and repetition make no other key. `holder` is the UID of the workload at the
    /// destination: an address that has gone to another workload is another destination, also where both may prove
    /// the same identities.
    pub fn new(
        source: Identity,
        expected: impl IntoIterator<Item = Identity>,
        destination: SocketAddr,
        source_ip: IpAddr,
        holder: Arc<str>,
    ) -> Self {
        let mut expected: Vec<_> = expected.into_iter().collect();
        expected.sort();
        expected.dedup();
        Self { source, expected: expected.into(), destination, source_ip, holder, through: None }
    }

    /// The same inside of a tunnel.
    pub fn through(self, through: Through) -> Self {
        Self { through: Some(Arc::new(through)), ..self }
    }

    /// The tunnel that the connection runs in.
    pub fn outer(&self) -> Option<&Through> {
        self.through.as_deref()
    }

    pub const fn source(&self) -> &Identity {
        &self.source
    }

    pub const fn expected(&self) -> &Arc<[Identity]> {
        &self.expected
    }

    pub const fn destination(&self) -> SocketAddr {
        self.destination
    }

    pub const fn source_ip(&self) -> IpAddr {
        self.source_ip
    }
}
