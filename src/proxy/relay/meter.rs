//! The bytes of one connection, and how its relay ended.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::proxy::connections::Connection;
use crate::proxy::outcome::Failure;
use crate::runtime;
use crate::telemetry::metrics::Counter;

/// Counts the bytes of one connection as they leave us, for the connection and for its reporters.
#[derive(Debug, Default)]
pub struct Meter {
    up: AtomicU64,
    down: AtomicU64,
    /// The counters of each reporter: client to server, server to client.
    reporters: Vec<(Counter, Counter)>,
}

/// Which socket of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that asked for the connection.
    Client,
    /// The one that took it.
    Server,
}

/// A relay that ended before both directions did.
#[derive(Debug, thiserror::Error)]
pub enum Early {
    #[error(transparent)]
    Broken(#[from] Broken),
    /// One direction has ended and nothing came the other way.
    #[error("one direction had ended, and the other was silent for {} s", limit.as_secs())]
    HalfOpen { limit: Duration },
}

/// A socket that broke, or a tunnel behind which one did.
#[derive(Debug, thiserror::Error)]
#[error("the connection broke on the {side} side")]
pub struct Broken {
    pub side: Side,
    #[source]
    pub source: io::Error,
}

// === impl Meter ===

impl Meter {
    pub fn new(reporters: Vec<(Counter, Counter)>) -> Self {
        Self { reporters, ..Self::default() }
    }

    /// Bytes from the client to the server.
    pub fn up(&self, bytes: usize) {
        runtime::beat();
        self.up.fetch_add(bytes as u64, Ordering::Relaxed);
        self.reporters.iter().for_each(|(up, _)| up.add(bytes as u64));
    }

    /// Bytes from the server to the client.
    pub fn down(&self, bytes: usize) {
        runtime::beat();
        self.down.fetch_add(bytes as u64, Ordering::Relaxed);
        self.reporters.iter().for_each(|(_, down)| down.add(bytes as u64));
    }

    /// Bytes of both directions together: what changes when anything moves.
    pub(super) fn moved(&self) -> u64 {
        let (up, down) = self.read();
        up.wrapping_add(down)
    }

    /// Both counts so far: up, down.
    pub fn read(&self) -> (u64, u64) {
        (self.up.load(Ordering::Relaxed), self.down.load(Ordering::Relaxed))
    }
}

// === impl Side ===

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Client => "client's",
            Self::Server => "server's",
        })
    }
}

/// How a relay ended badly: by itself, or from outside with a reason that its connection keeps.
pub enum Ended<'a> {
    Cut(&'a Failure),
    Failed(Failure),
}

/// Does `work` for a connection that is listed, unless that is ended from outside before it is done. The work is
/// pinned by the caller: kept here by value it would be in memory twice for as long as the connection lives.
pub async fn unless_ended<'a, T, E: Into<Failure>>(
    connection: &'a Connection,
    work: Pin<&mut impl Future<Output = Result<T, E>>>,
) -> Result<T, Ended<'a>> {
    tokio::select! {
        biased;
        why = connection.ended() => Err(Ended::Cut(why)),
        result = work => result.map_err(|why| Ended::Failed(why.into())),
    }
}

// === impl Ended ===

impl AsRef<Failure> for Ended<'_> {
    fn as_ref(&self) -> &Failure {
        match self {
            Self::Cut(why) => why,
            Self::Failed(why) => why,
        }
    }
}
