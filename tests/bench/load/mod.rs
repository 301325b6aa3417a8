//! The programs in the pods: what is served, and what asks for it. The same in every column.
//!
//! Owns: bytes and requests at both ends, and the clocks at the receiving end. Never: anything of a mesh.

mod hold;
mod requests;
mod serve;
mod stream;

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde::{Deserialize, Serialize};

pub(crate) use stream::Way;

/// Where streams are received and sent.
pub(crate) const STREAM_PORT: u16 = 9001;
/// Where requests are answered.
pub(crate) const REQUEST_PORT: u16 = 9002;
/// What a pod's server says when it serves.
pub(crate) const SERVING: &str = "serving";
/// What [`Command::Hold`] says when every connection is open.
pub(crate) const HELD: &str = "held";

#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Command {
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

/// Runs the program in the namespace of this process.
pub(crate) fn run(command: &Command) -> anyhow::Result<()> {
    culvert::sys::limits::raise_open_files().context("cannot raise the limit of open files")?;
    let mut report = match command {
        Command::Hold { to, connections } => return hold::hold(*to, *connections),
        Command::Requests { to, once, load } => requests::requests(*to, *once, *load)?,
        Command::Serve => return serve::serve(),
        Command::Stream { to, way, load } => stream::client(*to, *way, *load)?,
    };
    report.cpu_seconds = crate::usage::own_cpu_seconds().context("cannot read this process's own use")?;
    say(&serde_json::to_string(&report)?)
}

fn say(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("cannot write to stdout")
}
