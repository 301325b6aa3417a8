//! A captured connection, from the accept to its end.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::time::Instant;

use super::attempts::{self, Far, Given, Opened};
use super::{express, plain, tunnel};
use crate::mesh::Held;
use crate::proxy::connections::Facts;
use crate::proxy::outcome::Failure;
use crate::proxy::pod::PodProxy;
use crate::route::outbound::{Decision, Route};
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
    /// Where it was accepted.
    pub(super) listener: SocketAddr,
    pub(super) accepted: Instant,
}

/// What an attempt was made of.
pub(super) struct Attempted {
    pub(super) decision: Decision,
    /// The pod's own record.
    pub(super) source: Option<Arc<Held>>,
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
    let captured = Captured { pod, stream, client, destination, listener, accepted };
    // In a box: what the attempts need is free again while bytes are carried.
    let opened = Box::pin(attempts::open(&captured)).await;
    match opened {
        Err(Given { why, attempted }) => captured.refuse(&why, &attempted),
        Ok(Opened { far: Far::Plain(server), attempted }) => plain::carry(captured, server, &attempted).await,
        Ok(Opened { far: Far::Near(near), attempted }) => express::carry(captured, near, &attempted).await,
        Ok(Opened { far: Far::Tunnel(stream, proven), attempted }) => {
            tunnel::carry(captured, stream, proven, &attempted).await;
        }
    }
}

// === impl Captured ===

impl Captured {
    /// What the source's reporter knows of an attempt. Nothing is proven yet.
    pub(super) fn facts(&self, attempted: &Attempted) -> Facts {
        let route = &attempted.decision.route;
        // A call to a service is one to the endpoint behind it; a waypoint is asked for what was dialled.
        let (road, destination, hop) = match route {
            Route::Hbone(hbone) => (Road::Hbone, hbone.authority, Some(hbone.hop)),
            Route::Beyond(to) => (Road::Hbone, self.destination, Some(to.hop)),
            Route::Express(target) => (Road::SameNode, target.at, None),
            Route::Direct(target) => (Road::Plain, target.at, None),
            Route::Passthrough | Route::Refuse(_) | Route::Resolve(..) => (Road::Plain, self.destination, None),
        };
        Facts {
            reporter: Reporter::Source,
            road,
            client: self.client,
            destination,
            host: match route {
                Route::Beyond(to) => Some(Arc::clone(&to.host)),
                _ => None,
            },
            hop,
            client_identity: None,
            server_identity: None,
            source: attempted.source.clone(),
            target: route.target().map(|target| Arc::clone(&target.workload)),
            service: attempted.decision.service.clone(),
            revoked: None,
        }
    }

    /// Ends a connection that found nobody: reset, one line, one count.
    fn refuse(self, why: &Failure, attempted: &Attempted) {
        let mut facts = self.facts(attempted);
        // Both pods are enrolled here, or this would not have been the road.
        if facts.road == Road::SameNode {
            facts.client_identity = Some(self.pod.identity.clone());
            facts.server_identity = facts.target.as_ref().map(|target| target.identity());
        }
        socket::reset_on_close(&self.stream);
        self.pod.shared.report.open_one(self.accepted, facts, &self.pod.opened).close(Err(why), true);
    }
}
