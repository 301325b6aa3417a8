//! Plain TCP to what is outside of the mesh: the bytes go as the pod sent them.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use tokio::net::TcpStream;

use super::attempts::{Blame, Failed};
use super::captured::{Attempted, Captured};
use crate::proxy::dialler::DialError;
use crate::proxy::relay::{joined::join, unless_ended};
use crate::sys::socket::reset_on_close;

/// Dials from the pod's namespace. The pod's own address is the source by itself.
pub(super) async fn dial(captured: &Captured, to: SocketAddr) -> Result<TcpStream, Failed> {
    captured.pod.dial(to, None).await.map_err(|error| {
        let blame = match &error {
            DialError::Connect(e) if of_ours(e) => Blame::Final,
            DialError::Connect(_) | DialError::Timeout(_) => Blame::Endpoint,
            DialError::Namespace(_) => Blame::Final,
        };
        Failed { why: error.into_hop_failure(to), blame }
    })
}

/// An error of this machine that another endpoint would meet as well.
pub(super) fn of_ours(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::AddrInUse | ErrorKind::AddrNotAvailable | ErrorKind::OutOfMemory)
        || matches!(error.raw_os_error(), Some(nix::libc::EMFILE | nix::libc::ENFILE | nix::libc::ENOBUFS))
}

/// Joins the two sockets.
pub(super) async fn carry(captured: Captured, server: TcpStream, attempted: &Attempted) {
    let shared = Arc::clone(&captured.pod.shared);
    let open = shared.report.open_one(captured.accepted, captured.facts(attempted), &captured.pod.opened);
    let connection = Arc::clone(open.connection());
    let relay = pin!(join(&captured.stream, &server, &shared.pipes, &connection.meter, shared.config.half_open));
    let result = unless_ended(&connection, relay).await;
    if result.is_err() {
        reset_on_close(&captured.stream);
        reset_on_close(&server);
    }
    open.close(result.as_ref().map(drop).map_err(|why| why.as_ref()), false);
}
