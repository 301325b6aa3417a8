//! The new process's side: asks for sockets, and says when it serves.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::message::{Answer, Ask, Garbled, Node, VERSION, decode, encode};
use crate::role::node::pages::LEAVES;
use crate::sys::handover::{Handed, MOST_SOCKETS, MeetError, Meeting};
use crate::sys::netns::NetnsId;
use crate::sys::seqpacket::{Packet, PacketError, SeqPacket};
use crate::telemetry::cause::chain;

/// The process that served until now, while it is there.
pub struct Predecessor {
    line: SeqPacket,
    asks: mpsc::Receiver<AskFor>,
    taker: Taker,
}

/// The predecessor broke off and may still serve what it handed over. Dropped, it is accepted from here too.
#[must_use = "nothing that was handed over is served before it is waited for"]
pub struct Unsure<P> {
    progress: P,
    pages: bool,
    _begin: DropGuard,
}

/// Asks the predecessor for sockets. Clones ask the same one.
#[derive(Clone, Debug)]
pub struct Taker {
    asks: mpsc::Sender<AskFor>,
    begin: CancellationToken,
}

/// How far the new process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It could not serve a single one of the pods that it has sockets of.
    Unable,
    /// It could serve some; others are missing.
    Partly,
    /// All that it should serve it could.
    Able,
}

#[derive(Debug)]
struct AskFor {
    uid: Arc<str>,
    netns: NetnsId,
    answer: oneshot::Sender<Handed>,
}

/// Why a predecessor is of no use. Each pod's ports are then bound when they are free.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    #[error(transparent)]
    Garbled(#[from] Garbled),
    #[error("it hung up")]
    HungUp,
    #[error("the line broke")]
    Line(#[from] PacketError),
    #[error(transparent)]
    Meet(#[from] MeetError),
    #[error("it said something else than it was asked: end it with SIGTERM, or set `takeover-socket` empty")]
    Odd,
    #[error("it refused: {0}")]
    Refused(String),
    #[error("it did not answer in time: end it, or set `takeover-socket` empty")]
    Silent(#[from] tokio::time::error::Elapsed),
}

/// What an answer may take. Retiring a node full of pods takes longest.
const ANSWER: Duration = Duration::from_secs(10);
/// What a pod waits for its sockets, with other pods before it.
const TURN: Duration = Duration::from_secs(15);
/// How long it waits for the last pod before it serves those that it can.
pub(super) const GRACE: Duration = Duration::from_secs(60);
/// What pages may take to find their ports free, and a moment.
const PAGES: Duration = LEAVES.saturating_add(Duration::from_secs(1));
/// Between two signs of life while it waits.
pub(super) const STILL: Duration = Duration::from_secs(5);
/// Between two looks at how far it is.
const LOOK: Duration = Duration::from_millis(50);
/// Pods that ask at once wait for each other.
const ASKING: usize = 16;

// === impl Predecessor ===

impl Predecessor {
    /// Finds the process that serves this node; `None` when there is none.
    ///
    /// # Errors
    /// There is one, and it is of no use.
    pub async fn find(path: &Path, node: Node) -> Result<Option<Self>, Lost> {
        let line = match Meeting::join(path) {
            Ok(line) => line,
            Err(MeetError::Connect { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Self::greet(line, node).await.map(Some)
    }

    pub(super) async fn greet(line: SeqPacket, node: Node) -> Result<Self, Lost> {
        match ask(&line, &Ask::Hello { version: VERSION, node }).await?.0 {
            Answer::Welcome => {}
            Answer::Refused { why } => return Err(Lost::Refused(why)),
            Answer::Sockets { .. } | Answer::Retired => return Err(Lost::Odd),
        }
        let (send, asks) = mpsc::channel(ASKING);
        Ok(Self { line, asks, taker: Taker { asks: send, begin: CancellationToken::new() } })
    }

    pub fn taker(&self) -> Taker {
        self.taker.clone()
    }

    /// Passes on what pods ask, until this process serves or the other is of no use. What was handed over is accepted from
    /// once this process serves or the other is gone; until then, with what is returned. `pages`: the other has the ports of
    /// this one's pages. Given up at any moment.
    pub async fn run<P: Fn() -> Progress + Send + Sync>(self, progress: P, pages: bool) -> Option<Unsure<P>> {
        // Also when it is given up: nobody but this process may be left to serve them.
        let begin = self.taker.begin.clone().drop_guard();
        let lost = match self.until_able(&progress).await {
            Ok(Self { line, taker, asks }) => {
                drop(asks);
                // First, so that there is no moment in which nobody accepts.
                taker.begin.cancel();
                match ask(&line, &Ask::Serve { pages }).await {
                    Ok((Answer::Retired, _)) => {
                        tracing::info!("took over: the process before this one accepts nothing more");
                        return None;
                    }
                    Ok(_) => Lost::Odd,
                    Err(lost) => lost,
                }
            }
            Err(lost) if !lost.is_gone() => {
                tracing::warn!(
                    error = %chain(&lost),
                    "nothing more is taken over: what was is left to the process before this one until this one can serve"
                );
                return Some(Unsure { progress, pages, _begin: begin });
            }
            Err(lost) => lost,
        };
        tracing::warn!(error = %chain(&lost), "the process before this one is gone or of no use; serving without it");
        None
    }

    async fn until_able(mut self, progress: &(impl Fn() -> Progress + Send + Sync)) -> Result<Self, Lost> {
        let started = Instant::now();
        let mut told = started;
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                Some(AskFor { uid, netns, answer }) = self.asks.recv() => {
                    let handed = sockets(&self.line, &uid, netns).await?;
                    // A pod that no longer waits lets them go; the other process still has them.
                    drop(answer.send(handed));
                }
                // It has nothing to say unasked.
                said = self.line.receive() => return Err(if said?.is_some() { Lost::Odd } else { Lost::HungUp }),
                _ = look.tick() => match progress() {
                    Progress::Able => return Ok(self),
                    Progress::Partly if started.elapsed() >= GRACE => {
                        tracing::warn!("some pods cannot be served yet; taking over all the same");
                        return Ok(self);
                    }
                    Progress::Partly | Progress::Unable if told.elapsed() >= STILL => {
                        told = Instant::now();
                        say(&self.line, &Ask::Wait).await?;
                    }
                    Progress::Partly | Progress::Unable => {}
                },
            }
        }
    }
}

// === impl Unsure ===

impl<P: Fn() -> Progress + Send + Sync> Unsure<P> {
    /// Until this process serves from what was handed over beside the other, if that lives. Whoever has it served by one
    /// that cannot serve would have it refused.
    pub async fn wait(self) {
        if self.pages {
            // Without its pages this process ends, and must not have begun anything by then.
            sleep(PAGES).await;
        }
        let started = Instant::now();
        loop {
            match (self.progress)() {
                Progress::Able => return,
                Progress::Partly if started.elapsed() >= GRACE => return,
                Progress::Partly | Progress::Unable => sleep(LOOK).await,
            }
        }
    }
}

// === impl Lost ===

impl Lost {
    /// The process has ended, as far as its line tells.
    const fn is_gone(&self) -> bool {
        matches!(self, Self::HungUp | Self::Line(_))
    }
}

// === impl Taker ===

impl Taker {
    /// The predecessor's sockets of the pod; none when it has none or is gone.
    pub async fn sockets(&self, uid: &Arc<str>, netns: NetnsId) -> Handed {
        let (answer, answered) = oneshot::channel();
        let asked = AskFor { uid: Arc::clone(uid), netns, answer };
        let handed = timeout(TURN, async {
            self.asks.send(asked).await.ok()?;
            answered.await.ok()
        });
        handed.await.ok().flatten().unwrap_or_default()
    }

    /// Cancelled when what was handed over is to be accepted from.
    pub fn begin(&self) -> &CancellationToken {
        &self.begin
    }
}

async fn sockets(line: &SeqPacket, uid: &str, netns: NetnsId) -> Result<Handed, Lost> {
    let (Answer::Sockets { count }, packet) = ask(line, &Ask::pod(uid, netns)).await? else { return Err(Lost::Odd) };
    if packet.descriptors.len() != count {
        return Err(Lost::Odd);
    }
    Ok(Handed::new(packet.descriptors, netns).unwrap_or_else(|unfit| {
        tracing::warn!(
            uid, error = %chain(&unfit),
            "the pod's sockets are not taken over: its ports are bound once the process before this one has left them"
        );
        Handed::default()
    }))
}

async fn say(line: &SeqPacket, ask: &Ask) -> Result<(), Lost> {
    let bytes = encode(ask)?;
    timeout(ANSWER, line.send(&bytes)).await?.map_err(PacketError::from)?;
    Ok(())
}

async fn ask(line: &SeqPacket, ask: &Ask) -> Result<(Answer, Packet), Lost> {
    say(line, ask).await?;
    let packet = timeout(ANSWER, line.receive_with(MOST_SOCKETS)).await??.ok_or(Lost::HungUp)?;
    Ok((decode(&packet.bytes)?, packet))
}
