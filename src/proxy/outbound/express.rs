//! The same-node lane: both pods are enrolled here, so policy is judged here and the sockets are
//! joined in the kernel. Nothing is encrypted because nothing leaves this process and kernel.

use std::pin::pin;
use std::sync::Arc;

use super::captured::Captured;
use crate::authz::Request;
use crate::model::workload::Workload;
use crate::proxy::connections::Facts;
use crate::proxy::outcome::Failure;
use crate::proxy::pod::PodProxy;
use crate::proxy::relay::{joined::join, unless_ended};
use crate::route::inbound::{Inbound, inbound};
use crate::sys::socket::reset_on_close;
use crate::telemetry::access::Road;
use crate::telemetry::metrics::Reporter;

/// Judges the connection as its destination would on arrival, dials the application there and joins.
pub(super) async fn carry(captured: Captured, target: Arc<Workload>, neighbour: Arc<PodProxy>) {
    let Captured { client, destination, .. } = captured;
    let shared = Arc::clone(&captured.pod.shared);
    let source_side = Facts {
        client_identity: Some(captured.pod.identity.clone()),
        server_identity: Some(neighbour.identity.clone()),
        ..captured.facts(Road::SameNode, Some(target))
    };
    let destination_side = Facts { reporter: Reporter::Destination, ..source_side.clone() };
    // Both sides list it before it is judged: a policy that changes meanwhile finds it.
    let reporters = vec![(source_side, &captured.pod.opened), (destination_side, &neighbour.arrived)];
    let open = shared.report.open(captured.accepted, reporters);
    let connections: Vec<_> = open.iter().map(|open| Arc::clone(open.connection())).collect();

    let ends: Vec<_> = connections.iter().collect();
    let request = Request { peer: Some(&captured.pod.identity), source: client.ip(), destination };
    // A block of its own: the dial's memory is free again while bytes are carried.
    let dialled = {
        let dial = pin!(async {
            // The same question as for a connection that came by the wire.
            match inbound(destination, &neighbour.pod.addresses) {
                Inbound::Here(_) => {}
                Inbound::Loop => return Err(Failure::Loop),
                Inbound::NotOurs => return Err(Failure::NotOurs { to: destination }),
            }
            // Looked at after it was listed: whoever closes the pod ends what is listed then.
            if neighbour.is_closing() {
                return Err(Failure::Drained);
            }
            let permit = neighbour.admit(&request).await?;
            neighbour.dial_app(permit, destination, client.ip()).await
        });
        unless_ended(&ends, dial).await
    };
    let (result, refused) = match dialled {
        Err(why) => (Err(why), true),
        Ok(server) => {
            let relay = pin!(join(&captured.stream, &server, &shared.pipes, &connections[0].meter));
            let result = unless_ended(&ends, relay).await;
            if result.is_err() {
                reset_on_close(&server);
            }
            (result, false)
        }
    };
    if result.is_err() {
        reset_on_close(&captured.stream);
    }
    for open in open {
        open.close(result.as_ref().map(drop).map_err(|why| why.as_ref()), refused);
    }
}
