//! Moving the bytes of one connection, both ways, until both directions have ended.
//!
//! Owns: half-close, resets, back-pressure, the count of bytes. Never: where they go or whether they may.

pub mod joined;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the bytes of one connection as they leave us.
#[derive(Debug, Default)]
pub struct Meter {
    up: AtomicU64,
    down: AtomicU64,
}

/// Which socket of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that asked for the connection.
    Client,
    /// The one that took it.
    Server,
    /// Neither: this process.
    Us,
}

/// A relay that ended before both directions did.
#[derive(Debug, thiserror::Error)]
#[error("the connection broke on the {side} side")]
pub struct Broken {
    pub side: Side,
    #[source]
    pub source: io::Error,
}

// === impl Meter ===

impl Meter {
    /// Bytes from the client to the server.
    pub fn up(&self, bytes: usize) {
        self.up.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes from the server to the client.
    pub fn down(&self, bytes: usize) {
        self.down.fetch_add(bytes as u64, Ordering::Relaxed);
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
            Self::Us => "proxy's",
        })
    }
}
