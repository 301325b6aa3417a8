//! The bounds of a pool.

use std::time::Duration;

use crate::hbone::settings::{CLIENT_STREAMS, IDLE};

/// Bounds of a pool.
#[derive(Clone, Debug)]
pub struct Config {
    /// Connection without a stream, [`IDLE`].
    pub idle: Duration,
    /// Connections and dials at once, 1024: a pod that talks to more destinations than this at one time waits for
    /// nothing and gets [`PoolError::Full`](super::PoolError::Full). Each costs about 40 KiB idle.
    pub max_connections: usize,
    /// Callers that wait for connections to one key, 4096.
    pub max_waiters: usize,
    /// Streams at once on one connection, 100: what a peer that says nothing of it allows. The peer's own limit counts
    /// where it is lower.
    pub max_streams: usize,
    /// How long a connection takes new streams; `None` has no end. Those that it has by then live on.
    pub fresh: Option<Duration>,
    /// A dial, including TLS, 25 s: a backstop behind the dialler's own deadlines.
    pub dial: Duration,
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self {
            idle: IDLE,
            max_connections: 1024,
            max_waiters: 4096,
            max_streams: CLIENT_STREAMS,
            fresh: None,
            dial: Duration::from_secs(25),
        }
    }
}
