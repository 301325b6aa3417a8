//! What is asked for, and of whom.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::mesh::View;
use crate::model::name::NamespacedName;
use crate::model::service::{Service, Visibility};

/// Something of the mesh.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Sought {
    /// What is at an address of a network.
    Address { network: Arc<str>, ip: IpAddr },
    /// The service, or the workload, with a host name.
    Service(NamespacedName),
}

/// Who knows the whole mesh.
pub trait Demand: Send + Sync + 'static {
    /// Asks with its first poll, which takes no time, and ends when readers of the mesh have what there is of `sought`,
    /// or after `limit`. Any number may wait for one thing, and it is asked for once. Dropping it takes nothing back.
    fn demand(&self, sought: Sought, limit: Duration) -> Asking<'_>;
}

/// A demand that waits for its answer.
pub type Asking<'a> = Pin<Box<dyn Future<Output = Result<(), Silence>> + Send + 'a>>;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Silence {
    /// In time. The control plane, or the way to it.
    #[error("no answer in time: look at the control plane's log and at the connection to it")]
    Deadline,
    /// The process is ending.
    #[error("the client of the control plane has ended")]
    Ended,
    /// Something asks for much at once. Of the apps.
    #[error("too many addresses and names are asked for at once: look for a pod that scans")]
    TooMany,
    /// What the control plane sent cannot be read.
    #[error("its answer was refused: the log has the resource and what is wrong with it")]
    Unreadable,
}

/// The control plane has not said what is there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the control plane has not said what is at {sought}: {why}")]
pub struct Unanswered {
    pub sought: Sought,
    pub why: Silence,
}

// === impl Sought ===

impl Sought {
    /// What is at `ip`. `None` for an address that has no meaning beyond one host or link: no mesh has it.
    pub fn address(network: impl Into<Arc<str>>, ip: IpAddr) -> Option<Self> {
        let ip = ip.to_canonical();
        let near = match ip {
            IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        let nowhere = near || ip.is_loopback() || ip.is_unspecified() || ip.is_multicast();
        (!nowhere).then(|| Self::Address { network: network.into(), ip })
    }

    /// Whether `view` has it, for anybody. A service with a block of addresses around one does not say what else is
    /// there, and neither does one that only its own namespace sees.
    pub fn is_held(&self, view: &View) -> bool {
        match self {
            Self::Address { network, ip } => {
                let service = || view.service_at(network, *ip, None);
                let is_there = |of: &Arc<Service>| of.visibility == Visibility::Public && of.is_at(network, *ip);
                view.workload_at(network, *ip).is_some() || service().is_some_and(is_there)
            }
            Self::Service(key) => {
                view.service(key).is_some() || view.workload_named(&key.namespace, &key.name).is_some()
            }
        }
    }
}

impl fmt::Display for Sought {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { network, ip } if network.is_empty() => ip.fmt(f),
            Self::Address { network, ip } => write!(f, "{ip} of the network {network}"),
            Self::Service(key) => key.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_host_or_link_are_nobodys() {
        for ip in
            ["127.0.0.1", "127.9.9.9", "::1", "169.254.169.254", "fe80::1", "0.0.0.0", "::", "224.0.0.1", "ff02::1"]
        {
            assert_eq!(Sought::address("n", ip.parse().unwrap()), None, "{ip}");
        }
        assert_eq!(Sought::address("n", "::ffff:127.0.0.1".parse().unwrap()), None);
        assert_eq!(Sought::address("n", "255.255.255.255".parse().unwrap()), None);
        let mapped = Sought::address("n", "::ffff:10.0.0.1".parse().unwrap());
        assert_eq!(mapped, Some(Sought::Address { network: "n".into(), ip: "10.0.0.1".parse().unwrap() }));
        assert!(Sought::address("", "fd00::1".parse().unwrap()).is_some());
    }
}
