//! The hidden command line of a pod's program.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use clap::Subcommand;

use super::client::get_path;
use super::server::{HTTP_PORT, Server};
use crate::role::demo::lab::LabPod;
use crate::sys::child::{Bond, Output, Program};
use crate::sys::netns::Netns;

/// The program of a pod in a lab.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Ask a server in a lab, and print what it saw.
    Get {
        /// Where to, as ADDRESS:PORT.
        to: SocketAddr,
        #[arg(long, default_value = "/")]
        path: String,
        /// Sent in the header x-marker, which the server repeats.
        #[arg(long, default_value = "")]
        marker: String,
        /// Milliseconds to wait for the whole answer.
        #[arg(long, default_value_t = 5000)]
        timeout_ms: u64,
    },
    /// Serve HTTP, an echo on port 8081 and checked streams on port 8082.
    Serve {
        /// A port for HTTP; may be given again.
        #[arg(long, default_values_t = [HTTP_PORT])]
        http: Vec<u16>,
        /// What the server calls itself in its answers.
        #[arg(long)]
        name: String,
    },
}

/// Runs the program in the namespace of this process.
pub fn run(args: Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start tokio")?;
    runtime.block_on(async {
        let own = Netns::own().context("cannot tell the namespace of this process")?;
        match args.command {
            Command::Get { to, path, marker, timeout_ms } => {
                let reply = get_path(&own, to, &path, &marker, Duration::from_millis(timeout_ms)).await?;
                say(&serde_json::to_string(&reply.answer)?)
            }
            Command::Serve { http, name } => {
                let server = Server::bind(&own, &name, &http).await?;
                say("serving")?;
                server.run().await;
                Ok(())
            }
        }
    })
}

fn say(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}").context("cannot write to stdout")
}

/// The server of `pod`, as a program to start: `binary`, the words of the `subcommand` that ends in
/// [`run`], and the arguments.
pub fn program(binary: &Path, subcommand: &[&str], pod: &LabPod, output: Output) -> Program {
    let name = &pod.plan.spec.name;
    let words = subcommand.iter().copied().chain(["serve", "--name", name]);
    Program {
        name: format!("the program of {name}"),
        path: binary.into(),
        arguments: words.map(Into::into).collect(),
        environment: Vec::new(),
        netns: pod.netns.clone(),
        output,
        bond: Bond::Ours,
    }
}
