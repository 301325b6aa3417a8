//! Live transfers that run while something else happens, every byte checked at the far end.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::client::{Failure, Refusal, Refused, Stage, connect, failure};
use super::pattern::Pattern;
use super::server::{TICK_BYTES, ticks};
use crate::sys::netns::Netns;

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the server.
    Download,
    /// To the server and back.
    Echo,
    /// To the server, which answers how many it verified.
    Upload,
}

/// A running transfer of some 50 kB/s. Dropping it closes its connection.
#[must_use = "a transfer ends when it is dropped"]
pub struct Trickle {
    task: JoinSet<Result<u64, Failure>>,
    verified: watch::Receiver<u64>,
    stop: oneshot::Sender<()>,
    to: SocketAddr,
}

/// A transfer that did not go on.
#[derive(Debug, thiserror::Error)]
#[error("the transfer with {to} ended ({refusal}) after {verified} verified bytes")]
pub struct Cut {
    pub to: SocketAddr,
    pub refusal: Refusal,
    pub verified: u64,
    #[source]
    pub source: io::Error,
}

// === impl Trickle ===

impl Trickle {
    /// Connects from inside `from` to a server's stream port, and returns when the first bytes were
    /// verified: from then on the connection is live.
    pub async fn start(from: &Netns, to: SocketAddr, way: Way, patience: Duration) -> Result<Self, Refused> {
        let start = Instant::now();
        let refused = |stage, refusal, source| Refused { refusal, stage, to, after: start.elapsed(), source };
        let stream = match timeout(patience, connect(from, to)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err((refusal, source))) => return Err(refused(Stage::Connecting, refusal, Some(source))),
            Err(_) => return Err(refused(Stage::Connecting, Refusal::Timeout, None)),
        };
        let (count, verified) = watch::channel(0);
        let (stop, stopped) = oneshot::channel();
        let mut task = JoinSet::new();
        task.spawn(transfer(stream, way, count, stopped));
        let mut trickle = Self { task, verified, stop, to };
        let left = patience.saturating_sub(start.elapsed());
        match trickle.advance(1, left).await {
            Ok(_) => Ok(trickle),
            Err(cut) => Err(refused(Stage::Waiting, cut.refusal, Some(cut.source))),
        }
    }

    /// Bytes verified so far.
    pub fn verified(&self) -> u64 {
        *self.verified.borrow()
    }

    /// Waits until `more` bytes than now were verified, and gives the total.
    pub async fn advance(&mut self, more: u64, patience: Duration) -> Result<u64, Cut> {
        let goal = self.verified() + more;
        let mut verified = self.verified.clone();
        let reached = timeout(patience, verified.wait_for(|&verified| verified >= goal)).await;
        match reached.map(|reached| reached.map(|total| *total)) {
            Ok(Ok(total)) => Ok(total),
            // The task is gone, and says why.
            Ok(Err(_)) => Err(self.ended().await),
            Err(_) => {
                let source = io::Error::from(io::ErrorKind::TimedOut);
                Err(Cut { to: self.to, refusal: Refusal::Timeout, verified: self.verified(), source })
            }
        }
    }

    /// Ends the transfer in order, and gives the bytes that were verified: of an upload and an echo,
    /// all that were sent.
    pub async fn finish(mut self, patience: Duration) -> Result<u64, Cut> {
        let verified = self.verified();
        // Nobody may be listening any more: then the task tells.
        let _told = self.stop.send(());
        let cut = |(refusal, source)| Cut { to: self.to, refusal, verified, source };
        match timeout(patience, self.task.join_next()).await {
            Ok(Some(Ok(result))) => result.map_err(cut),
            Ok(Some(Err(error))) => Err(cut((Refusal::Local, io::Error::other(error)))),
            Ok(None) => Err(cut((Refusal::Closed, io::Error::other("it had ended before")))),
            Err(_) => Err(cut((Refusal::Timeout, io::ErrorKind::TimedOut.into()))),
        }
    }

    async fn ended(&mut self) -> Cut {
        let (refusal, source) = match self.task.join_next().await {
            Some(Ok(Err(failure))) => failure,
            Some(Err(error)) => (Refusal::Local, io::Error::other(error)),
            Some(Ok(Ok(_))) | None => (Refusal::Closed, io::Error::other("it had ended before")),
        };
        Cut { to: self.to, refusal, verified: self.verified(), source }
    }
}

async fn transfer(
    mut stream: TcpStream,
    way: Way,
    count: watch::Sender<u64>,
    mut stopped: oneshot::Receiver<()>,
) -> Result<u64, Failure> {
    let letter = match way {
        Way::Download => b'D',
        Way::Echo => b'E',
        Way::Upload => b'U',
    };
    stream.write_u8(letter).await.map_err(failure)?;
    let (mut read, mut write) = stream.split();
    let (mut sent, mut seen) = (Pattern::default(), Seen::new(way));
    let (mut ticks, mut buffer) = (ticks(), vec![0; 16 << 10]);
    let mut sending = way != Way::Download;
    loop {
        tokio::select! {
            _ = ticks.tick(), if sending => {
                write.write_all(&sent.take(TICK_BYTES)).await.map_err(failure)?;
            }
            result = read.read(&mut buffer) => {
                let length = result.map_err(failure)?;
                if length == 0 {
                    return finished(sending || way == Way::Download, sent.offset(), seen.verified());
                }
                seen.take(&buffer[..length]).map_err(failure)?;
                // Nobody has to be looking.
                count.send_replace(seen.verified());
            }
            // Only once: afterwards this branch would be ready for ever.
            _asked = &mut stopped, if sending || way == Way::Download => {
                if way == Way::Download {
                    return Ok(seen.verified());
                }
                sending = false;
                write.shutdown().await.map_err(failure)?;
            }
        }
    }
}

/// The server closed: in order only when we had closed before, and all that was sent arrived.
fn finished(early: bool, sent: u64, verified: u64) -> Result<u64, Failure> {
    if early {
        return Err((Refusal::Closed, io::ErrorKind::UnexpectedEof.into()));
    }
    if sent != verified {
        let text = format!("of {sent} bytes sent only {verified} were verified");
        return Err((Refusal::Closed, io::Error::other(text)));
    }
    Ok(verified)
}

/// What came back, checked.
enum Seen {
    Bytes(Pattern),
    /// Totals of eight bytes, of which the front may have come alone.
    Totals {
        total: u64,
        front: Vec<u8>,
    },
}

// === impl Seen ===

impl Seen {
    fn new(way: Way) -> Self {
        match way {
            Way::Download | Way::Echo => Self::Bytes(Pattern::default()),
            Way::Upload => Self::Totals { total: 0, front: Vec::new() },
        }
    }

    fn verified(&self) -> u64 {
        match self {
            Self::Bytes(pattern) => pattern.offset(),
            Self::Totals { total, .. } => *total,
        }
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        let wrong = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
        match self {
            Self::Bytes(pattern) => pattern.verify(bytes).map_err(|mismatch| wrong(mismatch.to_string())),
            Self::Totals { total, front } => {
                front.extend_from_slice(bytes);
                while let Some(word) = front.first_chunk::<8>() {
                    let next = u64::from_be_bytes(*word);
                    if next < *total {
                        return Err(wrong(format!("the server's total fell from {total} to {next}")));
                    }
                    *total = next;
                    front.drain(..8);
                }
                Ok(())
            }
        }
    }
}
