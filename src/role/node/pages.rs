//! The pages about the process, each at its port.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::takeover::Relay;
use crate::admin;
use crate::config::node::NodeSettings;
use crate::runtime::pools::Pools;
use crate::runtime::shutdown::Shutdown;
use crate::runtime::supervise::{Need, Supervisor};
use crate::runtime::{Panics, tasks};

/// The ports in the order admin, metrics, readiness.
pub(super) struct Ports([Port; 3]);

enum Port {
    Bound(TcpListener),
    /// The process before this one has it.
    Awaited {
        setting: &'static str,
        address: SocketAddr,
    },
}

/// The pages, each with its port.
pub(super) struct Pages {
    sites: Vec<(&'static str, Port, Arc<dyn admin::Site>)>,
    /// Clients of one site must not take the places of another's: a probe has to be answered.
    tasks: [tasks::Tasks; 3],
}

/// What a port may be taken for after the process before this one was told to leave it.
const LEAVES: Duration = Duration::from_secs(10);
/// Between two tries of a port that is awaited.
const AGAIN: Duration = Duration::from_millis(20);

// === impl Ports ===

impl Ports {
    /// With `succeeding` a port that is taken is the predecessor's, and is had from it later.
    pub(super) fn bind(settings: &NodeSettings, succeeding: bool) -> anyhow::Result<Self> {
        let port = |setting, address| match TcpListener::bind(address) {
            Err(error) if succeeding && error.kind() == io::ErrorKind::AddrInUse => {
                Ok(Port::Awaited { setting, address })
            }
            bound => bound.map(Port::Bound).with_context(|| taken(setting, address)),
        };
        Ok(Self([
            port("admin-address", settings.admin_address)?,
            port("metrics-address", settings.metrics_address)?,
            port("ready-address", settings.ready_address)?,
        ]))
    }

    /// The predecessor has one of them.
    pub(super) fn are_awaited(&self) -> bool {
        self.0.iter().any(|port| matches!(port, Port::Awaited { .. }))
    }
}

fn taken(setting: &str, address: SocketAddr) -> String {
    format!("cannot listen on {address}: end what holds the port, or choose another with --{setting}")
}

// === impl Pages ===

impl Pages {
    /// `sites` in the order of the ports.
    pub(super) fn new(
        ports: Ports,
        sites: [Arc<dyn admin::Site>; 3],
        pools: &Pools,
        panics: &Panics,
        shutdown: &Shutdown,
    ) -> Self {
        let tasks = || admin::tasks(pools.control().clone(), panics.clone(), shutdown.force(), shutdown.force());
        let tasks = [tasks(), tasks(), tasks()];
        let names = ["admin", "metrics", "readiness"];
        let sites = names.into_iter().zip(ports.0).zip(sites).map(|((name, port), site)| (name, port, site)).collect();
        Self { sites, tasks }
    }

    pub(super) fn spawn(self, supervisor: &Supervisor, control: &Handle, relay: &Relay, shutdown: &Shutdown) {
        for ((name, port, site), tasks) in self.sites.into_iter().zip(self.tasks) {
            let (alone, released) = (relay.alone().clone(), relay.released().clone());
            let (drain, force) = (shutdown.drain().clone(), shutdown.force().clone());
            supervisor.spawn(control, name, Need::Essential, async move {
                let listener = tokio::select! {
                    () = drain.cancelled(), if matches!(port, Port::Awaited { .. }) => return Ok(()),
                    listener = port.listener(&alone) => listener?,
                };
                tokio::select! {
                    served = admin::serve(listener, site, tasks) => Ok(served?),
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
                match TcpListener::bind(address) {
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse => sleep(AGAIN).await,
                    bound => return bound,
                }
            }
        };
        let bound = timeout(LEAVES, bound).await.unwrap_or_else(|_| Err(io::ErrorKind::AddrInUse.into()));
        bound.with_context(|| taken(setting, address))
    }
}
