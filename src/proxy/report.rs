//! One line and one count for each connection and reporter.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::Instant;

use super::connections::{Connection, Connections, Facts, Registered};
use super::outcome::Failure;
use super::pod::PodProxy;
use super::relay::Meter;
use crate::authz::{Observation, Request};
use crate::mesh::Held;
use crate::model::spiffe::Identity;
use crate::telemetry::access::{self, AccessRecord, Asked, Direction, Party, Road};
use crate::telemetry::cause::chain;
use crate::telemetry::metrics::{Metrics, Peer, Reporter, SecurityPolicy, Traffic, TrafficLabels, table};

/// Where connections are reported to.
#[derive(Clone, Debug)]
pub struct Report {
    pub metrics: Metrics,
    /// One line in the log for each connection and reporter.
    pub access_log: bool,
}

/// A connection that is counted as open. [`Open::close`] says how it ended; a drop is a cut.
#[must_use = "a connection is closed with what became of it"]
pub struct Open {
    registered: Registered,
    traffic: Option<Traffic>,
    report: Report,
}

/// A label whose value nobody proved.
const UNKNOWN: &str = "unknown";

// === impl Report ===

impl Report {
    /// Counts `judged`, which is open now, for each of `reporters` (same node) and puts it into their pods' lists. The
    /// first is the one that opened it. They share one meter, and one end with `judged`.
    pub fn open(&self, judged: &Connection, reporters: Vec<(Facts, &Arc<Connections>)>) -> Vec<Open> {
        let traffics: Vec<_> = reporters.iter().map(|(facts, _)| self.metrics.open(&labels(facts))).collect();
        let meter = Arc::new(Meter::new(traffics.iter().map(Traffic::counters).collect()));
        let open = |((facts, list), traffic): ((Facts, &Arc<Connections>), Traffic)| {
            let registered = list.register(Connection::opened(judged, facts, Arc::clone(&meter)));
            self.opened(registered, traffic)
        };
        reporters.into_iter().zip(traffics).map(open).collect()
    }

    /// As [`Report::open`], for one reporter.
    pub fn open_one(&self, opened: Instant, facts: Facts, list: &Arc<Connections>) -> Open {
        let traffic = self.metrics.open(&labels(&facts));
        let meter = Arc::new(Meter::new(vec![traffic.counters()]));
        let registered = list.register(Connection::new(facts, opened, meter));
        self.opened(registered, traffic)
    }

    fn opened(&self, registered: Registered, traffic: Traffic) -> Open {
        if self.access_log && AccessRecord::tells_opened() {
            record(&registered, None, false).emit_opened();
        }
        Open { registered, traffic: Some(traffic), report: self.clone() }
    }

    /// A connection that was refused before its destination was known.
    pub fn refused(&self, reporter: Reporter, pod: &PodProxy, client: SocketAddr, why: &Failure) {
        self.count_refusal(reporter, why);
        if !self.access_log {
            return;
        }
        let own = Party {
            workload: Some(Arc::clone(&pod.pod().key.name)),
            namespace: Some(Arc::clone(&pod.pod().key.namespace)),
            ..Party::default()
        };
        let peer = Party { address: Some(client), ..Party::default() };
        let (source, destination) = match reporter {
            Reporter::Source => (Party { address: Some(client), ..own }, Party::default()),
            Reporter::Destination => (peer, own),
        };
        AccessRecord {
            direction: direction(reporter),
            source,
            destination,
            hbone_address: None,
            service: None,
            road: Road::Refused,
            connection_security_policy: SecurityPolicy::Unknown.as_str(),
            bytes_sent: 0,
            bytes_received: 0,
            duration: std::time::Duration::ZERO,
            failure: Some(failure(why)),
        }
        .emit();
    }

    /// A connection of `source` needs the address of a workload that has the name `hostname` alone.
    pub fn looks_up(&self, source: Option<&Held>, hostname: &str) {
        let Peer {
            workload, canonical_service, canonical_revision, namespace, principal, app, version, cluster, ..
        } = peer(source, None);
        let source = [workload, canonical_service, canonical_revision, namespace, principal, app, version, cluster]
            .map(|label| {
                // A label that nobody knows is written so.
                label.unwrap_or_else(|| UNKNOWN.into())
            });
        let [a, b, c, d, e, f, g, h] = &source;
        self.metrics.counter(table::ON_DEMAND_DNS, [a, b, c, d, e, f, g, h, hostname]).increment();
    }

    /// A handshake is over.
    pub fn handshake(&self, reporter: Reporter, resumed: bool) {
        let kind = if resumed { "resumed" } else { "full" };
        self.metrics.counter(table::HANDSHAKES, [reporter.as_str(), kind]).increment();
    }

    /// A peer was refused, or a connection of it ended, because a certificate is revoked.
    pub fn revoked(&self, reporter: Reporter) {
        self.metrics.counter(table::CRL_REJECTIONS, [reporter.as_str()]).increment();
    }

    /// What policies that decide nothing say of a connection: a count and a line for each.
    pub fn observed(&self, request: &Request<'_>, observations: &[Observation], allowed: bool) {
        if observations.is_empty() {
            return;
        }
        let source = request.peer.map_or_else(|| UNKNOWN.to_owned(), ToString::to_string);
        let decision = if allowed { "allowed" } else { "refused" };
        for observation in observations {
            let policy = observation.policy().to_string();
            let (action, outcome) = (observation.action().as_str(), observation.outcome().as_str());
            let labels = [&*policy, &*source, action, outcome, decision];
            self.metrics.counter(table::POLICY_OBSERVATIONS, labels).increment();
            tracing::info!(
                policy,
                rule = observation.rule(),
                action,
                outcome,
                decision,
                src.identity = source,
                src.addr = %request.source,
                dst.addr = %request.destination,
                "policy observed a connection"
            );
        }
    }

    fn count_refusal(&self, reporter: Reporter, why: &Failure) {
        let policy = why.policy().unwrap_or_default();
        self.metrics.counter(table::REFUSALS, [reporter.as_str(), why.reason(), &policy]).increment();
    }
}

// === impl Open ===

impl Open {
    pub fn connection(&self) -> &Arc<Connection> {
        &self.registered
    }

    /// The connection is over. `refused` tells one that never carried a byte from one that broke.
    pub fn close(mut self, result: Result<(), &Failure>, refused: bool) {
        let connection = Arc::clone(&self.registered);
        if let Some(traffic) = self.traffic.take() {
            match result {
                Ok(()) => traffic.close(Default::default()),
                Err(why) => traffic.close(why.flags()),
            }
        }
        let Facts { reporter, .. } = connection.facts;
        if matches!(result, Err(Failure::PeerRevoked)) {
            self.report.revoked(reporter);
        }
        if let (Err(why), true) = (result, refused) {
            self.report.count_refusal(reporter, why);
        }
        if self.report.access_log {
            record(&connection, result.err(), refused).emit();
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // A task that was cut never came to `close`.
        if let Some(traffic) = self.traffic.take() {
            traffic.close(Failure::Drained.flags());
            if self.report.access_log {
                record(&self.registered, Some(&Failure::Drained), false).emit();
            }
        }
    }
}

fn record(connection: &Connection, why: Option<&Failure>, refused: bool) -> AccessRecord {
    let facts = &connection.facts;
    let (up, down) = connection.meter.read();
    let (bytes_sent, bytes_received) = match facts.reporter {
        Reporter::Source => (up, down),
        Reporter::Destination => (down, up),
    };
    // A peer that says who it is may have left out either.
    let said = |text: &Arc<str>| (!text.is_empty()).then(|| Arc::clone(text));
    let party = |address, workload: &Option<Arc<Held>>, identity: &Option<Identity>| Party {
        address: Some(address),
        workload: workload.as_ref().and_then(|w| said(&w.name)),
        namespace: workload.as_ref().and_then(|w| said(&w.namespace)),
        identity: identity.as_ref().map(|id| id.to_string().into()),
        cluster: workload.as_ref().and_then(|w| said(&w.cluster)),
    };
    // With a tunnel, `dst.addr` is the hop and `dst.hbone_addr` what was asked of it.
    let (address, hbone_address) = match facts.hop {
        Some(hop) => (hop, Some(asked(facts))),
        None => (facts.destination, None),
    };
    AccessRecord {
        direction: direction(facts.reporter),
        source: party(facts.client, &facts.source, &facts.client_identity),
        destination: party(address, &facts.target, &facts.server_identity),
        hbone_address,
        service: facts.service.as_ref().map(|service| Arc::clone(&service.hostname)),
        road: if refused { Road::Refused } else { facts.road },
        connection_security_policy: security(facts).as_str(),
        bytes_sent,
        bytes_received,
        duration: connection.opened.elapsed(),
        failure: why.map(failure),
    }
}

fn asked(facts: &Facts) -> Asked {
    match &facts.host {
        Some(host) => Asked::Name(Arc::clone(host), facts.destination.port()),
        None => Asked::Address(facts.destination),
    }
}

fn failure(why: &Failure) -> access::Failure {
    access::Failure { reason: why.reason().into(), policy: why.policy().map(Into::into), detail: Some(chain(why)) }
}

const fn direction(reporter: Reporter) -> Direction {
    match reporter {
        Reporter::Destination => Direction::Inbound,
        Reporter::Source => Direction::Outbound,
    }
}

/// What really happened, never what was meant: a tunnel that was not opened secured nothing.
fn security(facts: &Facts) -> SecurityPolicy {
    match (facts.road, &facts.client_identity, &facts.server_identity) {
        (Road::Hbone, Some(_), Some(_)) => SecurityPolicy::MutualTls,
        (Road::SameNode, ..) => SecurityPolicy::NodeLocal,
        _ => SecurityPolicy::Unknown,
    }
}

fn labels(facts: &Facts) -> TrafficLabels {
    TrafficLabels {
        reporter: facts.reporter,
        source: peer(facts.source.as_deref(), facts.client_identity.as_ref()),
        destination: peer(facts.target.as_deref(), facts.server_identity.as_ref()),
        destination_service: facts.service.as_ref().map(|service| Arc::clone(&service.hostname)),
        destination_service_namespace: facts.service.as_ref().map(|service| Arc::clone(&service.namespace)),
        destination_service_name: facts.service.as_ref().map(|service| Arc::clone(&service.name)),
        security: security(facts),
    }
}

fn peer(workload: Option<&Held>, identity: Option<&Identity>) -> Peer {
    let principal = identity.map(|id| id.to_string().into());
    let Some(workload) = workload else { return Peer { principal, ..Peer::default() } };
    let known = |value: &Arc<str>| (!value.is_empty()).then(|| Arc::clone(value));
    Peer {
        workload: known(&workload.owner),
        canonical_service: known(&workload.canonical_name),
        canonical_revision: known(&workload.canonical_revision),
        namespace: known(&workload.namespace),
        principal,
        app: known(&workload.canonical_name),
        version: known(&workload.canonical_revision),
        cluster: known(&workload.cluster),
        region: known(&workload.locality.region),
        zone: known(&workload.locality.zone),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::workload::Workload;
    use crate::telemetry::metrics::{Config, Exposition};

    #[test]
    fn a_lookup_is_counted_by_who_needs_it_and_for_whom() {
        let metrics = Metrics::new(Config { series_budget: 10 }, "1");
        let report = Report { metrics: metrics.clone(), access_log: false };
        let source = Held::apart(Workload {
            owner: "web".into(),
            namespace: "shop".into(),
            canonical_name: "front".into(),
            canonical_revision: "v2".into(),
            cluster: "east".into(),
            ..Workload::default()
        });
        report.looks_up(Some(&source), "db.example.com");
        report.looks_up(Some(&source), "db.example.com");
        report.looks_up(None, "db.example.com");
        let text = metrics.render(Exposition::Prometheus);
        let line = |wanted: &str| text.lines().any(|line| line == wanted);
        assert!(
            line(
                "istio_on_demand_dns_total{source_workload=\"web\",source_canonical_service=\"front\",\
                 source_canonical_revision=\"v2\",source_workload_namespace=\"shop\",source_principal=\"unknown\",\
                 source_app=\"front\",source_version=\"v2\",source_cluster=\"east\",hostname=\"db.example.com\"} 2"
            ),
            "{text}"
        );
        assert!(text.contains("source_cluster=\"unknown\",hostname=\"db.example.com\"} 1"), "{text}");
    }
}
