//! Holds the conversation: connects, greets, hands requests to [`Pods`], answers each, connects again.

use std::collections::BTreeSet;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::packet::Who;
use super::session::{Session, Step, Violation};
use crate::runtime::retry;
use crate::sys::netns::Netns;
use crate::sys::seqpacket::{PacketError, SeqPacket};
use crate::telemetry::cause::chain;

/// What is done about the agent's requests. One is handled at a time, in the agent's order.
pub trait Pods: Send + Sync + 'static {
    /// Serves a pod; the answer is its success or why not. The wait is given up after [`ANSWER_WITHIN`], and the pod is
    /// wanted all the same: nothing may be lost by that.
    fn add(&self, uid: Arc<str>, who: Who, netns: Netns) -> impl Future<Output = Result<(), String>> + Send;
    /// The pod is gone. One that is not known is none of our business.
    fn del(&self, uid: &str);
    /// The pod exists: what is held of it stays.
    fn keep(&self, uid: &str);
    /// These are all: what is not among them is gone. The conversation is good from now on.
    fn snapshot(&self, named: &BTreeSet<Arc<str>>);
    /// There is no conversation: nobody tells of pods that come and go. Those that run go on.
    fn lost(&self, why: &str);
}

/// Where the agent listens.
#[derive(Clone, Debug)]
pub struct Config {
    pub path: PathBuf,
}

/// How a conversation ended.
#[derive(Debug, thiserror::Error)]
enum End {
    /// It restarts, or goes.
    #[error("the node agent closed the connection")]
    Closed,
    /// The agent is not there, or its socket is not mounted. Configuration.
    #[error("cannot connect to the node agent at {}: is it running, and is the socket's directory mounted?", path.display())]
    Connect {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// Kernel, or the agent is gone.
    #[error("cannot send to the node agent")]
    Send(#[source] std::io::Error),
    /// The agent.
    #[error("the node agent has not taken an answer for {} s", SEND_WITHIN.as_secs())]
    Stalled,
    /// Kernel, or the agent.
    #[error("cannot receive from the node agent")]
    Receive(#[from] PacketError),
    /// The agent.
    #[error("the node agent broke the protocol")]
    Violation(#[from] Violation),
}

/// The agent waits 5 s for an answer, and takes one that comes later for that of its next request.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(4);
/// What the agent may take to read an answer; its own deadline is the same.
const SEND_WITHIN: Duration = Duration::from_secs(5);

/// A conversation that was at least this long was a good one.
const LIVED: Duration = Duration::from_secs(1);

// === impl End ===

impl End {
    /// The agent has gone, and did nothing wrong before.
    const fn is_orderly(&self) -> bool {
        matches!(self, Self::Closed | Self::Send(_) | Self::Receive(PacketError::System(_)))
    }
}

/// Talks to the agent until `stop`. `random` gives numbers in 0.0..1.0.
pub async fn run<P: Pods>(config: Config, pods: Arc<P>, random: impl Fn() -> f64, stop: CancellationToken) {
    let mut failures = 0_u32;
    let mut said = String::new();
    loop {
        let (mut session, began) = (Session::default(), Instant::now());
        let end = tokio::select! {
            () = stop.cancelled() => return,
            end = converse(&config, &*pods, &mut session) => end,
        };
        let text = chain(&end);
        pods.lost(&text);
        // An agent that lived and went is back soon; one that goes wrong each time is asked ever more slowly.
        if session.is_following() && end.is_orderly() && began.elapsed() >= LIVED {
            failures = 0;
            said.clear();
        }
        failures = failures.saturating_add(1);
        let wait = retry::wait(failures, random());
        // The same trouble every 15 s is told once.
        if said != text {
            tracing::warn!(error = %text, again_in = ?wait, "no word from the node agent: pods that run go on");
            said = text;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn converse<P: Pods>(config: &Config, pods: &P, session: &mut Session) -> End {
    let socket = match SeqPacket::connect(&config.path) {
        Ok(socket) => socket,
        Err(source) => return End::Connect { path: config.path.clone(), source },
    };
    match attend(&socket, pods, session).await {
        Ok(()) => End::Closed,
        Err(end) => end,
    }
}

/// Until the agent leaves.
async fn attend<P: Pods>(socket: &SeqPacket, pods: &P, session: &mut Session) -> Result<(), End> {
    let (fresh, hello) = Session::begin();
    *session = fresh;
    send(socket, &hello).await?;
    // An agent has nothing to say for hours, and may let us wait in its queue until it knows its pods: its end of the
    // socket closes when it dies.
    loop {
        let packet = match socket.receive().await {
            Ok(Some(packet)) => packet,
            Ok(None) => return Ok(()),
            Err(error) => return Err(farewell(socket, error.into()).await),
        };
        let (step, owed) = match session.take(&packet.bytes, packet.descriptors) {
            Ok(taken) => taken,
            Err(violation) => return Err(farewell(socket, violation.into()).await),
        };
        let result = perform(step, pods).await;
        if let Err(error) = &result {
            tracing::warn!(%error, "a request of the node agent is refused");
        }
        send(socket, &owed.answer(result.as_ref().copied().map_err(String::as_str))).await?;
    }
}

async fn perform<P: Pods>(step: Step, pods: &P) -> Result<(), String> {
    match step {
        Step::Add { uid, who, netns } => {
            // A uid is short and has no character that a log could trip over.
            let who = who.map_err(|bad| format!("pod {uid}: {bad}"))?;
            let named = format!("pod {}/{}", who.namespace, who.name);
            tracing::debug!(pod = %named, %uid, "announced");
            let netns = Netns::from_descriptor(netns).map_err(|error| format!("{named}: {}", chain(&error)))?;
            match timeout(ANSWER_WITHIN, pods.add(uid, who, netns)).await {
                Ok(result) => result.map_err(|error| format!("{named}: {error}")),
                Err(_) => Err(format!("{named}: it is still being enrolled, and goes on: ask again")),
            }
        }
        Step::Del { uid } => {
            tracing::debug!(%uid, "gone");
            pods.del(&uid);
            Ok(())
        }
        Step::Keep { uid } => {
            pods.keep(&uid);
            Ok(())
        }
        Step::Snapshot(named) => {
            tracing::info!(pods = named.len(), "the node agent has named every pod");
            pods.snapshot(&named);
            Ok(())
        }
    }
}

/// Tells the agent why this ends, if it still listens.
async fn farewell(socket: &SeqPacket, end: End) -> End {
    drop(send(socket, &super::packet::answer(Err(&chain(&end)))).await);
    end
}

async fn send(socket: &SeqPacket, packet: &[u8]) -> Result<(), End> {
    timeout(SEND_WITHIN, socket.send(packet)).await.map_err(|_| End::Stalled)?.map_err(End::Send)
}

#[cfg(test)]
mod tests;
