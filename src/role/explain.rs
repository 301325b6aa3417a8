//! A question about policy, answered from manifests or by a node that runs.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::admin_client;
use crate::authz::inquiry::{Answer, Place, Question, answer};
use crate::config::mesh::MeshSettings;
use crate::control::index::Index;
use crate::control::manifests::{self, Objects};
use crate::control::project::{self, Projection};
use crate::mesh::{self, State, View};
use crate::tls::Domains;

/// Where the mesh comes from.
#[derive(Clone, Debug)]
pub enum Mesh {
    /// A directory, read now: no node is asked.
    Manifests { directory: PathBuf, mesh: MeshSettings },
    /// The admin page of a node that runs: its live mesh.
    Node(SocketAddr),
}

/// Answers one question.
///
/// # Errors
/// The manifests cannot be read, the node does not answer, or the mesh does not know what was asked about.
pub fn run(question: &Question, mesh: &Mesh) -> anyhow::Result<Answer> {
    match mesh {
        Mesh::Manifests { directory, mesh } => {
            let aliases = mesh.trust_domain_aliases.iter().map(|name| name.as_str().into());
            let federated = mesh.trust_bundles.iter().map(|(domain, _)| domain.as_str().into());
            let settings = project::Settings {
                trust_domain: mesh.trust_domain.as_str().into(),
                trust_domain_aliases: aliases.collect(),
                federated: federated.collect(),
                cluster_domain: mesh.cluster_domain.as_str().into(),
                root_namespace: mesh.root_namespace.as_str().into(),
                ..project::Settings::default()
            };
            let projection = project::project(&Index::build(load(directory)?), &settings);
            let domains = Domains { aliases: settings.trust_domain_aliases, federated: settings.federated };
            let place = Place { network: &settings.network, domains: &domains };
            Ok(answer(question, place, &view(projection), std::time::SystemTime::now())?)
        }
        Mesh::Node(node) => {
            let page = admin_client::page(*node, &format!("/explain?{}", question.to_query()))?;
            serde_json::from_value(page)
                .with_context(|| format!("the node at {node} answered something else: is it of another version?"))
        }
    }
}

/// All objects of a directory.
pub(super) fn load(directory: &Path) -> anyhow::Result<Objects> {
    manifests::load(directory).with_context(|| format!("cannot read the manifests in {}", directory.display()))
}

/// The mesh that a projection makes.
pub(super) fn view(projection: Projection) -> std::sync::Arc<View> {
    let (mut writer, reader) = mesh::channel();
    let Projection { workloads, services, policies, .. } = projection;
    writer.replace(State { workloads, services, policies });
    reader.view()
}

#[cfg(test)]
mod tests;
