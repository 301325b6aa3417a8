//! Many connections at once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::client::{Failure, Refusal, Session, connect, failure};
use crate::sys::netns::Netns;

/// How a flood went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FloodReport {
    /// Requests that were answered.
    pub answered: u64,
    /// Connections that ended before their last answer, by how.
    pub refused: BTreeMap<Refusal, u64>,
    /// The longest time a connection took with all its requests.
    pub slowest: Duration,
}

/// Open connections that carry nothing. Dropping them closes them.
pub struct Held {
    streams: Vec<TcpStream>,
}

/// Connections that are being made at once; more would only queue for a thread in the namespace.
const AT_ONCE: usize = 64;

/// Opens `connections` to an HTTP port at once, and asks `requests` times on each, one after the
/// other. Each connection with all its requests has `patience`.
pub async fn flood(
    from: &Netns,
    to: SocketAddr,
    connections: usize,
    requests: usize,
    patience: Duration,
) -> FloodReport {
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let from = from.clone();
        tasks.spawn(async move {
            let (start, mut answered) = (Instant::now(), 0);
            let asking = async {
                let mut session = Session::open(connect(&from, to).await?).await?;
                for _ in 0..requests {
                    session.ask(to, "/", "flood").await?;
                    answered += 1;
                }
                Ok::<(), Failure>(())
            };
            let refusal = match timeout(patience, asking).await {
                Ok(Ok(())) => None,
                Ok(Err((refusal, _))) => Some(refusal),
                Err(_) => Some(Refusal::Timeout),
            };
            (answered, refusal, start.elapsed())
        });
    }
    let mut report = FloodReport::default();
    while let Some(ended) = tasks.join_next().await {
        let (answered, refusal, took) = ended.unwrap_or((0, Some(Refusal::Local), Duration::ZERO));
        report.answered += answered;
        report.slowest = report.slowest.max(took);
        if let Some(refusal) = refusal {
            *report.refused.entry(refusal).or_default() += 1;
        }
    }
    report
}

/// Opens `connections` to an echo port and keeps them. Each has carried one byte there and back, so
/// that the far end is open too. The first failure closes all.
pub async fn hold(from: &Netns, to: SocketAddr, connections: usize, patience: Duration) -> Result<Held, Refusal> {
    let mut tasks: JoinSet<Result<TcpStream, Refusal>> = JoinSet::new();
    let mut streams = Vec::with_capacity(connections);
    let mut started = 0;
    while streams.len() < connections {
        while started < connections && tasks.len() < AT_ONCE {
            let from = from.clone();
            tasks.spawn(async move { timeout(patience, open(&from, to)).await.unwrap_or(Err(Refusal::Timeout)) });
            started += 1;
        }
        match tasks.join_next().await {
            Some(ended) => streams.push(ended.unwrap_or(Err(Refusal::Local))?),
            None => break,
        }
    }
    Ok(Held { streams })
}

async fn open(from: &Netns, to: SocketAddr) -> Result<TcpStream, Refusal> {
    let mut stream = connect(from, to).await.map_err(|(refusal, _)| refusal)?;
    let ping = async {
        stream.write_all(b"!").await?;
        stream.read_u8().await
    };
    match ping.await {
        Ok(b'!') => Ok(stream),
        Ok(_) => Err(Refusal::Garbled),
        Err(error) => Err(failure(error).0),
    }
}

// === impl Held ===

impl Held {
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// How many still carry a byte there and back within `patience` each.
    pub async fn alive(&mut self, patience: Duration) -> usize {
        let mut alive = 0;
        for stream in &mut self.streams {
            let ping = async {
                stream.write_all(b"?").await?;
                stream.read_u8().await
            };
            alive += usize::from(matches!(timeout(patience, ping).await, Ok(Ok(b'?'))));
        }
        alive
    }
}
