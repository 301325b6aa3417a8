//! The mesh from a control plane.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::large::Large;
use super::remote::endpoint;
use crate::config::node::NodeSettings;
use crate::config::source::{Kept, Remote};
use crate::grpc::{Channel, Endpoint};
use crate::mesh::{Changes, Removed, Writer};
use crate::runtime::ready::Condition;
use crate::telemetry::metrics::Metrics;
use crate::tls::random_unit;
use crate::xds::client::{
    self, Client, Connect, ConnectError, Demander, Dialled, Keep, KeepSettings, Settings, Sink, Status, Update,
    expose_age,
};

/// The client of a control plane, joined to the mesh.
pub(in crate::role::node) struct ControlPlane {
    client: Client<Line, ToMesh>,
    mesh: ToMesh,
    status: watch::Receiver<Status>,
    synced: Condition,
}

/// The writer of a mesh that changes by itself no more, or by the control plane's word alone.
#[derive(Clone)]
pub(in crate::role::node) struct Held(Arc<Mutex<Writer>>);

/// Applies what comes.
#[derive(Clone)]
struct ToMesh {
    held: Held,
    /// Told of how much.
    large: Arc<Large>,
}

/// Makes connections, each with today's roots and token.
struct Line(Endpoint);

// === impl Held ===

impl Held {
    pub(in crate::role::node) fn new(writer: Writer) -> Self {
        Self(Arc::new(Mutex::new(writer)))
    }

    /// For as long as a change takes; never across a wait.
    pub(in crate::role::node) fn lock(&self) -> MutexGuard<'_, Writer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl ControlPlane ===

impl ControlPlane {
    /// Builds the client. A state that was kept is in the mesh when this returns. Reads files.
    pub(in crate::role::node) fn build(
        settings: &NodeSettings,
        remote: &Remote<'_>,
        kept: Option<Kept<'_>>,
        mesh: Held,
        metrics: &Metrics,
        synced: Condition,
    ) -> anyhow::Result<Self> {
        let endpoint = endpoint(remote, "xds", &settings.named)?;
        let node = settings.xds_node();
        let asks = Settings {
            node_id: node.id,
            metadata: node.metadata.into_iter().collect(),
            on_demand: settings.xds_on_demand,
            random: random_unit,
        };
        let keep = kept.map(|Kept { directory, max_age }| {
            let settings = KeepSettings {
                directory: directory.to_owned(),
                greatest_age: max_age,
                source: kept_for(endpoint.address().as_str(), &settings.cluster, settings.xds_on_demand),
                interval: Keep::INTERVAL,
            };
            Keep::open(settings, SystemTime::now())
        });
        let mesh = ToMesh { held: mesh, large: Arc::default() };
        let client = Client::new(asks, Line(endpoint), mesh.clone(), metrics.clone(), keep);
        let status = client.status();
        expose_age(metrics, client.status());
        Ok(Self { client, mesh, status, synced })
    }

    pub(in crate::role::node) fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// [`None`] unless addresses are asked for one by one.
    pub(in crate::role::node) fn demander(&self) -> Option<Demander> {
        self.client.demander()
    }

    /// Runs until `stop`. What is kept is on disk when it returns.
    pub(in crate::role::node) async fn run(self, stop: CancellationToken) {
        let Self { client, mesh, status, synced } = self;
        let large = Arc::clone(&mesh.large);
        let following = follow(status, mesh, synced, stop.child_token());
        tokio::join!(client.run(stop.clone()), following, large.run(stop));
    }
}

/// Whose state is kept, and of what kind: one that was asked for one by one is not the whole mesh, and must not pass for
/// it after a restart without on-demand.
fn kept_for(address: &str, cluster: &str, on_demand: bool) -> String {
    let mode = if on_demand { "on-demand" } else { "all" };
    format!("{address} {cluster} {mode}")
}

/// What an update changes. In an update removals count last, and in changes first.
fn changes(update: Update) -> Changes {
    let Update { mut workloads, mut services, mut policies, removed } = update;
    let (mut uids, mut of_services, mut of_policies) = (HashSet::new(), HashSet::new(), HashSet::new());
    for removed in &removed {
        match removed {
            client::Removed::Policy(key) => drop(of_policies.insert(key)),
            client::Removed::Service(key) => drop(of_services.insert(key)),
            client::Removed::Workload(uid) => drop(uids.insert(&**uid)),
        }
    }
    if !removed.is_empty() {
        workloads.retain(|workload| !uids.contains(&*workload.uid));
        services.retain(|service| !of_services.contains(&service.key()));
        policies.retain(|policy| !of_policies.contains(&policy.key));
    }
    let removed = removed.into_iter().map(|removed| match removed {
        client::Removed::Policy(key) => Removed::Policy(key),
        client::Removed::Service(key) => Removed::Service(key),
        client::Removed::Workload(uid) => Removed::Workload(uid),
    });
    Changes { removed: removed.collect(), workloads, services, policies }
}

/// Tells readiness and the mesh of a state that can be served, and the mesh of the first sync of policies. A state from disk had
/// one: it was marked only after that, so that a converted PeerAuthentication which is not in it may never come either.
async fn follow(mut status: watch::Receiver<Status>, mesh: ToMesh, ready: Condition, stop: CancellationToken) {
    let (mut told, mut whole) = (false, false);
    loop {
        let (is_ready, has_policies) = {
            let status = status.borrow_and_update();
            (status.ready(), status.restored || status.of(client::Kind::Authorization).synced)
        };
        if is_ready && !std::mem::replace(&mut whole, true) {
            mesh.held.lock().whole();
            ready.meet();
        }
        if has_policies && !std::mem::replace(&mut told, true) {
            mesh.held.lock().policies_synced();
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = status.changed() => if changed.is_err() { return },
        }
    }
}

// === impl ToMesh ===

impl Sink for ToMesh {
    fn stage(&mut self, part: Update) {
        self.large.grown(part.incoming());
        self.held.lock().stage(changes(part));
    }

    fn show(&mut self) {
        self.held.lock().apply(Changes::default());
    }

    fn discard(&mut self) {
        self.held.lock().discard();
    }
}

// === impl Line ===

impl Connect for Line {
    type Service = Channel;

    async fn connect(&mut self) -> Result<Dialled<Channel>, ConnectError> {
        let service = self.0.connect().await?;
        Ok(Dialled { service, metadata: self.0.metadata()? })
    }

    fn refused(&mut self) {
        self.0.token_refused();
    }
}

#[cfg(test)]
mod tests;
