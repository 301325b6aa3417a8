//! The accept loop of one listener.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::pod::PodProxy;
use crate::sys::socket;
use crate::telemetry::metrics::Reporter;

/// Handles one accepted connection.
pub(super) type Handle = fn(Arc<PodProxy>, TcpStream, SocketAddr) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Pauses after an accept that failed for want of descriptors or memory: at once again would spin.
const PAUSE: Duration = Duration::from_millis(50);

/// When a loop accepts.
pub(super) struct Span {
    pub(super) begin: CancellationToken,
    pub(super) stop: CancellationToken,
}

/// Accepts from the beginning until the stop, or until the pod is gone. What is queued at the stop is served where closing
/// would reset it though others listen on: beside another process's listeners.
pub(super) async fn accept(
    pod: Weak<PodProxy>,
    reporter: Reporter,
    listener: Arc<TcpListener>,
    Span { begin, stop }: Span,
    handle: Handle,
) {
    tokio::select! {
        biased;
        () = stop.cancelled() => return,
        () = begin.cancelled() => {}
    }
    let mut warned = false;
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let Some(pod) = pod.upgrade() else { return };
        match accepted {
            Ok((stream, client)) => {
                warned = false;
                take(&pod, reporter, stream, client, handle);
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                if !warned {
                    tracing::warn!(pod = %pod.pod.key, %error, "cannot accept: raise the limit of open files of this process");
                    warned = true;
                }
                drop(pod);
                drop(tokio::time::timeout(PAUSE, stop.cancelled()).await);
            }
        }
    }
    if !socket::is_beside(&*listener) {
        return;
    }
    // As many as the queue holds: peers must not be able to keep it from ending.
    for _ in 0..socket::BACKLOG {
        let Some(pod) = pod.upgrade() else { return };
        match socket::accept_queued(&listener) {
            Ok(Some((stream, client))) => take(&pod, reporter, stream, client, handle),
            Err(error) if is_of_one_connection(&error) => {}
            Ok(None) | Err(_) => return,
        }
    }
}

/// Starts to serve one.
fn take(pod: &Arc<PodProxy>, reporter: Reporter, stream: TcpStream, client: SocketAddr, handle: Handle) {
    let client = socket::canonical(client);
    if socket::prepare_accepted(&stream).is_err() {
        return; // reset before we came to it
    }
    let handled = Arc::clone(pod);
    if let Err(why) = pod.spawn(async move { handle(handled, stream, client).await }) {
        pod.shared.report.refused(reporter, pod, client, &why);
    }
}

/// Errors that accept(2) passes on from a connection that broke while it was queued (Linux, `man 2 accept`).
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::Interrupted
    )
}
