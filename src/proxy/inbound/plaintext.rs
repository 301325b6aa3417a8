//! Plaintext that was redirected on its way into the pod. It has no identity; policy may still admit it.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::authz::Request;
use crate::proxy::connections::Facts;
use crate::proxy::outcome::Failure;
use crate::proxy::pod::PodProxy;
use crate::proxy::relay::{joined::join, unless_ended};
use crate::route::inbound::{Inbound, inbound, service_of};
use crate::sys::socket;
use crate::telemetry::access::Road;
use crate::telemetry::metrics::Reporter;

/// Carries one captured connection to its end.
pub(in crate::proxy) async fn handle(pod: Arc<PodProxy>, stream: TcpStream, client: SocketAddr) {
    let accepted = Instant::now();
    let shared = Arc::clone(&pod.shared);
    let Some(destination) = socket::original_destination(&stream) else {
        socket::reset_on_close(&stream);
        return shared.report.refused(Reporter::Destination, &pod, client, &Failure::Uncaptured);
    };
    let view = shared.mesh.view();
    let own = pod.workload(&view).cloned();
    let facts = Facts {
        reporter: Reporter::Destination,
        road: Road::Plain,
        client,
        destination,
        host: None,
        hop: None,
        client_identity: None,
        server_identity: None,
        source: shared.source(&view, client.ip()),
        service: own.as_deref().and_then(|own| service_of(own, None, destination.port(), &view)),
        target: own,
        revoked: None,
    };
    drop(view);
    let open = shared.report.open_one(accepted, facts, &pod.arrived);
    let connection = Arc::clone(open.connection());
    // A block of its own: the dial's memory is free again while bytes are carried.
    let dialled = {
        let dial = pin!(async {
            let to = match inbound(destination, &pod.addresses()) {
                Inbound::Here(here) => here.dial,
                Inbound::Loop => return Err(Failure::Loop),
                Inbound::NotOurs | Inbound::Unknown => return Err(Failure::NotOurs { to: destination }),
            };
            let request =
                Request { peer: None, foreign: false, source: client.ip(), destination, now: SystemTime::now() };
            let permit = pod.admit(&request).await?;
            pod.dial_app(permit, to, client.ip()).await
        });
        unless_ended(&connection, dial).await
    };
    let (result, refused) = match dialled {
        Err(why) => (Err(why), true),
        Ok(server) => {
            let relay = pin!(join(&stream, &server, &shared.pipes, &connection.meter, shared.config.half_open));
            let result = unless_ended(&connection, relay).await;
            if result.is_err() {
                socket::reset_on_close(&server);
            }
            (result, false)
        }
    };
    if result.is_err() {
        socket::reset_on_close(&stream);
    }
    open.close(result.as_ref().map(drop).map_err(|why| why.as_ref()), refused);
}
