//! A captured connection, from the accept to its road.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{express, plain, tunnel};
use crate::model::service::Service;
use crate::model::workload::Workload;
use crate::proxy::connections::Facts;
use crate::proxy::outcome::Failure;
use crate::proxy::pod::PodProxy;
use crate::route::outbound::{Facts as RouteFacts, Refusal, Route, outbound};
use crate::sys::socket;
use crate::telemetry::access::Road;
use crate::telemetry::metrics::Reporter;

/// A captured connection of a pod.
pub(super) struct Captured {
    pub(super) pod: Arc<PodProxy>,
    pub(super) stream: TcpStream,
    pub(super) client: SocketAddr,
    /// What the application dialled.
    pub(super) destination: SocketAddr,
    pub(super) accepted: Instant,
    /// The pod's own record.
    pub(super) source: Option<Arc<Workload>>,
    /// The service whose address was dialled.
    pub(super) service: Option<Arc<Service>>,
}

/// Carries one captured connection to its end.
pub(in crate::proxy) async fn handle(pod: Arc<PodProxy>, stream: TcpStream, client: SocketAddr) {
    let accepted = Instant::now();
    let Some(destination) = socket::original_destination(&stream) else {
        socket::reset_on_close(&stream);
        pod.shared.report.refused(Reporter::Source, &pod, client, &Failure::Uncaptured);
        return;
    };
    let Ok(listener) = stream.local_addr().map(socket::canonical) else { return };
    let view = pod.shared.mesh.view();
    let config = &pod.shared.config;
    let neighbour = config.same_node_lane.then(|| pod.shared.local.at(destination.ip())).flatten();
    let facts = RouteFacts {
        network: &config.network,
        client: client.ip(),
        destination,
        listener,
        neighbour: neighbour.as_ref().map(|pod| pod.identity()),
        own: &pod.pod.addresses,
    };
    let route = outbound(&facts, &view);
    let source = pod.workload(&view).cloned();
    let service = view.service_at(&config.network, destination.ip(), Some(&*pod.pod.key.namespace)).cloned();
    drop(view);
    if let (Route::Passthrough, Some(service)) = (&route, &service) {
        pod.shared.plain_services.tell(service);
    }
    let captured = Captured { pod, stream, client, destination, accepted, source, service };
    match (route, neighbour) {
        (Route::Passthrough, _) => plain::carry(captured, None).await,
        (Route::Direct { workload }, _) => plain::carry(captured, Some(workload)).await,
        (Route::Express { workload }, Some(neighbour)) => express::carry(captured, workload, neighbour).await,
        // The lane is only ever chosen with a neighbour.
        (Route::Express { workload }, None) => {
            captured.refuse(&Failure::UnknownWorkload { to: destination }, Some(workload))
        }
        (Route::Hbone(hbone), _) => tunnel::carry(captured, hbone).await,
        (Route::Refuse(Refusal::Loop), _) => captured.refuse(&Failure::Loop, None),
    }
}

// === impl Captured ===

impl Captured {
    /// What the source's reporter knows before anything was tried.
    pub(super) fn facts(&self, road: Road, target: Option<Arc<Workload>>) -> Facts {
        Facts {
            reporter: Reporter::Source,
            road,
            client: self.client,
            destination: self.destination,
            hop: None,
            client_identity: None,
            server_identity: None,
            source: self.source.clone(),
            target,
            service: self.service.clone(),
        }
    }

    /// Ends a connection that takes no road: reset, one line, one count.
    pub(super) fn refuse(self, why: &Failure, target: Option<Arc<Workload>>) {
        let facts = self.facts(Road::Plain, target);
        self.refuse_with(facts, why);
    }

    pub(super) fn refuse_with(self, facts: Facts, why: &Failure) {
        socket::reset_on_close(&self.stream);
        self.pod.shared.report.open_one(self.accepted, facts, &self.pod.opened).close(Err(why), true);
    }
}
