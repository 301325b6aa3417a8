//! The pages about the process, each at its port.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use nix::errno::Errno;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::takeover::Relay;
use crate::admin;
use crate::config::node::{Ipv6, NodeSettings};
use crate::runtime::Panics;
use crate::runtime::pools::Pools;
use crate::runtime::shutdown::Shutdown;
use crate::runtime::supervise::{Need, Supervisor};
use crate::runtime::threads::Threads;
use crate::sys::{socket, sysctl};

/// The ports of the sites admin, metrics, readiness, in this order.
pub(super) struct Ports([Vec<Port>; 3]);

#[derive(Debug)]
enum Port {
    Bound(TcpListener),
    /// The process before this one has it.
    Awaited {
        /// Where another can be said.
        setting: String,
        address: SocketAddr,
    },
}

/// The pages, each with its port.
pub(super) struct Pages {
    sites: Vec<(&'static str, Port, Arc<dyn admin::Site>, admin::Places)>,
}

/// What a port may be taken for after the process before this one was told to leave it.
pub(super) const LEAVES: Duration = Duration::from_secs(10);
/// Between two tries of a port that is awaited.
const AGAIN: Duration = Duration::from_millis(20);

// === impl Ports ===

impl Ports {
    /// With `succeeding` a port that is taken is the predecessor's, and is had from it later.
    pub(super) fn bind(settings: &NodeSettings, succeeding: bool) -> anyhow::Result<Self> {
        let port = |setting, address| match socket::listen_both(address) {
            Err(error) if succeeding && error.kind() == io::ErrorKind::AddrInUse => {
                Ok(Port::Awaited { setting: settings.named.place(setting), address })
            }
            bound => bound.map(Port::Bound).with_context(|| taken(&settings.named.place(setting), address)),
        };
        let mut admin = vec![port("admin-address", settings.admin_address)?];
        if let Some(address) = beside(settings, sysctl::ipv6_on_loopback()) {
            match port("admin-address", address) {
                // A kernel without IPv6, or a loopback without its address.
                Err(error) if has_no_ipv6(&error) => {}
                bound => admin.push(bound?),
            }
        }
        let metrics = port("metrics-address", settings.metrics_address)?;
        Ok(Self([admin, vec![metrics], vec![port("ready-address", settings.ready_address)?]]))
    }

    /// The predecessor has one of them.
    pub(super) fn are_awaited(&self) -> bool {
        self.0.iter().flatten().any(|port| matches!(port, Port::Awaited { .. }))
    }
}

/// Where the admin pages are as well: in ztunnel's place they are on both loopback addresses, where there are two.
fn beside(settings: &NodeSettings, ipv6_on_loopback: bool) -> Option<SocketAddr> {
    let both = settings.drop_in.is_some() && settings.ipv6 != Ipv6::Off && ipv6_on_loopback;
    let told = settings.admin_address;
    (both && told.ip() == Ipv4Addr::LOCALHOST).then(|| SocketAddr::from((Ipv6Addr::LOCALHOST, told.port())))
}

fn has_no_ipv6(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error).map(Errno::from_raw);
    matches!(error, Some(Errno::EADDRNOTAVAIL | Errno::EAFNOSUPPORT))
}

fn taken(setting: &str, address: SocketAddr) -> String {
    format!("cannot listen on {address}: end what holds the port, or choose another with {setting}")
}

// === impl Pages ===

impl Pages {
    /// `sites` in the order of the ports.
    pub(super) fn new(
        ports: Ports,
        sites: [Arc<dyn admin::Site>; 3],
        pools: &Pools<Threads>,
        panics: &Panics,
        shutdown: &Shutdown,
    ) -> Self {
        let names = ["admin", "metrics", "readiness"];
        let sites = names.into_iter().zip(ports.0).zip(sites).flat_map(|((name, ports), site)| {
            // Clients of one site must not take the places of another's: a probe has to be answered.
            let places = admin::places(pools.control().clone(), panics.clone(), shutdown.force(), shutdown.force());
            ports.into_iter().map(move |port| (name, port, Arc::clone(&site), places.clone()))
        });
        Self { sites: sites.collect() }
    }

    pub(super) fn spawn(self, supervisor: &Supervisor, control: &Handle, relay: &Relay, shutdown: &Shutdown) {
        for (name, port, site, places) in self.sites {
            let (alone, released) = (relay.alone().clone(), relay.released().clone());
            let (drain, force) = (shutdown.drain().clone(), shutdown.force().clone());
            supervisor.spawn(control, name, Need::Essential, async move {
                let listener = tokio::select! {
                    () = drain.cancelled(), if matches!(port, Port::Awaited { .. }) => return Ok(()),
                    listener = port.listener(&alone) => listener?,
                };
                tokio::select! {
                    served = admin::serve(listener, site, places) => Ok(served?),
                    // The next process answers there now; this one's connections go on.
                    () = released.cancelled() => {
                        force.cancelled().await;
                        Ok(())
                    }
                }
            });
        }
    }
}

// === impl Port ===

impl Port {
    /// Waits for the predecessor to leave the port.
    async fn listener(self, alone: &CancellationToken) -> anyhow::Result<TcpListener> {
        let (setting, address) = match self {
            Self::Bound(listener) => return Ok(listener),
            Self::Awaited { setting, address } => (setting, address),
        };
        alone.cancelled().await;
        let bound = async {
            loop {
                match socket::listen_both(address) {
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse => sleep(AGAIN).await,
                    bound => return bound,
                }
            }
        };
        let bound = timeout(LEAVES, bound).await.unwrap_or_else(|_| Err(io::ErrorKind::AddrInUse.into()));
        bound.with_context(|| taken(&setting, address))
    }
}

#[cfg(test)]
mod tests;
