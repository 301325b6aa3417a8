//! Questions over TCP (RFC 7766).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout, timeout_at};

use super::counted::{Counted, Transport, unanswered};
use super::message::{AXFR, IXFR, Message};
use super::origin::Origins;
use super::pod::{Inner, Step, Whence};
use super::upstream::{read_frame, write_frame};
use crate::sys::socket;

/// How long a connection may say nothing, or take nothing: Istio's.
const IDLE: Duration = Duration::from_secs(5);
/// The whole transfer of a zone.
const TRANSFER: Duration = Duration::from_secs(120);
/// Pauses after an accept that failed for want of descriptors or memory: at once again would spin.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts at one listener. A connection too many is closed.
pub(super) async fn serve(pod: Arc<Inner>, listener: Arc<TcpListener>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => take(&pod, stream),
            Err(error) => {
                tracing::debug!(target: "dns", pod = %pod.pod.key, %error, "cannot accept");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Serves what is queued where closing would reset it though others listen on: beside another process's listeners.
pub(super) fn serve_queued(pod: &Arc<Inner>, listener: &TcpListener) {
    if !socket::is_beside(listener) {
        return;
    }
    for _ in 0..socket::BACKLOG {
        let Ok(Some((stream, _))) = socket::accept_queued(listener) else { return };
        take(pod, stream);
    }
}

fn take(pod: &Arc<Inner>, stream: TcpStream) {
    if socket::prepare_accepted(&stream).is_err() {
        return; // reset before we came to it
    }
    let of = Arc::clone(pod);
    if pod.connections.spawn(async move { converse(&of, stream).await }).is_err() {
        unanswered(&pod.shared.metrics, "limit");
    }
}

/// One question after the other, until the client is silent or gone.
async fn converse(pod: &Inner, mut stream: TcpStream) {
    let server = Origins::of_stream(&stream);
    server.iter().for_each(|server| pod.origins.note(*server));
    let whence = Whence::Stream { server };
    while let Ok(Ok(Some(message))) = timeout(IDLE, read_frame(&mut stream)).await {
        let reply = match pod.look(&message, Transport::Tcp) {
            Step::Nothing => return,
            Step::Reply(reply) => Some(reply),
            Step::Ask(counted) if is_transfer(&message) => {
                // The server says when it is over, and then has nothing more to say.
                return drop(transfer(pod, &mut stream, &message, whence, &counted).await);
            }
            Step::Ask(counted) => pod.ask(&message, whence, &counted).await,
        };
        let Some(reply) = reply else { return };
        if !matches!(timeout(IDLE, write_frame(&mut stream, &reply)).await, Ok(Ok(()))) {
            return;
        }
    }
}

fn is_transfer(message: &[u8]) -> bool {
    let question = Message::new(message).and_then(Message::question);
    question.is_some_and(|question| matches!(question.kind, AXFR | IXFR))
}

/// Many messages to one question (RFC 5936): passed on until the server ends, is silent, or has had its time.
async fn transfer(
    pod: &Inner,
    client: &mut TcpStream,
    query: &[u8],
    whence: Whence,
    counted: &Counted,
) -> io::Result<()> {
    let Some(query) = Message::new(query) else { return Ok(()) };
    let end = Instant::now() + TRANSFER;
    let servers = pod.servers(whence).await;
    let started = Instant::now();
    let asked = pod.upstream.stream(query, &servers).await;
    counted.asked(&pod.shared.metrics, started.elapsed(), asked.is_err());
    let (first, mut server) = match asked {
        Ok(answered) => answered,
        Err(why) => return timeout(IDLE, write_frame(client, &pod.failed(query, &why))).await?,
    };
    let mut next = Some(first);
    while let Some(message) = next {
        timeout_at(end, timeout(IDLE, write_frame(client, &message))).await???;
        next = timeout_at(end, timeout(IDLE, read_frame(&mut server))).await???;
    }
    Ok(())
}
