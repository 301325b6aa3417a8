//! Plain TCP to what is outside of the mesh: the bytes go as the pod sent them.

use std::pin::pin;
use std::sync::Arc;

use super::captured::Captured;
use crate::model::workload::Workload;
use crate::proxy::relay::{joined::join, unless_ended};
use crate::sys::socket::reset_on_close;
use crate::telemetry::access::Road;

/// Dials the original destination from the pod's namespace and joins the two sockets.
pub(super) async fn carry(captured: Captured, target: Option<Arc<Workload>>) {
    let destination = captured.destination;
    // The pod's own address is the source by itself: this is its namespace.
    let server = match captured.pod.dial(destination, None).await {
        Ok(server) => server,
        Err(error) => return captured.refuse(&error.into_hop_failure(destination), target),
    };
    let shared = Arc::clone(&captured.pod.shared);
    let facts = captured.facts(Road::Plain, target);
    let open = shared.report.open_one(captured.accepted, facts, &captured.pod.opened);
    let connection = Arc::clone(open.connection());
    let relay = pin!(join(&captured.stream, &server, &shared.pipes, &connection.meter));
    let result = unless_ended(&[&connection], relay).await;
    if result.is_err() {
        reset_on_close(&captured.stream);
        reset_on_close(&server);
    }
    open.close(result.as_ref().map(drop).map_err(|why| why.as_ref()), false);
}
