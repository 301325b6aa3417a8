//! Pods from a node agent's socket.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::enroll::announced::{Admits, Announced};
use crate::enroll::manager::{PodStatus, Wanted};
use crate::redirect::{RedirectError, Warden};
use crate::runtime::ready::Condition;
use crate::telemetry::cause::chain;
use crate::telemetry::metrics::{Metrics, table};
use crate::tls::random_unit;
use crate::zds::client::{self, Config};

/// Asks `warden` about a namespace that is handed over, and counts what it refuses.
pub(in crate::role::node) fn admits(warden: Warden, metrics: Metrics) -> Admits {
    Arc::new(move |netns| {
        warden.forbid(netns).map_err(|error| {
            if let RedirectError::Refused { source, .. } = &error {
                metrics.counter(table::POD_REFUSALS, [source.reason()]).increment();
            }
            chain(&error)
        })
    })
}

/// The conversation with the agent.
pub(in crate::role::node) struct Agent {
    pods: Arc<Announced>,
    config: Config,
}

// === impl Agent ===

impl Agent {
    /// Leads the manager of `wanted` by what the agent at `socket` says. `named` is met while the agent has named its pods.
    pub(in crate::role::node) fn build(
        socket: &Path,
        node: &str,
        wanted: watch::Sender<Arc<Wanted>>,
        statuses: watch::Receiver<Arc<Vec<PodStatus>>>,
        warden: Warden,
        metrics: &Metrics,
        named: Condition,
    ) -> Self {
        let admits = admits(warden, metrics.clone());
        let pods = Arc::new(Announced::new(node.into(), wanted, statuses, admits, named));
        Self { pods, config: Config { path: socket.to_owned() } }
    }

    /// Talks until `stop`.
    pub(in crate::role::node) async fn run(self, stop: CancellationToken) {
        client::run(self.config, self.pods, random_unit, stop).await;
    }
}
