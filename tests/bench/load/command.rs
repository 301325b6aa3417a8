//! The command line of a pod's program, and what it answers.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::stream::Way;

#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Opens connections without end, each for one request.
    Connections {
        to: SocketAddr,
        #[arg(long)]
        connections: u32,
    },
    /// Begins TLS handshakes without end, and finishes none.
    Handshakes {
        to: SocketAddr,
        #[arg(long)]
        connections: u32,
    },
    /// Opens connections, makes one request on each, says so and keeps them.
    Hold {
        to: SocketAddr,
        #[arg(long)]
        connections: u32,
    },
    /// Makes requests.
    Requests {
        to: SocketAddr,
        /// Connect for each request and close after it.
        #[arg(long)]
        once: bool,
        #[command(flatten)]
        load: Load,
    },
    /// Serves both ports until it is killed.
    Serve,
    /// Opens connections, sends until every buffer on the way is full both ways, says so and keeps them.
    Stuff {
        to: SocketAddr,
        #[arg(long)]
        connections: u32,
    },
    /// Moves bytes.
    Stream {
        to: SocketAddr,
        #[arg(long, value_enum)]
        way: Way,
        #[command(flatten)]
        load: Load,
    },
}

/// How much of it, and for how long.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Load {
    /// At the same time.
    #[arg(long)]
    pub(crate) connections: u32,
    #[arg(long)]
    pub(crate) warm_ms: u32,
    #[arg(long)]
    pub(crate) span_ms: u32,
}

/// What a client measured, one line of JSON on its stdout.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Payload that arrived, the warm-up's too.
    pub(crate) bytes: u64,
    /// Payload a second that arrived in the span, at the receiving end.
    pub(crate) bytes_per_second: f64,
    /// Of the client's own process.
    pub(crate) cpu_seconds: f64,
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

// === impl Load ===

impl Load {
    pub(crate) fn warm(&self) -> Duration {
        Duration::from_millis(self.warm_ms.into())
    }

    pub(crate) fn span(&self) -> Duration {
        Duration::from_millis(self.span_ms.into())
    }

    /// When somebody who still waits waits for ever.
    pub(crate) fn patience(&self) -> Duration {
        self.warm() + self.span() + Duration::from_secs(10)
    }
}
