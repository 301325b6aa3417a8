//! Manifests into the mesh: load, index, project, publish; again whenever the directory changes.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::control::index::Index;
use crate::control::manifests::watch::{Fingerprint, Next, Poller};
use crate::control::manifests::{self, LoadErrors};
use crate::control::project::{Level, Settings, Status, project};
use crate::enroll::manager::Wanted;
use crate::mesh::{State, Writer};
use crate::model::pod::Pod;
use crate::telemetry::cause::chain;
use crate::telemetry::metrics::{Metrics, table};

/// Four looks a second: a change that is written at once applies within half a second, and a look
/// costs one stat(2) a file.
const POLL: Duration = Duration::from_millis(250);
/// Faults that are logged one by one; the rest are counted.
const MAX_FAULTS: usize = 20;

/// Loads a directory and publishes what it declares.
pub struct Feed {
    directory: PathBuf,
    node: Arc<str>,
    settings: Settings,
    mesh: Writer,
    wanted: watch::Sender<Arc<Wanted>>,
    statuses: watch::Sender<Arc<Vec<Status>>>,
    metrics: Metrics,
    poller: Poller,
    /// What was said about policies and pods, so that a reload repeats nothing.
    said: Vec<Status>,
    ignored: Option<String>,
}

/// What the feed publishes besides the mesh.
pub struct Published {
    pub wanted: watch::Receiver<Arc<Wanted>>,
    pub statuses: watch::Receiver<Arc<Vec<Status>>>,
}

/// Why the first load failed.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    #[error("cannot read the manifests in {}: name a directory of Kubernetes YAML with --manifests", path.display())]
    Directory {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Load(#[from] LoadErrors),
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
    pub fn start(
        directory: &Path,
        node: &str,
        settings: Settings,
        mesh: Writer,
        metrics: Metrics,
    ) -> Result<(Self, Published), FeedError> {
        let fingerprint =
            Fingerprint::of(directory).map_err(|source| FeedError::Directory { path: directory.to_owned(), source })?;
        let (wanted, wanted_out) = watch::channel(Arc::new(Vec::new()));
        let (statuses, statuses_out) = watch::channel(Arc::new(Vec::new()));
        let mut feed = Self {
            directory: directory.to_owned(),
            node: node.into(),
            settings,
            mesh,
            wanted,
            statuses,
            metrics,
            poller: Poller::new(fingerprint),
            said: Vec::new(),
            ignored: None,
        };
        feed.load()?;
        Ok((feed, Published { wanted: wanted_out, statuses: statuses_out }))
    }

    /// Looks until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(POLL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut gone = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            let look = match Fingerprint::of(&self.directory) {
                Ok(look) => look,
                Err(error) => {
                    if !std::mem::replace(&mut gone, true) {
                        tracing::error!(directory = %self.directory.display(), %error, "cannot read the manifests; the last good state stays");
                    }
                    continue;
                }
            };
            gone = false;
            if self.poller.look(look) == Next::Reload {
                // Reading and projecting a large mesh takes a while; the other tasks of this worker go on.
                match tokio::task::block_in_place(|| self.load()) {
                    Ok(()) => tracing::info!(directory = %self.directory.display(), "manifests reloaded"),
                    Err(errors) => self.complain(&errors),
                }
            }
        }
    }

    fn load(&mut self) -> Result<(), LoadErrors> {
        let objects = manifests::load(&self.directory)?;
        let ignored = objects.ignored_warning();
        if ignored.is_some() && ignored != self.ignored {
            tracing::warn!(directory = %self.directory.display(), "{}", ignored.as_deref().unwrap_or_default());
        }
        self.ignored = ignored;
        let index = Index::build(objects);
        let projection = project(&index, &self.settings);
        // The mesh first: a pod that is enrolled already has its policies.
        let (workloads, services, policies) = (projection.workloads, projection.services, projection.policies);
        self.mesh.replace(State { workloads, services, policies });
        let here = index.pods().filter(|pod| pod.node == self.node);
        let mut wanted: Wanted = here.map(|pod| (Arc::clone(pod), index.membership(pod))).collect();
        wanted.extend(held(&index, &self.wanted.borrow()));
        self.wanted.send_replace(Arc::new(wanted));
        self.metrics.gauge(table::MANIFEST_ERRORS, []).set(0);
        self.tell(projection.statuses);
        Ok(())
    }

    /// Logs each status that is new, and publishes all.
    fn tell(&mut self, statuses: Vec<Status>) {
        // A set: a mesh may have many objects, and many of them something to say.
        let said: HashSet<&Status> = self.said.iter().filter(|status| status.level > Level::Info).collect();
        for status in statuses.iter().filter(|status| status.level > Level::Info && !said.contains(status)) {
            let not_enforced = if status.level == Level::NotEnforced { "NOT ENFORCED: " } else { "" };
            tracing::warn!(kind = status.kind, object = %status.key, "{not_enforced}{}", status.message);
        }
        let lost = statuses.iter().filter(|status| status.level == Level::NotEnforced).count();
        self.metrics.gauge(table::POLICIES_NOT_ENFORCED, []).set(lost.try_into().unwrap_or(i64::MAX));
        self.said.clone_from(&statuses);
        self.statuses.send_replace(Arc::new(statuses));
    }

    fn complain(&self, errors: &LoadErrors) {
        for error in errors.errors.iter().take(MAX_FAULTS) {
            tracing::error!(error = %chain(error), "a manifest is broken; the last good state stays");
        }
        let total = errors.errors.len() + errors.more;
        if total > MAX_FAULTS {
            tracing::error!(more = total - MAX_FAULTS, "further manifests are broken");
        }
        self.metrics.gauge(table::MANIFEST_ERRORS, []).set(total.try_into().unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests;
