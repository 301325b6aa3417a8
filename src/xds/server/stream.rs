//! A stream of one client: reads, asks the session, writes. Every wait has an end.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Buf as _;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::clients::Place;
use super::entry::Type;
use super::response::{Marshalled, Response};
use super::session::{Heard, Limits, Refusal, Session};
use super::snapshot::Snapshot;
use crate::grpc::server::Caller;
use crate::proto::discovery::DeltaDiscoveryRequest;
use crate::telemetry::metrics::{Metrics, table};

/// The first request, 10 s to its beginning and from piece to piece: a client has it ready when it connects. 60 s in all,
/// which 3 MiB need over a line of half a megabit.
const FIRST: Duration = Duration::from_secs(10);
const WHOLE_FIRST: Duration = Duration::from_secs(60);
/// Waiting for room to read it, 60 s: who was there before has that long.
const ROOM: Duration = Duration::from_secs(60);
/// An answer to a response, 60 s: applying 2 MiB takes milliseconds, and a node that is frozen for longer is better
/// told everything again.
const ANSWER: Duration = Duration::from_secs(60);
/// Taking a response off our hands, 60 s.
const WRITE: Duration = Duration::from_secs(60);
/// What a line carries at least, half a megabit: the bytes that are on their way have their time beside these two. The
/// first policies may be large, and whoever begins again would begin with all of them.
const LEAST_RATE: usize = 64 << 10;

/// Everything that one stream works with.
pub(super) struct Client {
    pub(super) caller: Caller,
    pub(super) place: Place,
    pub(super) limits: Limits,
    pub(super) snapshots: watch::Receiver<Arc<Snapshot>>,
    /// Room for first requests, which are the large ones.
    pub(super) first_requests: Arc<Semaphore>,
    /// Changes when more of a request is there.
    pub(super) progress: watch::Receiver<()>,
    pub(super) metrics: Metrics,
    /// Cancelled when the connection should be made anew.
    pub(super) closing: CancellationToken,
}

/// Requests as they arrive.
pub(super) type Requests = Pin<Box<dyn Stream<Item = Result<DeltaDiscoveryRequest, Status>> + Send>>;
/// Where responses go: one waits while another is written.
pub(super) type Responses = mpsc::Sender<Result<Marshalled, Status>>;

/// Why a stream ended, as its status says it; `None` is a clean end.
type End = Option<Status>;

/// Runs the stream to its end and tells the client why.
pub(super) async fn serve(client: Client, requests: Requests, responses: Responses) {
    let (metrics, name) = (client.metrics.clone(), Arc::clone(&client.caller.name));
    let connected = metrics.gauge(table::XDS_CLIENTS, []).hold();
    tracing::info!(client = %name, "xDS: a client has connected");
    let end = run(client, requests, &responses).await;
    drop(connected);
    match end {
        None => tracing::info!(client = %name, "xDS: a stream has ended"),
        Some(status) => {
            tracing::warn!(client = %name, reason = status.message(), "xDS: a stream was ended");
            // A client that does not read is not told, and finds out.
            drop(responses.try_send(Err(status)));
        }
    }
}

async fn run(client: Client, mut requests: Requests, responses: &Responses) -> End {
    let Client { caller, place, limits, mut snapshots, first_requests, progress, metrics, closing } = client;
    let node = caller.on_node().cloned().unwrap_or_default();
    let mut session = Session::new(limits, Arc::clone(&node));
    let withdrawn = caller.withdrawn.clone();
    let ledger = Ledger { caller, place, metrics };

    let first = tokio::select! {
        first = first(&mut requests, progress, &first_requests) => first,
        () = withdrawn.cancelled() => return Some(no_token()),
    };
    let request = match first {
        Ok(Some(request)) => request,
        Ok(None) => return None,
        Err(status) => return Some(status),
    };
    if let Err(status) = same_node(&request, &node) {
        return Some(status);
    }
    let now = Arc::clone(&snapshots.borrow_and_update());
    tokio::select! {
        biased;
        () = withdrawn.cancelled() => return Some(no_token()),
        heard = ledger.hear(&mut session, request, &now) => if let Err(refusal) = heard {
            return Some(refused(refusal));
        }
    }

    let (mut answer, mut answer_by) = (ANSWER, Instant::now() + ANSWER);
    // Bytes of the last two responses: one is being written when the other one waits.
    let mut ahead = [0, 0];
    loop {
        let now = Arc::clone(&snapshots.borrow_and_update());
        loop {
            let response = match session.next(&now) {
                Err(refusal) => return Some(refused(refusal)),
                Ok(None) => break,
                Ok(Some(response)) => response,
            };
            let bytes = response.encode(&now);
            let size = bytes.remaining();
            ledger.sent(&response, size);
            let write = patience(WRITE, ahead.iter().sum());
            let sent = tokio::select! {
                biased;
                // Also in the middle of a long answer, and while nobody reads it.
                () = withdrawn.cancelled() => return Some(no_token()),
                sent = timeout(write, responses.send(Ok(bytes))) => sent,
            };
            match sent {
                Err(_) => return Some(late("read", write)),
                // The client has gone.
                Ok(Err(_)) => return None,
                Ok(Ok(())) => {}
            }
            answer = patience(ANSWER, ahead.iter().sum::<usize>() + size);
            answer_by = Instant::now() + answer;
            ahead = [ahead[1], size];
        }
        tokio::select! {
            request = requests.next() => match request {
                None => return None,
                Some(Err(status)) => return broken(status),
                Some(Ok(request)) => tokio::select! {
                    biased;
                    () = withdrawn.cancelled() => return Some(no_token()),
                    () = closing.cancelled() => return None,
                    heard = ledger.hear(&mut session, request, &now) => match heard {
                        Err(refusal) => return Some(refused(refusal)),
                        Ok(()) => answer_by = answer_by.max(Instant::now() + ANSWER),
                    }
                }
            },
            changed = snapshots.changed() => if changed.is_err() { return None },
            () = sleep_until(answer_by), if session.is_waiting() => {
                return Some(late("answered", answer));
            }
            // What was sent is not waited for: the client says what it has when it comes back.
            () = closing.cancelled() => return None,
            () = withdrawn.cancelled() => return Some(no_token()),
        }
    }
}

/// Reads the first request. Its room is 32 MiB of names at most, times the places there are: the bound of what clients
/// that come back together may cost. A client that says nothing takes none; what is there at once needs none.
async fn first(
    requests: &mut Requests,
    mut progress: watch::Receiver<()>,
    room: &Semaphore,
) -> Result<Option<DeltaDiscoveryRequest>, Status> {
    let late = || Status::deadline_exceeded("no request within 10 s, or no more of it");
    let begun = async {
        tokio::select! {
            biased;
            request = requests.next() => Some(request),
            Ok(()) = progress.changed() => None,
        }
    };
    if let Some(request) = timeout(FIRST, begun).await.map_err(|_| late())? {
        return request.transpose();
    }
    let no_room = |_| {
        Status::resource_exhausted(
            "no room for a first request within 60 s, many clients have begun theirs: connect again later",
        )
    };
    let _room = timeout(ROOM, room.acquire()).await.map_err(no_room)?;
    let mut quiet = Instant::now() + FIRST;
    let until = Instant::now() + WHOLE_FIRST;
    loop {
        tokio::select! {
            biased;
            request = requests.next() => return request.transpose(),
            Ok(()) = progress.changed() => quiet = Instant::now() + FIRST,
            () = sleep_until(quiet.min(until)) => return Err(late()),
        }
    }
}

fn patience(base: Duration, bytes: usize) -> Duration {
    base + Duration::from_secs((bytes / LEAST_RATE) as u64)
}

fn late(what: &str, patience: Duration) -> Status {
    Status::deadline_exceeded(format!("a response was not {what} within {} s", patience.as_secs()))
}

fn no_token() -> Status {
    Status::unauthenticated("the token was withdrawn")
}

/// A client that says it is another node than its token does has the wrong one of the two.
fn same_node(request: &DeltaDiscoveryRequest, node: &str) -> Result<(), Status> {
    let metadata = request.node.as_ref().and_then(|node| node.metadata.as_ref());
    let said = metadata.and_then(|metadata| metadata.text("NODE_NAME")).unwrap_or_default();
    if said.is_empty() || node.is_empty() || said == node {
        return Ok(());
    }
    Err(Status::permission_denied(format!("NODE_NAME is not the node of this token, {node}")))
}

/// How the transport ended: a client that goes away is nothing to talk about.
fn broken(status: Status) -> End {
    match status.code() {
        tonic::Code::OutOfRange | tonic::Code::ResourceExhausted | tonic::Code::InvalidArgument => Some(status),
        _ => None,
    }
}

fn refused(refusal: Refusal) -> Status {
    match refusal {
        Refusal::Behind => Status::aborted(refusal.to_string()),
        Refusal::TooManyNames { .. } => Status::resource_exhausted(refusal.to_string()),
    }
}

/// Counts and tells what one client does.
struct Ledger {
    caller: Caller,
    place: Place,
    metrics: Metrics,
}

// === impl Ledger ===

impl Ledger {
    /// Takes a request, with a pause after each slice of its work: others have the processor then, and a caller that asks
    /// for more than its rate rests.
    async fn hear(&self, session: &mut Session, request: DeltaDiscoveryRequest, now: &Snapshot) -> Result<(), Refusal> {
        let DeltaDiscoveryRequest {
            resource_names_subscribe: subscribe,
            resource_names_unsubscribe: unsubscribe,
            initial_resource_versions: retained,
            ..
        } = &request;
        self.looked_up(1 + subscribe.len() + unsubscribe.len() + retained.len()).await;
        self.heard(&session.hear(request, now));
        while let Some(resources) = session.work(now)? {
            self.looked_up(resources).await;
        }
        Ok(())
    }

    async fn looked_up(&self, count: usize) {
        match self.place.looked_up(count) {
            Duration::ZERO => yield_now().await,
            rest => sleep(rest).await,
        }
    }

    fn sent(&self, response: &Response, bytes: usize) {
        let kind = response.kind.as_str();
        self.place.facts.responses.fetch_add(1, Ordering::Relaxed);
        self.metrics.counter(table::XDS_RESPONSES, [kind]).increment();
        self.metrics.counter(table::XDS_RESPONSE_BYTES, [kind]).add(bytes as u64);
        tracing::debug!(
            client = %self.caller.name,
            kind,
            resources = response.entries.len(),
            removed = response.removed.len(),
            bytes,
            nonce = response.nonce,
            "xDS: response"
        );
    }

    fn heard(&self, heard: &Heard) {
        let client = &*self.caller.name;
        match heard {
            Heard::Acknowledged | Heard::Stale | Heard::Subscribed => {}
            Heard::Foreign(kind) => tracing::debug!(client, kind, "xDS: asked for a type that is not served"),
            Heard::Refused { kind, message } => self.nack(*kind, message),
        }
    }

    fn nack(&self, kind: Type, message: &str) {
        self.metrics.counter(table::XDS_NACKS, [kind.as_str()]).increment();
        // Every one counts; the log has the first of a stream and then each hundredth.
        let earlier = self.place.facts.refused.fetch_add(1, Ordering::Relaxed);
        if earlier.is_multiple_of(100) {
            tracing::warn!(
                client = %self.caller.name,
                kind = kind.as_str(),
                refused = message,
                earlier,
                "xDS: a client refused resources; it keeps what it had of them"
            );
        }
    }
}

#[cfg(test)]
mod tests;
