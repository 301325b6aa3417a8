//! What a node in ztunnel's place shows: Istio's dump, and the orders that its tools give.

use std::collections::HashMap;
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
use crate::identity::held::{Held, State as HeldState};
use crate::proxy::connections::Connection as Live;
use crate::proxy::pod::PodProxy;
use crate::runtime::shutdown::Shutdown;
use crate::telemetry::access::Road;
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
        let config = super::settings::dumped(settings)?;
        let local = match settings.mesh_source() {
            MeshSource::ControlPlane { local: Some(local), .. } | MeshSource::Local(local) => echo(local),
            MeshSource::ControlPlane { local: None, .. } | MeshSource::Manifests(_) => Value::Object(Map::new()),
        };
        Some(Self { config: config.into(), local, istio_version: drop_in.istio_version.clone() })
    }
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
    let live = seen.shared.local.all().into_iter().filter(|proxy| !proxy.is_closing());
    let proxies: HashMap<_, _> = live.map(|proxy| (Arc::clone(&proxy.pod().uid), proxy)).collect();
    Dump {
        view: seen.shared.mesh.view(),
        certificates: seen.certs.held().into_iter().map(certificate).collect(),
        pods: carried.map(|pod| (pod.pod.uid.to_string(), entry(seen, pod, proxies.get(&pod.pod.uid)))).collect(),
        static_config: face.map_or(Value::Null, |face| face.local.clone()),
        version: Version::of_this_build(face.and_then(|face| face.istio_version.as_deref())),
        config: face.map_or(Value::Null, |face| face.config.clone()),
        more: seen
            .control_plane
            .as_ref()
            .map(|status| ("controlPlane".to_owned(), super::currency(&status.borrow(), now)))
            .into_iter()
            .collect(),
    }
}

fn certificate(held: Held) -> Certificate {
    let Held { identity, state, chain, roots } = held;
    let state = match state {
        HeldState::Available => CertificateState::Available,
        HeldState::Initializing => CertificateState::Initializing,
        HeldState::Unavailable(why) => CertificateState::Unavailable(why),
    };
    Certificate { identity: identity.to_string(), state, chain, roots }
}

fn entry(seen: &Seen, status: &PodStatus, proxy: Option<&Arc<PodProxy>>) -> PodEntry {
    let pod = &status.pod;
    let all = |live: Vec<Arc<Live>>| live.iter().take(super::MAX_LISTED).map(|one| connection(one)).collect();
    PodEntry {
        state: if matches!(status.state, State::Enrolled | State::Withdrawing) {
            PodState::Up
        } else {
            PodState::Pending
        },
        connections: Connections {
            inbound: proxy.map_or_else(Vec::new, |proxy| all(proxy.arrived().all())),
            outbound: proxy.map_or_else(Vec::new, |proxy| all(proxy.opened().all())),
        },
        info: Info {
            name: Arc::clone(&pod.key.name),
            namespace: Arc::clone(&pod.key.namespace),
            trust_domain: proxy.map_or_else(
                || seen.mesh.trust_domain.as_str().into(),
                |proxy| Arc::clone(&proxy.identity().trust_domain),
            ),
            service_account: Arc::clone(&pod.service_account),
        },
    }
}

fn connection(of: &Live) -> Connection {
    let facts = &of.facts;
    let outbound = facts.reporter == Reporter::Source;
    let (original_dst, actual) = if outbound {
        let asked = facts.host.as_ref().map(|host| format!("{host}:{}", facts.destination.port()));
        (Some(asked.unwrap_or_else(|| facts.destination.to_string())), facts.hop.unwrap_or(facts.destination))
    } else {
        (facts.service.as_ref().map(|service| service.hostname.to_string()), facts.destination)
    };
    Connection {
        src: facts.client.to_string(),
        original_dst,
        actual_dst: actual.to_string(),
        protocol: match facts.road {
            // Only a gateway of another network is asked by name.
            Road::Hbone if outbound && facts.host.is_some() => Protocol::DoubleHbone,
            Road::Hbone => Protocol::Hbone,
            Road::Plain | Road::Refused | Road::SameNode => Protocol::Tcp,
        },
    }
}
