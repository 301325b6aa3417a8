//! Manifests into the mesh of a node: what a directory declares, published, and the pods of this node.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::control::index::Index;
use crate::control::project::{Settings, Status};
use crate::enroll::manager::Wanted;
use crate::mesh::{State, Writer};
use crate::model::pod::Pod;
use crate::role::manifests::{Loaded, Manifests, ManifestsError};
use crate::telemetry::metrics::Metrics;

/// Loads a directory and publishes what it declares.
pub struct Feed {
    manifests: Manifests,
    publisher: Publisher,
}

struct Publisher {
    node: Arc<str>,
    /// [`None`] where the mesh comes from elsewhere and the directory says which pods there are.
    mesh: Option<Writer>,
    wanted: watch::Sender<Arc<Wanted>>,
}

/// What the feed publishes besides the mesh.
pub struct Published {
    pub wanted: watch::Receiver<Arc<Wanted>>,
    pub statuses: watch::Receiver<Arc<Vec<Status>>>,
}

/// Pods of this node that belonged to the mesh before another claimed what they have. Which of the two is right
/// nobody can tell, and a pod that is in must not be opened by somebody else's manifest: it stays as it was. The mesh
/// does not name it meanwhile, so nothing is let in.
fn held(index: &Index, before: &Wanted) -> Wanted {
    let refused = |pod: &Pod| index.conflicts().iter().any(|conflict| conflict.refused == pod.key);
    before.iter().filter(|(pod, membership)| membership.is_in() && refused(pod)).cloned().collect()
}

// === impl Feed ===

impl Feed {
    /// Loads once. A node does not start on manifests that are broken: it has no last good state.
    pub(super) fn start(
        directory: &Path,
        node: &str,
        settings: Settings,
        mesh: Option<Writer>,
        metrics: Metrics,
    ) -> Result<(Self, Published), ManifestsError> {
        let (wanted, wanted_out) = watch::channel(Arc::new(Vec::new()));
        let (manifests, loaded) = Manifests::start(directory, settings, metrics)?;
        let mut publisher = Publisher { node: node.into(), mesh, wanted };
        publisher.publish(loaded);
        let statuses = manifests.statuses();
        Ok((Self { manifests, publisher }, Published { wanted: wanted_out, statuses }))
    }

    /// Looks until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let Self { manifests, mut publisher } = self;
        manifests.run(stop, |loaded| publisher.publish(loaded)).await;
    }
}

// === impl Publisher ===

impl Publisher {
    fn publish(&mut self, Loaded { index, projection }: Loaded) {
        // The mesh first: a pod that is enrolled already has its policies.
        let (workloads, services, policies) = (projection.workloads, projection.services, projection.policies);
        if let Some(mesh) = &mut self.mesh {
            mesh.replace(State { workloads, services, policies });
        }
        let here = index.pods().filter(|pod| pod.node == self.node);
        let mut wanted: Wanted = here.map(|pod| (Arc::clone(pod), index.membership(pod))).collect();
        wanted.extend(held(&index, &self.wanted.borrow()));
        self.wanted.send_replace(Arc::new(wanted));
    }
}

#[cfg(test)]
mod tests;
