//! The mesh and the pods that a directory declares: what is joined before anything runs.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;

use super::control_plane::{ControlPlane, Held};
use crate::config::local;
use crate::config::node::NodeSettings;
use crate::config::raw::ConfigError;
use crate::config::source::{LocalMesh, MeshSource, PodSource};
use crate::control::project::{self, Status};
use crate::enroll::manager::Wanted;
use crate::mesh::{Changes, State, Writer};
use crate::role::node::feed::{Feed, Published};
use crate::runtime::ready::Readiness;
use crate::telemetry::metrics::Metrics;

/// The mesh, from where the settings say, and whatever a directory of manifests says beside it.
pub(in crate::role::node) struct Meshed {
    pub(in crate::role::node) feed: Option<Feed>,
    pub(in crate::role::node) control_plane: Option<ControlPlane>,
    /// Keeps the mesh where nothing else does.
    pub(in crate::role::node) held: Option<Held>,
    /// The pods of this node that the directory names; none without one.
    pub(in crate::role::node) wanted: watch::Receiver<Arc<Wanted>>,
    /// What is enforced of each policy object of the directory.
    pub(in crate::role::node) policies: watch::Receiver<Arc<Vec<Status>>>,
}

/// Readiness while there is no mesh to serve, in Istio's words.
const STATE: &str = "state manager";

// === impl Meshed ===

impl Meshed {
    /// Reads what is there already: the directory, a file, a state that was kept.
    pub(in crate::role::node) fn build(
        settings: &NodeSettings,
        writer: Writer,
        metrics: &Metrics,
        readiness: &Readiness,
    ) -> anyhow::Result<Self> {
        let pods = match settings.pod_source() {
            PodSource::Manifests(directory) => Some(directory),
            PodSource::Agent(_) => None,
        };
        let source = settings.mesh_source();
        if let MeshSource::Manifests(directory) = source {
            return Self::of_manifests(directory, settings, Some(writer), metrics);
        }
        let held = Held::new(writer);
        let local = match &source {
            MeshSource::ControlPlane { local, .. } => local.as_ref(),
            MeshSource::Local(local) => Some(local),
            MeshSource::Manifests(_) => None,
        };
        if let Some(local) = local {
            let State { workloads, services, policies } = of_file(local, settings)?;
            held.lock().apply(Changes { workloads, services, policies, removed: Vec::new() });
        }
        let control_plane = match source {
            MeshSource::ControlPlane { remote, kept, .. } => {
                let synced = readiness.condition(STATE);
                Some(ControlPlane::build(settings, &remote, kept, held.clone(), metrics, synced)?)
            }
            MeshSource::Local(_) | MeshSource::Manifests(_) => {
                let mut writer = held.lock();
                writer.policies_synced();
                writer.whole();
                drop(writer);
                None
            }
        };
        let (_, nothing) = watch::channel(Arc::new(Wanted::new()));
        let (_, silence) = watch::channel(Arc::new(Vec::new()));
        let alone = Self { feed: None, control_plane, held: Some(held), wanted: nothing, policies: silence };
        let Some(directory) = pods else { return Ok(alone) };
        let Self { feed, wanted, .. } = Self::of_manifests(directory, settings, None, metrics)?;
        Ok(Self { feed, wanted, ..alone })
    }

    fn of_manifests(
        directory: &Path,
        settings: &NodeSettings,
        mesh: Option<Writer>,
        metrics: &Metrics,
    ) -> anyhow::Result<Self> {
        let (feed, published) = Feed::start(directory, &settings.node, projection(settings), mesh, metrics.clone())?;
        let Published { wanted, statuses } = published;
        Ok(Self { feed: Some(feed), control_plane: None, held: None, wanted, policies: statuses })
    }
}

fn of_file(local: &LocalMesh<'_>, settings: &NodeSettings) -> Result<State, ConfigError> {
    let names = local::Settings {
        trust_domain: settings.trust_domain.as_str().into(),
        cluster: settings.cluster.as_str().into(),
    };
    match local {
        LocalMesh::File(path) => local::read(path, &names),
        LocalMesh::Text(text) => local::parse("LOCAL_XDS", text, &names),
    }
    .map_err(|error| ConfigError::Unusable { name: settings.named.place("local-xds"), source: error.into() })
}

fn projection(settings: &NodeSettings) -> project::Settings {
    project::Settings {
        cluster: settings.cluster.as_str().into(),
        trust_domain: settings.trust_domain.as_str().into(),
        federated: settings.trust_bundles.iter().map(|(domain, _)| domain.as_str().into()).collect(),
        trust_domain_aliases: settings.trust_domain_aliases.iter().map(|alias| alias.as_str().into()).collect(),
        network: settings.network.as_str().into(),
        cluster_domain: settings.cluster_domain.as_str().into(),
        root_namespace: settings.root_namespace.as_str().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ztunnel::{self, Host};
    use crate::telemetry::cause::chain;

    #[test]
    fn a_mesh_that_cannot_be_used_is_called_as_it_was_said() {
        for (variable, value, expected) in [
            ("LOCAL_XDS_PATH", "/nosuch", "cannot use LOCAL_XDS_PATH (local-xds): /nosuch cannot be read: mount it"),
            ("LOCAL_XDS", "workloads: 3", "cannot use LOCAL_XDS (local-xds): LOCAL_XDS: workloads: invalid type"),
        ] {
            let all = [("NODE_NAME", "a"), ("XDS_ADDRESS", ""), ("CA_ADDRESS", ""), (variable, value)];
            let all = all.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            let host = Host { processors: 1, mesh_config: None, exists: &|_| false };
            let (effective, drop_in) =
                ztunnel::resolve(&all, None, ztunnel::read(&all, host, Vec::new()).unwrap()).unwrap();
            let settings = NodeSettings::build(&effective, Some(drop_in)).unwrap();
            let MeshSource::Local(local) = settings.mesh_source() else { panic!("not a file") };
            let error = of_file(&local, &settings).unwrap_err();
            assert!(chain(&error).starts_with(expected), "{}", chain(&error));
        }
    }
}
