//! The sources' tasks.

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::agent::Agent;
use super::control_plane::{ControlPlane, Held};
use crate::role::node::feed::Feed;
use crate::role::signer::Signer;
use crate::runtime::supervise::{Need, Supervisor};

/// What a node has its input from, as far as it runs.
pub(in crate::role::node) struct Sources {
    pub(in crate::role::node) agent: Option<Agent>,
    pub(in crate::role::node) control_plane: Option<ControlPlane>,
    pub(in crate::role::node) feed: Option<Feed>,
    pub(in crate::role::node) held: Option<Held>,
    pub(in crate::role::node) signer: Option<Signer>,
}

// === impl Sources ===

impl Sources {
    /// Starts them. The mesh is followed until `stop`, since policy counts until the last connection has ended; pods
    /// are announced until `drain`.
    pub(in crate::role::node) fn spawn(
        self,
        supervisor: &Supervisor,
        control: &Handle,
        stop: &CancellationToken,
        drain: &CancellationToken,
    ) {
        let Self { agent, control_plane, feed, held, signer } = self;
        if let Some(feed) = feed {
            let token = stop.clone();
            supervisor.spawn(control, "manifests", Need::Essential, async move {
                feed.run(token).await;
                Ok(())
            });
        }
        if let Some(control_plane) = control_plane {
            let token = stop.clone();
            supervisor.spawn(control, "control plane", Need::Essential, async move {
                control_plane.run(token).await;
                Ok(())
            });
        }
        if let Some(held) = held {
            let token = stop.clone();
            // A mesh whose writer is gone tells nobody of changes.
            supervisor.spawn(control, "mesh", Need::Useful, async move {
                token.cancelled().await;
                drop(held);
                Ok(())
            });
        }
        if let Some(signer) = signer {
            let token = stop.clone();
            supervisor.spawn(control, "certificate authority", Need::Useful, async move {
                signer.run(token).await;
                Ok(())
            });
        }
        if let Some(agent) = agent {
            let token = drain.clone();
            supervisor.spawn(control, "node agent", Need::Essential, async move {
                agent.run(token).await;
                Ok(())
            });
        }
    }
}
