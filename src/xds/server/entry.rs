//! A resource, ready to be sent.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::xds::convert::name;

/// What clients subscribe to, in the order in which one push sends it: policies after the addresses that refer to
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Type {
    /// Workloads and services.
    Address,
    /// Workloads alone.
    Workload,
    Authorization,
}

/// What a resource is, in the order in which resources are sent: a workload finds its services there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    Service,
    Workload,
    Policy,
}

/// A resource with its bytes. It never changes: another content is another entry.
#[derive(Debug)]
pub struct Entry {
    pub(super) rank: Rank,
    /// The resource's name.
    pub(super) name: Arc<str>,
    /// Hash of `value`.
    pub(super) version: u64,
    /// The marshalled `Address` or `Authorization`.
    pub(super) value: Box<[u8]>,
    /// `<network>/<ip>` and, for blocks, `<network>/<ip>/<length>`.
    pub(super) aliases: Box<[Arc<str>]>,
    /// The node that runs the workload; empty for none.
    pub(super) node: Arc<str>,
    /// Names of the services that the workload is an endpoint of.
    pub(super) services: Box<[Arc<str>]>,
    /// The snapshot in which it first was as it is.
    pub(super) since: u64,
}

// === impl Type ===

impl Type {
    pub const ALL: [Self; 3] = [Self::Address, Self::Workload, Self::Authorization];

    pub fn of_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.url() == url)
    }

    pub const fn url(self) -> &'static str {
        match self {
            Self::Address => name::ADDRESS,
            Self::Workload => name::WORKLOAD,
            Self::Authorization => name::AUTHORIZATION,
        }
    }

    /// The word in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Workload => "workload",
            Self::Authorization => "authorization",
        }
    }

    /// Whether resources of this rank are of this type.
    pub(super) const fn has(self, rank: Rank) -> bool {
        match self {
            Self::Address => matches!(rank, Rank::Service | Rank::Workload),
            Self::Workload => matches!(rank, Rank::Workload),
            Self::Authorization => matches!(rank, Rank::Policy),
        }
    }
}

// === impl Entry ===

impl Entry {
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The version as it is written: 16 digits.
    pub fn version(&self) -> String {
        format!("{:016x}", self.version)
    }

    pub(super) fn has_version(&self, text: &str) -> bool {
        text.len() == 16 && u64::from_str_radix(text, 16) == Ok(self.version)
    }

    /// The order of a table.
    pub(super) fn place(&self, rank: Rank, name: &str) -> Ordering {
        (self.rank, &*self.name).cmp(&(rank, name))
    }
}
