//! A directory of manifests as a role sees it: loaded, indexed, projected; again whenever it changes.
//!
//! The node and the control plane take the same mesh from it, and say the same about what is wrong with it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::control::index::Index;
use crate::control::manifests::watch::{Fingerprint, Next, Poller};
use crate::control::manifests::{self, LoadErrors};
use crate::control::project::{Level, Projection, Settings, Status, project};
use crate::telemetry::cause::chain;
use crate::telemetry::metrics::{Metrics, table};

/// Four looks a second: a change that is written at once applies within half a second, and a look
/// costs one stat(2) a file.
const POLL: Duration = Duration::from_millis(250);
/// Faults that are logged one by one; the rest are counted.
const MAX_FAULTS: usize = 20;

/// A directory that is watched.
pub(super) struct Manifests {
    directory: PathBuf,
    settings: Settings,
    statuses: watch::Sender<Arc<Vec<Status>>>,
    metrics: Metrics,
    poller: Poller,
    /// What was said about policies and pods, so that a reload repeats nothing.
    said: Vec<Status>,
    ignored: Option<String>,
}

/// What a directory declares.
pub(super) struct Loaded {
    pub(super) index: Index,
    /// Its statuses have been told and published.
    pub(super) projection: Projection,
}

/// Why the first load failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ManifestsError {
    #[error("cannot read the manifests in {}: name a directory of Kubernetes YAML with --manifests", path.display())]
    Directory {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Load(#[from] LoadErrors),
}

// === impl Manifests ===

impl Manifests {
    /// Loads once. A role does not start on manifests that are broken: it has no last good state.
    pub(super) fn start(
        directory: &Path,
        settings: Settings,
        metrics: Metrics,
    ) -> Result<(Self, Loaded), ManifestsError> {
        let failed = |source| ManifestsError::Directory { path: directory.to_owned(), source };
        let fingerprint = Fingerprint::of(directory).map_err(failed)?;
        let mut this = Self {
            directory: directory.to_owned(),
            settings,
            statuses: watch::Sender::new(Arc::default()),
            metrics,
            poller: Poller::new(fingerprint),
            said: Vec::new(),
            ignored: None,
        };
        let loaded = this.load()?;
        Ok((this, loaded))
    }

    /// What is worth a word about the objects, as of the last load.
    pub(super) fn statuses(&self) -> watch::Receiver<Arc<Vec<Status>>> {
        self.statuses.subscribe()
    }

    /// Looks until `stop`, and hands on what changed.
    pub(super) async fn run(mut self, stop: CancellationToken, mut apply: impl FnMut(Loaded) + Send) {
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
                match tokio::task::block_in_place(|| self.load().map(&mut apply)) {
                    Ok(()) => tracing::info!(directory = %self.directory.display(), "manifests reloaded"),
                    Err(errors) => self.complain(&errors),
                }
            }
        }
    }

    pub(super) fn load(&mut self) -> Result<Loaded, LoadErrors> {
        let objects = manifests::load(&self.directory)?;
        let ignored = objects.ignored_warning();
        if ignored.is_some() && ignored != self.ignored {
            tracing::warn!(directory = %self.directory.display(), "{}", ignored.as_deref().unwrap_or_default());
        }
        self.ignored = ignored;
        let index = Index::build(objects);
        let mut projection = project(&index, &self.settings);
        self.metrics.gauge(table::MANIFEST_ERRORS, []).set(0);
        self.tell(std::mem::take(&mut projection.statuses));
        Ok(Loaded { index, projection })
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
