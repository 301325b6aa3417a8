//! The same-node lane: both pods are enrolled here, so policy is judged here and the sockets are
//! joined in the kernel. Nothing is encrypted because nothing leaves this process and kernel.

use std::pin::pin;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::net::TcpStream;

use super::attempts::{Blame, Failed};
use super::captured::{Attempted, Captured};
use crate::authz::Request;
use crate::proxy::connections::{Connection, Facts, Registered};
use crate::proxy::outcome::Failure;
use crate::proxy::pod::PodProxy;
use crate::proxy::relay::{Ended, Meter, joined::join, unless_ended};
use crate::route::inbound::{Inbound, inbound, service_of};
use crate::route::outbound::Target;
use crate::runtime::tasks::Place;
use crate::sys::socket::reset_on_close;
use crate::telemetry::metrics::Reporter;

/// The neighbour's application, which has taken the connection.
pub(super) struct Near {
    server: TcpStream,
    neighbour: Arc<PodProxy>,
    /// The connection as it was judged; revocation finds it until the carried one is listed.
    judged: Registered,
    /// The neighbour's: the connection is one of those that it may have.
    place: Place,
}

/// Judges the connection as its destination would on arrival, and dials the application there.
pub(super) async fn open(captured: &Captured, attempted: &Attempted, target: &Target) -> Result<Near, Failed> {
    let shared = &captured.pod.shared;
    // It was there when the road was chosen.
    let Some(neighbour) = shared.local.at(target.at.ip()) else {
        return Err(Failed { why: Failure::Drained, blame: Blame::Stale });
    };
    let facts = arriving(captured, attempted, &neighbour);
    // Listed before it is judged: a policy that changes meanwhile finds it.
    let meter = Arc::new(Meter::default());
    let judged = neighbour.arrived.register(Connection::new(facts, captured.accepted, meter));
    let connection = Arc::clone(&judged);
    let dialled = {
        let dial = pin!(dial(captured, &neighbour, target));
        unless_ended(&connection, dial).await
    };
    let why = match dialled {
        Ok((server, place)) => return Ok(Near { server, neighbour, judged, place }),
        Err(Ended::Cut(why)) => why.of_ended(),
        Err(Ended::Failed(why)) => why,
    };
    let blame = match &why {
        // The pod leaves: the tunnel, or another endpoint.
        Failure::Drained => Blame::Stale,
        Failure::AppConnect { source, .. } if super::plain::of_ours(source) => Blame::Final,
        Failure::AppConnect { .. }
        | Failure::AppTimeout { .. }
        | Failure::Limit { .. }
        | Failure::NoPolicies { .. }
        | Failure::NotOurs { .. }
        | Failure::UnknownWorkload { .. } => Blame::Endpoint,
        _ => Blame::Final,
    };
    if blame != Blame::Stale {
        let facts = judged.facts.clone();
        shared.report.open_one(captured.accepted, facts, &neighbour.arrived).close(Err(&why), true);
    }
    Err(Failed { why, blame })
}

async fn dial(captured: &Captured, neighbour: &PodProxy, target: &Target) -> Result<(TcpStream, Place), Failure> {
    let (client, to) = (captured.client, target.at);
    // The same question as for a connection that came by the wire.
    match inbound(to, &neighbour.addresses()) {
        Inbound::Here(_) => {}
        Inbound::Loop => return Err(Failure::Loop),
        Inbound::NotOurs | Inbound::Unknown => return Err(Failure::NotOurs { to }),
    }
    // Looked at after it was listed: whoever closes the pod ends what is listed then.
    if neighbour.is_closing() {
        return Err(Failure::Drained);
    }
    let place = neighbour.tasks.place().map_err(|full| Failure::Limit { limit: full.limit })?;
    let now = SystemTime::now();
    let request =
        Request { peer: Some(&captured.pod.identity), foreign: false, source: client.ip(), destination: to, now };
    let permit = neighbour.admit(&request).await?;
    Ok((neighbour.dial_app(permit, to, client.ip()).await?, place))
}

/// What both reporters know: both identities, because both pods are enrolled here.
fn facts(captured: &Captured, attempted: &Attempted, neighbour: &PodProxy) -> Facts {
    Facts {
        client_identity: Some(captured.pod.identity.clone()),
        server_identity: Some(neighbour.identity.clone()),
        ..captured.facts(attempted)
    }
}

fn arriving(captured: &Captured, attempted: &Attempted, neighbour: &PodProxy) -> Facts {
    let facts = facts(captured, attempted, neighbour);
    let host = facts.service.as_ref().map(|service| &*service.hostname);
    let target = facts.target.as_deref();
    let view = captured.pod.shared.mesh.view();
    let service = target.and_then(|target| service_of(target, host, facts.destination.port(), &view));
    Facts { reporter: Reporter::Destination, service, ..facts }
}

/// Joins the two sockets.
pub(super) async fn carry(captured: Captured, near: Near, attempted: &Attempted) {
    let Near { server, neighbour, judged, place: _place } = near;
    let shared = Arc::clone(&captured.pod.shared);
    let source_side = facts(&captured, attempted, &neighbour);
    let destination_side = arriving(&captured, attempted, &neighbour);
    let reporters = vec![(source_side, &captured.pod.opened), (destination_side, &neighbour.arrived)];
    let open = shared.report.open(&judged, reporters);
    drop(judged);

    // One end for both of them.
    let connection = Arc::clone(open[0].connection());
    let relay = pin!(join(&captured.stream, &server, &shared.pipes, &connection.meter, shared.config.half_open));
    let result = unless_ended(&connection, relay).await;
    if result.is_err() {
        reset_on_close(&server);
        reset_on_close(&captured.stream);
    }
    for open in open {
        open.close(result.as_ref().map(drop).map_err(|why| why.as_ref()), false);
    }
}

#[cfg(test)]
mod tests;
