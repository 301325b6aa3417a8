//! The programs in the pods: what is served, and what asks for it. The same in every column.
//!
//! Owns: bytes and requests at both ends, and the clocks at the receiving end. Never: anything of a mesh.

mod command;
mod flood;
mod hold;
mod requests;
mod serve;
mod stream;

use std::io::Write as _;

use anyhow::Context as _;

pub(crate) use command::{Command, Load, Report};
pub(crate) use stream::Way;

/// Where streams are received and sent.
pub(crate) const STREAM_PORT: u16 = 9001;
/// Where requests are answered.
pub(crate) const REQUEST_PORT: u16 = 9002;
/// Where bytes are sent and none are read.
pub(crate) const STUFF_PORT: u16 = 9003;
/// What a pod's server says when it serves.
pub(crate) const SERVING: &str = "serving";
/// What [`Command::Hold`] and the floods say when they have begun.
pub(crate) const HELD: &str = "held";

/// Runs the program in the namespace of this process.
pub(crate) fn run(command: &Command) -> anyhow::Result<()> {
    culvert::sys::limits::raise_open_files().context("cannot raise the limit of open files")?;
    let mut report = match command {
        Command::Connections { to, connections } => return flood::connections(*to, *connections),
        Command::Handshakes { to, connections } => return flood::handshakes(*to, *connections),
        Command::Stuff { to, connections } => return flood::stuff(*to, *connections),
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
