//! The types of resources that are asked for.

use crate::xds::convert::name;

/// In the order in which they are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Workloads and services.
    Address,
    /// Policies.
    Authorization,
}

// === impl Kind ===

impl Kind {
    pub const ALL: [Self; 2] = [Self::Address, Self::Authorization];

    /// The type URL.
    pub const fn url(self) -> &'static str {
        match self {
            Self::Address => name::ADDRESS,
            Self::Authorization => name::AUTHORIZATION,
        }
    }

    /// The kind with this type URL.
    pub fn of(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.url() == url)
    }

    pub(super) const fn index(self) -> usize {
        self as usize
    }
}
