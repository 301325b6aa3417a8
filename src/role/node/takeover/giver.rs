//! The old process's side: gives sockets, and stops when it is told to.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::message::{Answer, Ask, Garbled, Node, VERSION, decode, encode};
use super::stands::Stands;
use crate::sys::handover::Meeting;
use crate::sys::netns::NetnsId;
use crate::sys::seqpacket::{PacketError, SeqPacket};
use crate::telemetry::cause::chain;

/// Gives this process's listening sockets to the next one.
pub struct Giver {
    pub node: Node,
    pub stands: Arc<Stands>,
    /// Cancelled when the next process needs the ports of the pages.
    pub pages: CancellationToken,
}

/// A borrower says something at least this often, or is gone. It says that it waits every [`super::taker::STILL`].
const SILENCE: Duration = Duration::from_secs(30);
/// What a packet may take to be taken.
const SEND: Duration = Duration::from_secs(5);
/// What accept loops may take to end.
const STOP: Duration = Duration::from_secs(5);
/// After an accept that failed: at once again would spin.
const PAUSE: Duration = Duration::from_millis(500);

/// Why a conversation ended before a take-over. The borrower, mostly.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    #[error(transparent)]
    Garbled(#[from] Garbled),
    #[error("it hung up")]
    HungUp,
    #[error("it began with another word than hello")]
    Impolite,
    #[error("the line broke")]
    Line(#[from] PacketError),
    #[error("it was silent for too long")]
    Silent(#[from] tokio::time::error::Elapsed),
}

// === impl Giver ===

impl Giver {
    /// Waits for the next process until `stop`, or until it has taken over; true when it has. One borrower at a time.
    pub async fn run(self, meeting: Meeting, stop: CancellationToken) -> bool {
        loop {
            let line = tokio::select! {
                () = stop.cancelled() => return false,
                line = meeting.next() => line,
            };
            let line = match line {
                Ok(line) => line,
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "nothing is handed over");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let given = tokio::select! {
                () = stop.cancelled() => return false,
                given = self.converse(&line) => given,
            };
            match given {
                Ok(true) => return true,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "the next process did not take over; this one goes on");
                    self.stands.back();
                }
            }
        }
    }

    /// Until the end of the line; true when the other has taken over, false when it was turned away.
    pub(super) async fn converse(&self, line: &SeqPacket) -> Result<bool, Broken> {
        let Ask::Hello { version, node } = hear(line).await? else { return Err(Broken::Impolite) };
        if version != VERSION || node != self.node {
            let why = format!(
                "this is node {} of cluster {} and speaks language {VERSION}, not node {} of cluster {} and language {version}: \
                 end this process first, or give the other a `takeover-socket` of its own",
                self.node.name, self.node.cluster, node.name, node.cluster
            );
            tracing::warn!(other = %node.name, version, "a process of another node or version asked to take over");
            say(line, &Answer::Refused { why }, &[]).await?;
            return Ok(false);
        }
        say(line, &Answer::Welcome, &[]).await?;
        tracing::info!("the next process of this node is here; listeners are handed over as it asks");
        loop {
            match hear(line).await? {
                Ask::Hello { .. } => return Err(Broken::Impolite),
                Ask::Wait => {}
                Ask::Pod { uid, device, inode } => {
                    let sockets = self.stands.lend(&uid, NetnsId { device, inode });
                    say(line, &Answer::Sockets { count: sockets.len() }, &sockets).await?;
                }
                Ask::Serve { pages } => {
                    self.retire(pages).await;
                    // It serves whether it hears this or not.
                    drop(say(line, &Answer::Retired, &[]).await);
                    return Ok(true);
                }
            }
        }
    }

    async fn retire(&self, pages: bool) {
        let (stands, kept) = self.stands.retire();
        let pods = stands.len();
        let mut stopping: JoinSet<()> =
            stands.into_iter().map(|stand| async move { drop(timeout(STOP, stand.retire()).await) }).collect();
        while stopping.join_next().await.is_some() {}
        if pages {
            self.pages.cancel();
        }
        tracing::info!(
            pods,
            kept,
            "the next process has taken over: nothing more is accepted here but for pods that it did not take (kept), and what is live goes on until SIGTERM"
        );
    }
}

async fn hear(line: &SeqPacket) -> Result<Ask, Broken> {
    let packet = timeout(SILENCE, line.receive()).await??.ok_or(Broken::HungUp)?;
    Ok(decode(&packet.bytes)?)
}

async fn say(line: &SeqPacket, answer: &Answer, sockets: &[OwnedFd]) -> Result<(), Broken> {
    let bytes = encode(answer)?;
    let sockets: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
    timeout(SEND, line.send_with(&bytes, &sockets)).await?.map_err(PacketError::from)?;
    Ok(())
}
