//! What a node shows of itself: pages, gauges, readiness.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::redirection::Redirection;
use crate::admin::{Asked, MetricsSite, NoAnswer, Page, Pages, ReadySite, ReadyWords, Site};
use crate::authz::inquiry::{Flaw, Place, Question, answer};
use crate::control::project::Status;
use crate::enroll::manager::{PodStatus, State};
use crate::identity::certs::Certs;
use crate::model::workload::Tunnel;
use crate::proxy::connections::Connection;
use crate::proxy::shared::Shared;
use crate::role::statuses::{self, seconds_until};
use crate::role::strict_report::{FlowsPage, MeshSettings};
use crate::runtime::Panics;
use crate::runtime::ready::{Condition, Readiness};
use crate::runtime::shutdown::Shutdown;
use crate::telemetry::cause::chain;
use crate::telemetry::log::{Dropped, Levels};
use crate::telemetry::metrics::{Metrics, table};
use crate::tls::Revocation;
use crate::xds::client;
use tokio::runtime::{Handle, RuntimeMetrics};

mod istio;
pub(super) mod settings;

pub(super) use istio::Face;

/// The parts that are looked at. Nothing is copied until somebody asks.
pub(super) struct Seen {
    pub(super) certs: Certs,
    pub(super) metrics: Metrics,
    pub(super) panics: Panics,
    pub(super) dropped: Dropped,
    pub(super) policies: watch::Receiver<Arc<Vec<Status>>>,
    pub(super) pods: watch::Receiver<Arc<Vec<PodStatus>>>,
    pub(super) redirection: Redirection,
    pub(super) shared: Arc<Shared>,
    pub(super) node: Arc<str>,
    pub(super) mesh: MeshSettings,
    /// The control plane's client, where there is one.
    pub(super) control_plane: Option<watch::Receiver<client::Status>>,
    /// In ztunnel's place alone.
    pub(super) face: Option<Face>,
}

/// A page lists at most this many of a kind: it is read by people, and built in memory.
const MAX_LISTED: usize = 10_000;

/// The sites in the order admin, metrics, readiness.
pub(super) fn sites(
    seen: &Arc<Seen>,
    readiness: &Readiness,
    shutdown: &Shutdown,
    levels: Levels,
) -> [Arc<dyn Site>; 3] {
    let page = |name, about, dump: fn(&Seen) -> Value| {
        let seen = Arc::clone(seen);
        Page::new(name, about, move || dump(&seen))
    };
    let pages = vec![
        page("certificates", "the certificates in use, their expiry and the last renewal", Seen::certificates),
        page("connections", "the live connections of this node's pods", Seen::connections),
        page("flows", "who connected to which port, for culvert strict-report", Seen::flows),
        page("node", "this node: its name, its redirection, how current its mesh is", Seen::node),
        page("pods", "this node's pods and where each stands", Seen::pods),
        page("policies", "the policies in force", Seen::policies),
        page("statuses", "what is enforced of each policy object, and what is not", Seen::statuses),
        page("workloads", "the workloads of the mesh", Seen::workloads),
    ];
    let explained = Arc::clone(seen);
    let explain = Asked::new(
        "explain",
        "?from=NAMESPACE/POD&to=NAMESPACE/POD:PORT, whether it is allowed and why",
        move |query| explained.explain(query),
    );
    let scraped = Arc::clone(seen);
    seen.metrics.on_scrape(move |metrics| scraped.gauges(metrics));
    let pages = Pages::new(env!("CARGO_PKG_VERSION"), pages, vec![explain]);
    // Whoever can reach loopback can give them: only where Istio's tools expect it.
    let pages = if seen.face.is_some() { pages.with_orders(istio::orders(levels, shutdown)) } else { pages };
    let words = if seen.face.is_some() { ReadyWords::Istio } else { ReadyWords::Own };
    [
        Arc::new(istio::with_dump(pages, seen)),
        Arc::new(MetricsSite::new(seen.metrics.clone())),
        Arc::new(ReadySite { readiness: readiness.clone(), shutdown: shutdown.clone(), words }),
    ]
}

/// How current what a control plane said is.
fn currency(status: &client::Status, now: SystemTime) -> Value {
    json!({
        "synced": status.synced(),
        "restored": status.restored,
        "connected": status.connected_since.is_some(),
        "ageSeconds": status.age(now).map(|age| age.as_secs()),
        "missing": status.missing(),
    })
}

/// Ready when no pod of the mesh still waits for its enrolment.
pub(super) async fn follow(
    mut pods: watch::Receiver<Arc<Vec<PodStatus>>>,
    enrolled: Condition,
    stop: CancellationToken,
) {
    loop {
        {
            let pods = pods.borrow_and_update();
            let waiting = pods.iter().find(|pod| matches!(pod.state, State::Enrolling | State::Failed(_)));
            match waiting {
                Some(PodStatus { pod, state: State::Failed(error), .. }) => {
                    enrolled.lose(format!("{}: {error}", pod.key))
                }
                Some(PodStatus { pod, .. }) => enrolled.lose(format!("{}: in progress", pod.key)),
                None => enrolled.meet(),
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = pods.changed() => if changed.is_err() { return },
        }
    }
}

// === impl Seen ===

impl Seen {
    fn gauges(&self, metrics: &Metrics) {
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let pods = self.pods.borrow().clone();
        for name in ["enrolled", "enrolling", "failed", "out", "withdrawing"] {
            let of_state = pods.iter().filter(|pod| state(&pod.state) == name).count();
            metrics.gauge(table::PODS, [name]).set(count(of_state));
        }
        let serving = |pod: &&PodStatus| matches!(pod.state, State::Enrolled | State::Withdrawing);
        let waiting = |pod: &&PodStatus| matches!(pod.state, State::Enrolling | State::Failed(_));
        metrics.gauge(table::WORKLOAD_PROXIES, []).set(count(pods.iter().filter(serving).count()));
        metrics.gauge(table::WORKLOAD_PROXIES_PENDING, []).set(count(pods.iter().filter(waiting).count()));
        let now = SystemTime::now();
        for report in self.certs.report() {
            let identity = report.identity.to_string();
            for (kind, at) in [("leaf", report.not_after), ("root", report.roots_not_after)] {
                if let Some(at) = at {
                    metrics.gauge(table::CERTIFICATE_EXPIRY, [kind, &identity]).set(seconds_until(at, now));
                }
            }
        }
        let (mut lists, mut overdue, mut revoked, mut unreadable) = (0, 0, 0, 0);
        match self.shared.trust.revocation() {
            Revocation::None => {}
            Revocation::Unknown => unreadable = 1,
            Revocation::Lists(all) => (lists, overdue, revoked) = (all.len(), all.overdue(now), all.revoked()),
        }
        metrics.gauge(table::CRL_LISTS, ["current"]).set(count(lists - overdue));
        metrics.gauge(table::CRL_LISTS, ["overdue"]).set(count(overdue));
        metrics.gauge(table::CRL_REVOKED, []).set(count(revoked));
        metrics.gauge(table::CRL_UNREADABLE, []).set(unreadable);
        metrics.counter(table::TASK_PANICS, []).raise_to(self.panics.count());
        metrics.counter(table::LOG_LINES_DROPPED, []).raise_to(self.dropped.count());
        self.pool(metrics);
        metrics.sweep(tokio::time::Instant::now());
    }

    /// The threads that carry connections, in the words of Istio's node proxy.
    fn pool(&self, metrics: &Metrics) {
        let threads: Vec<_> = self.shared.threads.runtimes().iter().map(Handle::metrics).collect();
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let sum = |of: fn(&RuntimeMetrics) -> usize| count(threads.iter().map(of).sum());
        metrics.gauge(table::TOKIO_WORKERS, []).set(count(threads.len()));
        metrics.gauge(table::TOKIO_QUEUE_DEPTH, []).set(sum(RuntimeMetrics::global_queue_depth));
        metrics.gauge(table::TOKIO_ALIVE_TASKS, []).set(sum(RuntimeMetrics::num_alive_tasks));
        for (number, thread) in threads.iter().enumerate() {
            let name = number.to_string();
            let raise = |metric, total| metrics.counter(metric, [&name]).raise_to(total);
            // Each is a runtime of one worker.
            raise(table::TOKIO_WORKER_BUSY, thread.worker_total_busy_duration(0).as_secs());
            raise(table::TOKIO_WORKER_PARKS, thread.worker_park_count(0));
            raise(table::TOKIO_WORKER_TURNS, thread.worker_park_unpark_count(0));
        }
    }

    fn certificates(&self) -> Value {
        let now = SystemTime::now();
        let mut reports = self.certs.report();
        reports.sort_by(|a, b| a.identity.cmp(&b.identity));
        let one = |report: &crate::identity::certs::Report| {
            json!({
                "identity": report.identity.to_string(),
                "state": if report.not_after.is_some_and(|at| at > now) { "Available" } else { "Unavailable" },
                "pods": report.references,
                "secondsToExpiry": report.not_after.map(|at| seconds_until(at, now)),
                "rootSecondsToExpiry": report.roots_not_after.map(|at| seconds_until(at, now)),
                "failures": report.failures,
                "lastError": report.last_error.as_ref().map(|error| chain(&**error)),
            })
        };
        reports.iter().map(one).collect()
    }

    fn connections(&self) -> Value {
        let one = |connection: &Arc<Connection>| {
            let facts = &connection.facts;
            let (up, down) = connection.meter.read();
            json!({
                "reporter": facts.reporter.as_str(),
                "road": facts.road.as_str(),
                "client": facts.client.to_string(),
                "destination": facts.destination.to_string(),
                "hop": facts.hop.map(|hop| hop.to_string()),
                "clientIdentity": facts.client_identity.as_ref().map(ToString::to_string),
                "serverIdentity": facts.server_identity.as_ref().map(ToString::to_string),
                "ageMs": u64::try_from(connection.opened.elapsed().as_millis()).unwrap_or(u64::MAX),
                "bytesUp": up,
                "bytesDown": down,
            })
        };
        let mut pods = serde_json::Map::new();
        let mut left = MAX_LISTED;
        for pod in self.shared.local.all() {
            let all: Vec<_> = pod.opened().all().into_iter().chain(pod.arrived().all()).take(left).collect();
            left -= all.len();
            pods.insert(pod.pod().key.to_string(), all.iter().map(one).collect());
        }
        Value::Object(pods)
    }

    fn explain(&self, query: &str) -> Result<Value, NoAnswer> {
        let refused = |status, message| NoAnswer { status, message };
        let question =
            Question::from_query(query).map_err(|error| refused(StatusCode::BAD_REQUEST, error.to_string()))?;
        let place = Place { network: &self.shared.config.network, domains: self.shared.trust.domains() };
        let answered = answer(&question, place, &self.shared.mesh.view(), SystemTime::now());
        let answered = answered.map_err(|error| {
            let status = match error.flaw {
                Flaw::Unknown => StatusCode::NOT_FOUND,
                Flaw::Vague => StatusCode::BAD_REQUEST,
            };
            refused(status, error.to_string())
        })?;
        serde_json::to_value(answered).map_err(|error| refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
    }

    fn flows(&self) -> Value {
        let seen = self.shared.flows.seen(tokio::time::Instant::now());
        let page = FlowsPage { seen, mesh: self.mesh.clone() };
        // Plain values of a fixed shape: there is nothing that JSON could not say.
        serde_json::to_value(page).unwrap_or_default()
    }

    fn node(&self) -> Value {
        json!({
            "name": &*self.node,
            "network": &*self.shared.config.network,
            "redirection": self.redirection.name(),
            "sameNodeLane": self.shared.config.same_node_lane,
            "meshVersion": self.shared.mesh.view().version(),
            "controlPlane": self.control_plane.as_ref().map(|status| currency(&status.borrow(), SystemTime::now())),
        })
    }

    fn pods(&self) -> Value {
        let proxies = self.shared.local.all();
        let by_uid: HashMap<_, _> = proxies.iter().filter(|p| !p.is_closing()).map(|p| (&p.pod().uid, p)).collect();
        let one = |status: &PodStatus| {
            let proxy = by_uid.get(&status.pod.uid);
            let addresses = proxy.map_or_else(|| status.pod.addresses.clone(), |proxy| proxy.addresses().to_vec());
            json!({
                "name": &*status.pod.key.name,
                "namespace": &*status.pod.key.namespace,
                "uid": &*status.pod.uid,
                "serviceAccount": &*status.pod.service_account,
                "addresses": addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "netns": status.pod.netns.as_ref().map(ToString::to_string),
                "membership": status.membership.to_string(),
                "state": state(&status.state),
                "error": match &status.state { State::Failed(error) => Some(&**error), _ => None },
                "healed": status.healed,
                "connections": proxy.as_ref().map(|proxy| proxy.opened().len() + proxy.arrived().len()),
                "tunnels": proxy.as_ref().map(|proxy| proxy.tunnels()),
            })
        };
        self.pods.borrow().iter().map(one).collect()
    }

    fn policies(&self) -> Value {
        let view = self.shared.mesh.view();
        let mut policies: Vec<_> = view.policies().cloned().collect();
        policies.sort_by(|a, b| a.key.cmp(&b.key));
        let one = |policy: &Arc<crate::model::policy::Policy>| {
            json!({
                "name": &*policy.key.name,
                "namespace": &*policy.key.namespace,
                "scope": format!("{:?}", policy.scope),
                "action": format!("{:?}", policy.action),
                "dryRun": policy.dry_run,
                "timezone": policy.zone.name(),
                "groups": policy.groups.len(),
            })
        };
        policies.iter().take(MAX_LISTED).map(one).collect()
    }

    fn statuses(&self) -> Value {
        statuses::page(&self.policies.borrow())
    }

    fn workloads(&self) -> Value {
        let view = self.shared.mesh.view();
        let mut workloads: Vec<_> = view.workloads().cloned().collect();
        workloads.sort_by(|a, b| a.uid.cmp(&b.uid));
        let one = |workload: &Arc<crate::mesh::Held>| {
            json!({
                "uid": &*workload.uid,
                "name": &*workload.name,
                "namespace": &*workload.namespace,
                "identity": workload.identity().to_string(),
                "addresses": workload.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "node": &*workload.node,
                "protocol": match workload.tunnel { Tunnel::Hbone => "HBONE", Tunnel::None => "TCP" },
                "healthy": workload.healthy,
                "policies": workload.policies.iter().map(ToString::to_string).collect::<Vec<_>>(),
            })
        };
        workloads.iter().take(MAX_LISTED).map(one).collect()
    }
}

const fn state(state: &State) -> &'static str {
    match state {
        State::Enrolled => "enrolled",
        State::Enrolling => "enrolling",
        State::Failed(_) => "failed",
        State::Out => "out",
        State::Withdrawing => "withdrawing",
    }
}
