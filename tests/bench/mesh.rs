//! `make bench`: no mesh and culvert side by side, cross-node and same-node, in one run.
//!
//! Owns: the load generator in the pods ([`load`]), the columns that are compared ([`column`]), what is measured
//! ([`measure`]) and the table ([`figures`], [`report`]), and what another proxy
//! needs in a third one ([`peer`]). Never: a shortcut into culvert; it starts the real binary.
#![expect(clippy::print_stdout, reason = "the table is what a person asked for")]
#![expect(clippy::print_stderr, reason = "progress, and a load generator's last words")]

mod burst;
mod column;
mod figures;
mod flood;
mod load;
mod measure;
mod peer;
mod report;
mod run;
mod usage;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use measure::Kind;

/// Compares throughput, requests, new connections, processor time and memory without a mesh and with culvert.
#[derive(Debug, Parser)]
#[command(name = "make bench ARGS=...")]
struct Args {
    #[command(subcommand)]
    role: Option<Role>,
    /// How long each measurement lasts, in seconds, after its warm-up.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// How often each measurement is made in each column: 4 unless said, and 3 with a peer.
    #[arg(long)]
    rounds: Option<usize>,
    /// Only this kind of measurement; may be given again. Bursts and floods are measured only so.
    #[arg(long, value_enum)]
    only: Vec<Kind>,
    /// Only this way between the pods; may be given again.
    #[arg(long, value_enum)]
    path: Vec<column::Path>,
    /// Connections that are open while memory is measured.
    #[arg(long, default_value_t = 4000)]
    open: u32,
    /// Only beside this flood; may be given again.
    #[arg(long, value_enum)]
    flood: Vec<flood::Flood>,
    /// Connections of a burst, each with full buffers.
    #[arg(long, default_value_t = 2000)]
    burst: u32,
    /// A setting of the node daemons, as KEY=VALUE; may be given again.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Another proxy that speaks to istio-cni, as a third column.
    #[arg(long, value_name = "PROGRAM")]
    peer: Option<PathBuf>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// The program in a pod.
    #[command(hide = true, subcommand)]
    Load(load::Command),
}

// === impl Args ===

impl Args {
    /// Chosen so that a whole run takes less than four minutes.
    fn rounds(&self) -> usize {
        let usual = if self.peer.is_some() { 3 } else { 4 };
        self.rounds.unwrap_or(usual)
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let result = match &args.role {
        Some(Role::Load(command)) => load::run(command),
        None => run::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
