//! What a node in ztunnel's place shows: Istio's dump, and the orders that its tools give.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Map, Value};

use super::Seen;
use crate::admin::istio::{
    self, Certificate, CertificateState, Connection, Connections, Dump, Info, PodEntry, PodState, Protocol, Version,
};
use crate::admin::{Order, Pages};
use crate::config::local::echo;
use crate::config::node::NodeSettings;
use crate::config::source::MeshSource;
use crate::enroll::manager::{PodStatus, State};
use crate::identity::certs::Report;
use crate::proxy::connections::Connection as Live;
use crate::runtime::shutdown::Shutdown;
use crate::telemetry::access::Road;
use crate::telemetry::cause::chain;
use crate::telemetry::log::Levels;
use crate::telemetry::metrics::Reporter;

/// What of the settings the dump has.
pub(in crate::role::node) struct Face {
    config: Value,
    local: Value,
    istio_version: Option<String>,
}

// === impl Face ===

impl Face {
    /// [`None`] where the node is not in ztunnel's place.
    pub(in crate::role::node) fn of(settings: &NodeSettings) -> Option<Self> {
        let drop_in = settings.drop_in.as_ref()?;
        let mut config: Map<String, Value> =
            settings.rows.iter().map(|[key, value, _]| (camel(key), value.clone().into())).collect();
        config.insert("proxyArgs".into(), drop_in.arguments.join(" ").into());
        // Names alone: a value may be a secret.
        let names = |headers: &[crate::config::secret::Header]| -> Value {
            headers.iter().map(|header| header.name.as_str()).collect()
        };
        config.insert("xdsHeaders".into(), names(&drop_in.xds_headers));
        config.insert("caHeaders".into(), names(&drop_in.ca_headers));
        let local = match settings.mesh_source() {
            MeshSource::ControlPlane { local: Some(local), .. } | MeshSource::Local(local) => echo(local),
            MeshSource::ControlPlane { local: None, .. } | MeshSource::Manifests(_) => Value::Object(Map::new()),
        };
        Some(Self { config: config.into(), local, istio_version: drop_in.istio_version.clone() })
    }
}

/// `leaf-ttl` is `leafTtl`.
fn camel(key: &str) -> String {
    let mut parts = key.split('-');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |mut all, part| {
        let mut letters = part.chars();
        all.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        all.push_str(letters.as_str());
        all
    })
}

/// What Istio's tools order.
pub(super) fn orders(levels: Levels, shutdown: &Shutdown) -> Vec<Order> {
    vec![
        istio::logging(levels),
        istio::quit(shutdown.clone()),
        istio::profile(),
        istio::heap(),
        istio::heap_profiling(),
    ]
}

/// The pages with Istio's dump, where the node is in ztunnel's place.
pub(super) fn with_dump(pages: Pages, seen: &Arc<Seen>) -> Pages {
    if seen.face.is_none() {
        return pages;
    }
    let seen = Arc::clone(seen);
    pages.with_dump(move || dump(&seen))
}

fn dump(seen: &Seen) -> Dump {
    let now = SystemTime::now();
    let pods = seen.pods.borrow().clone();
    let carried = pods.iter().filter(|pod| !matches!(pod.state, State::Out));
    let face = seen.face.as_ref();
    Dump {
        view: seen.shared.mesh.view(),
        certificates: seen.certs.report().iter().map(|report| certificate(report, now)).collect(),
        pods: carried.map(|pod| (pod.pod.uid.to_string(), entry(seen, pod))).collect(),
        static_config: face.map_or(Value::Null, |face| face.local.clone()),
        version: Version::of_this_build(face.and_then(|face| face.istio_version.as_deref())),
        config: face.map_or(Value::Null, |face| face.config.clone()),
        more: BTreeMap::new(),
    }
}

fn certificate(report: &Report, now: SystemTime) -> Certificate {
    let state = match (&report.not_after, &report.last_error) {
        (Some(at), _) if *at > now => CertificateState::Available,
        (_, Some(error)) => CertificateState::Unavailable(chain(&**error)),
        (Some(_), None) => CertificateState::Unavailable("expired".to_owned()),
        (None, None) => CertificateState::Initializing,
    };
    Certificate { identity: report.identity.to_string(), state, chain: Vec::new(), roots: Vec::new() }
}

fn entry(seen: &Seen, status: &PodStatus) -> PodEntry {
    let pod = &status.pod;
    let proxy = pod.addresses.first().and_then(|ip| seen.shared.local.at(*ip));
    let all = |live: Vec<Arc<Live>>| live.iter().take(super::MAX_LISTED).map(|one| connection(one)).collect();
    PodEntry {
        state: if matches!(status.state, State::Enrolled) { PodState::Up } else { PodState::Pending },
        connections: Connections {
            inbound: proxy.as_ref().map_or_else(Vec::new, |proxy| all(proxy.arrived().all())),
            outbound: proxy.as_ref().map_or_else(Vec::new, |proxy| all(proxy.opened().all())),
        },
        info: Info {
            name: Arc::clone(&pod.key.name),
            namespace: Arc::clone(&pod.key.namespace),
            trust_domain: seen.mesh.trust_domain.as_str().into(),
            service_account: Arc::clone(&pod.service_account),
        },
    }
}

fn connection(of: &Live) -> Connection {
    let facts = &of.facts;
    let outbound = facts.reporter == Reporter::Source;
    let (original_dst, actual) = if outbound {
        (Some(facts.destination.to_string()), facts.hop.unwrap_or(facts.destination))
    } else {
        (facts.service.as_ref().map(|service| service.hostname.to_string()), facts.destination)
    };
    Connection {
        src: facts.client.to_string(),
        original_dst,
        actual_dst: actual.to_string(),
        protocol: if facts.road == Road::Hbone { Protocol::Hbone } else { Protocol::Tcp },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_written_as_istio_writes_them() {
        for (key, expected) in
            [("node", "node"), ("leaf-ttl", "leafTtl"), ("max-connections-per-pod", "maxConnectionsPerPod")]
        {
            assert_eq!(camel(key), expected);
        }
    }
}
