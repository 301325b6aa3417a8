//! What a node has seen, and what STRICT or a policy that is not applied yet would have refused of it.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::{admin_client, explain};
use crate::authz::{Decision, Request, evaluate};
use crate::control::index::Index;
use crate::control::manifests::{self, Objects};
use crate::control::project;
use crate::mesh::View;
use crate::model::spiffe::Identity;
use crate::proxy::flows::Seen;
pub use crate::proxy::flows::{Flow, Others};

/// What is asked.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The node's admin page.
    pub node: SocketAddr,
    /// Policies that are tried on what was seen.
    pub policy: Option<PathBuf>,
    /// The mesh that they are tried in; the node's own directory when none is given.
    pub manifests: Option<PathBuf>,
}

/// What a node's page of flows holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FlowsPage {
    #[serde(flatten)]
    pub seen: Seen,
    /// How the node makes its mesh, so that another one can be made of it.
    pub mesh: MeshSettings,
}

/// Where a node's mesh comes from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MeshSettings {
    pub manifests: PathBuf,
    pub cluster: String,
    pub trust_domain: String,
    #[serde(default)]
    pub trust_domain_aliases: Vec<String>,
    /// Trust domains of others.
    #[serde(default)]
    pub federated: Vec<String>,
    pub network: String,
    pub cluster_domain: String,
    pub root_namespace: String,
}

/// What was seen, judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Judged {
    pub window_seconds: u64,
    /// How much of the window the node has seen.
    pub watched_seconds: u64,
    pub flows: Vec<JudgedFlow>,
    pub others: Others,
}

/// One client of one port, judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JudgedFlow {
    #[serde(flatten)]
    pub flow: Flow,
    /// STRICT refuses whoever has no identity.
    pub strict_refuses: bool,
    /// By today's manifests; `None` when no policy is tried.
    pub today: Option<Verdict>,
    /// With the policies that are tried.
    pub tried: Option<Verdict>,
}

/// What policy says to one flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    Allow,
    Refuse {
        /// `namespace/name` of the policy that refuses, or of the ALLOW policy that came nearest.
        policy: Option<String>,
        rule: Option<u32>,
        detail: String,
    },
    /// The pod is not in the manifests any more.
    Gone,
}

/// Asks the node, and judges what it has seen.
///
/// # Errors
/// The node does not answer, or the policies or manifests cannot be read.
pub fn run(ask: &Ask) -> anyhow::Result<Judged> {
    let page = admin_client::page(ask.node, "/flows")?;
    let page: FlowsPage = serde_json::from_value(page)
        .with_context(|| format!("the node at {} answered something else: is it of another version?", ask.node))?;
    let tried = match &ask.policy {
        None => None,
        Some(file) => {
            let manifests = ask.manifests.as_deref().unwrap_or(&page.mesh.manifests);
            let today = explain::load(manifests)
                .context("cannot see today's policies; name the node's directory with --manifests")?;
            Some((today, read(file)?))
        }
    };
    judge(page, tried)
}

/// The policies of a file.
fn read(file: &Path) -> anyhow::Result<Objects> {
    let what = || format!("cannot read the policies in {}", file.display());
    let bytes = std::fs::read(file).with_context(what)?;
    let objects = manifests::parse(&[(file.to_owned(), bytes)]).with_context(what)?;
    let other = Objects { authorization_policies: Vec::new(), peer_authentications: Vec::new(), ..objects.clone() };
    if other != Objects::default() {
        bail!(
            "{} holds something else than AuthorizationPolicy and PeerAuthentication: take that out, or change the \
             directory and name it with --manifests",
            file.display()
        );
    }
    if objects.authorization_policies.is_empty() && objects.peer_authentications.is_empty() {
        bail!("{} holds no AuthorizationPolicy and no PeerAuthentication", file.display());
    }
    Ok(objects)
}

/// Judges each flow; `tried` is today's mesh and the policies that come on top of it.
fn judge(page: FlowsPage, tried: Option<(Objects, Objects)>) -> anyhow::Result<Judged> {
    let settings = project::Settings {
        cluster: page.mesh.cluster.into(),
        trust_domain: page.mesh.trust_domain.into(),
        trust_domain_aliases: page.mesh.trust_domain_aliases.into_iter().map(Into::into).collect(),
        federated: page.mesh.federated.into_iter().map(Into::into).collect(),
        network: page.mesh.network.into(),
        cluster_domain: page.mesh.cluster_domain.into(),
        root_namespace: page.mesh.root_namespace.into(),
    };
    let view = |objects| explain::view(project::project(&Index::build(objects), &settings));
    let views = tried.map(|(today, added)| (view(today.clone()), view(with(today, added))));
    let flow = |flow: Flow| {
        let identity = flow.identity.as_deref().map(str::parse::<Identity>).transpose();
        let identity = identity.with_context(|| format!("the node told of a client that has no identity: {flow:?}"))?;
        let foreign = identity.as_ref().is_some_and(|peer| settings.federated.contains(&peer.trust_domain));
        let verdict = |view: &View| verdict(&flow, identity.as_ref(), foreign, view);
        anyhow::Ok(JudgedFlow {
            strict_refuses: identity.is_none(),
            today: views.as_ref().map(|(today, _)| verdict(today)),
            tried: views.as_ref().map(|(_, tried)| verdict(tried)),
            flow,
        })
    };
    let Seen { window_seconds, watched_seconds, flows, others } = page.seen;
    let flows = flows.into_iter().map(flow).collect::<anyhow::Result<_>>()?;
    Ok(Judged { window_seconds, watched_seconds, flows, others })
}

/// What is there with what is tried; of two objects of one name the tried one counts.
fn with(mut today: Objects, tried: Objects) -> Objects {
    let policies = &tried.authorization_policies;
    let named = |a: &crate::kube::types::ObjectMeta, b: &crate::kube::types::ObjectMeta| {
        a.namespace == b.namespace && a.name == b.name
    };
    today.authorization_policies.retain(|old| !policies.iter().any(|new| named(&new.metadata, &old.metadata)));
    let peers = &tried.peer_authentications;
    today.peer_authentications.retain(|old| !peers.iter().any(|new| named(&new.metadata, &old.metadata)));
    today.authorization_policies.extend(tried.authorization_policies);
    today.peer_authentications.extend(tried.peer_authentications);
    today
}

/// `foreign` is what the node took the peer for: its namespace and account are another mesh's.
fn verdict(flow: &Flow, peer: Option<&Identity>, foreign: bool, view: &View) -> Verdict {
    let called = view.workloads().find(|w| {
        let name = flow.pod.split_once('/');
        name == Some((&*w.namespace, &*w.name))
    });
    let Some(workload) = called else { return Verdict::Gone };
    let source: IpAddr = flow.source;
    match evaluate(
        &Request { peer, foreign, source, destination: flow.destination, now: SystemTime::now() },
        &view.policies_for(workload),
    ) {
        Decision::Allow(_) => Verdict::Allow,
        Decision::Deny(denial) => Verdict::Refuse {
            policy: denial.policy().map(|key| key.to_string()),
            rule: denial.rule(),
            detail: denial.to_string(),
        },
    }
}

#[cfg(test)]
mod tests;
