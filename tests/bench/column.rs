//! A column of the table: a lab of its own with the same pods, the same programs in them, and what carries their
//! connections.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use culvert::role::demo::lab::{KubeNamespace, LabPod, PodSpec, Topology};
use culvert::role::demo::mesh::Mesh;
use culvert::sys::child::{Bond, Child, Output, Program};
use culvert::sys::sysctl;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::flood::Flood;
use crate::load::{HELD, REQUEST_PORT, Report, SERVING};
use crate::measure::{Cpu, Measure};
use crate::peer::Peer;
use crate::{figures, usage};

/// The way between the two pods of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Path {
    /// Client and server on two nodes.
    CrossNode,
    /// Client and server on one node.
    SameNode,
}

/// What carries the pods' connections.
#[derive(Clone, Debug)]
pub(crate) enum Engine {
    /// Node daemons of culvert, with settings on top of their own.
    Culvert { settings: Vec<(String, String)> },
    /// The kernel alone.
    NoMesh,
    /// Another proxy, and its program.
    Peer { program: PathBuf },
}

/// How a column is built.
pub(crate) struct Plan<'a> {
    pub(crate) name: &'static str,
    pub(crate) engine: Engine,
    pub(crate) culvert: &'a std::path::Path,
    pub(crate) directory: PathBuf,
    pub(crate) runtime: &'a Handle,
    /// With the pods that flood, and those that are flooded.
    pub(crate) neighbours: bool,
}

pub(crate) struct Column {
    pub(crate) name: &'static str,
    engine: Engine,
    runtime: Handle,
    own: PathBuf,
    /// Before the mesh: programs end before their namespaces do.
    servers: Vec<(&'static str, Child)>,
    peer: Option<Peer>,
    mesh: Mesh,
}

/// A program that goes on in a pod. Dropped, it is killed, and its connections close.
pub(crate) struct Running {
    _client: Child,
}

/// Begins the name of every lab of a run.
pub(crate) const PREFIX: &str = "culvert-bench";
/// The Kubernetes namespace of the pod that is not in the mesh.
pub(crate) const OUTSIDE: &str = "outside";
/// In the mesh, beside `client`.
pub(crate) const NOISY: &str = "noisy";
/// Outside of it, and beside `client` too.
pub(crate) const STRANGER: &str = "stranger";
const NODES: [&str; 2] = ["node-a", "node-b"];
const READY: Duration = Duration::from_secs(20);
const GRACE: Duration = Duration::from_secs(10);
/// Above every port that is listened on. The default range of 28,000 ports would run out in tests of new connections
/// without a mesh, where each pair of ports is kept for a minute.
const PORT_RANGE: &str = "16000 65535";

// === impl Path ===

impl Path {
    pub(crate) const ALL: [Self; 2] = [Self::CrossNode, Self::SameNode];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CrossNode => "cross-node",
            Self::SameNode => "same-node",
        }
    }

    fn server(self) -> &'static str {
        match self {
            Self::CrossNode => "server",
            Self::SameNode => "near",
        }
    }

    /// What is flooded, beside the server.
    fn flooded(self) -> &'static str {
        match self {
            Self::CrossNode => "flooded",
            Self::SameNode => "flooded-near",
        }
    }
}

// === impl Column ===

impl Column {
    /// Builds the lab and starts the servers; what carries connections is started by [`Column::restart`].
    pub(crate) fn build(plan: Plan<'_>) -> anyhow::Result<Self> {
        let Plan { name, engine, culvert, directory, runtime, neighbours } = plan;
        let mut topology = Topology {
            namespaces: vec![KubeNamespace::ambient("bench"), KubeNamespace::plain(OUTSIDE)],
            pods: vec![
                PodSpec::new("bench", "client", NODES[0]),
                PodSpec::new("bench", "near", NODES[0]),
                PodSpec::new("bench", "server", NODES[1]),
            ],
            ..Topology::demo()
        };
        if neighbours {
            topology.pods.extend([
                PodSpec::new("bench", NOISY, NODES[0]),
                PodSpec::new("bench", Path::SameNode.flooded(), NODES[0]),
                PodSpec::new("bench", Path::CrossNode.flooded(), NODES[1]),
                PodSpec::new(OUTSIDE, STRANGER, NODES[0]),
            ]);
        }
        let prefix = format!("{PREFIX}-{}", name.replace(' ', "-"));
        let mesh = Mesh::build(&prefix, &topology, &directory, culvert, Bond::Ours)?;
        let peer = match &engine {
            Engine::Culvert { .. } | Engine::NoMesh => None,
            Engine::Peer { program } => Some(Peer::build(program, mesh.lab(), &directory, runtime)?),
        };
        let own = std::env::current_exe().context("cannot find this program's own file")?;
        let mut column = Self { name, engine, runtime: runtime.clone(), own, servers: Vec::new(), peer, mesh };
        for pod in column.mesh.lab().pods() {
            sysctl::set(&pod.netns, "ipv4/ip_local_port_range", PORT_RANGE)?;
        }
        for path in Path::ALL {
            let served = [Some((path.server(), false)), neighbours.then_some((path.flooded(), true))];
            for (pod, last) in served.into_iter().flatten() {
                let program = column.program(column.mesh.pod(pod)?, &["serve".into()]);
                let mut server = Child::start(&if last { after_all(program) } else { program })?;
                expect_line(&mut server, SERVING)?;
                column.servers.push((pod, server));
            }
        }
        Ok(column)
    }

    /// Starts what carries connections, fresh. `quiet` turns culvert's line a connection off.
    pub(crate) fn restart(&mut self, quiet: bool) -> anyhow::Result<()> {
        if let Some(peer) = &mut self.peer {
            return self.runtime.block_on(peer.restart(self.mesh.lab()));
        }
        let Engine::Culvert { settings } = &self.engine else { return Ok(()) };
        let access = [("log-access", if quiet { "false" } else { "true" })];
        let given = settings.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let settings: Vec<(&str, &str)> = access.into_iter().chain(given).collect();
        for node in NODES {
            self.mesh.stop_node(node, GRACE)?;
        }
        for node in NODES {
            self.mesh.start_node(node, &settings)?;
        }
        for node in NODES {
            self.runtime.block_on(self.mesh.ready(node, READY))?;
        }
        Ok(())
    }

    /// Drives one load and reads what it took.
    pub(crate) fn run(&self, path: Path, measure: Measure, seconds: f64) -> anyhow::Result<(Report, Cpu)> {
        let (port, word, more) = measure.command(seconds);
        let daemons = self.daemons();
        let mut others = usage::packet_threads();
        let server = self.servers.iter().find(|(name, _)| *name == path.server());
        others.extend(server.map(|(_, server)| server.pid()));
        let (started, machine) = (Instant::now(), usage::machine_seconds());
        let before = (usage::cpu_seconds(&daemons), usage::cpu_seconds(&others));
        let mut arguments = vec![word.to_owned(), self.address(path, port)?];
        arguments.extend(more);
        let mut client = Child::start(&self.program(self.mesh.pod("client")?, &arguments))?;
        let said = said(&mut client)?;
        let after = (usage::cpu_seconds(&daemons), usage::cpu_seconds(&others));
        let machine = usage::machine_seconds() - machine;
        let all = started.elapsed().as_secs_f64() * usage::processors() as f64;
        let report: Report = serde_json::from_str(&said).context("the load generator's report cannot be read")?;
        let of_daemons = after.0 - before.0;
        let everything = of_daemons + (after.1 - before.1) + report.cpu_seconds;
        let elsewhere = ((machine - everything) / all).max(0.0);
        let daemons = (!daemons.is_empty()).then_some(of_daemons);
        Ok((report, Cpu { daemons, everything, elsewhere }))
    }

    /// Opens connections and keeps them.
    pub(crate) fn hold(&self, path: Path, connections: u32) -> anyhow::Result<Running> {
        let to = self.address(path, REQUEST_PORT)?;
        let arguments = ["hold".to_owned(), to, format!("--connections={connections}")];
        let mut client = Child::start(&self.program(self.mesh.pod("client")?, &arguments))?;
        expect_line(&mut client, HELD)?;
        Ok(Running { _client: client })
    }

    /// Starts what floods, in a pod of the client's node and against a pod that is not the server.
    ///
    /// It and what answers it get the processor when nobody else wants it: measured is what a daemon lets one pod do to
    /// another, and not who of the pods themselves has which share.
    pub(crate) fn flood(&self, path: Path, flood: Flood) -> anyhow::Result<Running> {
        let (from, port, word, connections) = flood.command();
        let to = self.mesh.pod(path.flooded())?.plan.at_v4(port).to_string();
        let mut arguments = vec![word.to_owned(), to, format!("--connections={connections}")];
        arguments.extend(flood.more());
        let mut client = Child::start(&after_all(self.program(self.mesh.pod(from)?, &arguments)))?;
        if flood.tells() {
            expect_line(&mut client, HELD)?;
        }
        Ok(Running { _client: client })
    }

    /// What the daemons have refused or held back so far, each with its reason; nothing without culvert.
    pub(crate) fn bitten(&self) -> BTreeMap<String, f64> {
        let mut bitten = BTreeMap::new();
        for node in NODES {
            let text = self.runtime.block_on(self.mesh.metrics(node)).unwrap_or_default();
            for (what, count) in figures::bitten(&text) {
                *bitten.entry(what).or_default() += count;
            }
        }
        bitten
    }

    /// The processes that carry connections; none without a mesh.
    pub(crate) fn daemons(&self) -> Vec<u32> {
        let of_mesh = NODES.iter().filter_map(|node| self.mesh.pid_of(node));
        of_mesh.chain(self.peer.iter().flat_map(Peer::pids)).collect()
    }

    pub(crate) fn teardown(mut self) -> anyhow::Result<()> {
        self.servers.clear();
        if let Some(peer) = &mut self.peer {
            peer.stop()?;
        }
        Ok(self.mesh.teardown(GRACE)?)
    }

    fn address(&self, path: Path, port: u16) -> anyhow::Result<String> {
        Ok(self.mesh.pod(path.server())?.plan.at_v4(port).to_string())
    }

    fn program(&self, pod: &LabPod, arguments: &[String]) -> Program {
        Program {
            name: format!("the load generator in the pod {} ({})", pod.plan.spec.name, self.name),
            path: self.own.clone(),
            arguments: std::iter::once("load".to_owned()).chain(arguments.iter().cloned()).collect(),
            environment: Vec::new(),
            netns: pod.netns.clone(),
            output: Output::Pipe,
            bond: Bond::Ours,
        }
    }
}

/// The same, at the end of the line for the processors.
fn after_all(program: Program) -> Program {
    let own = program.path.display().to_string();
    let arguments = ["-n".to_owned(), "19".to_owned(), own].into_iter().chain(program.arguments).collect();
    Program { path: "nice".into(), arguments, ..program }
}

/// Waits for a line that says that the program has come so far.
fn expect_line(child: &mut Child, expected: &str) -> anyhow::Result<()> {
    let stdout = child.take_stdout().context("its stdout is a pipe")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    if line.trim() == expected { Ok(()) } else { Err(last_words(child)) }
}

/// Everything that the program says until it ends well. It ends: its loads have deadlines.
fn said(child: &mut Child) -> anyhow::Result<String> {
    let mut text = String::new();
    child.take_stdout().context("its stdout is a pipe")?.read_to_string(&mut text)?;
    let ended = child.wait(GRACE)?;
    if ended.is_some_and(|status| status.success()) { Ok(text) } else { Err(last_words(child)) }
}

fn last_words(child: &mut Child) -> anyhow::Error {
    let mut text = String::new();
    if let Some(mut stderr) = child.take_stderr() {
        // What cannot be read is not told.
        drop(child.stop(GRACE));
        drop(stderr.read_to_string(&mut text));
    }
    anyhow::anyhow!("{} failed: {}", child.name(), text.trim())
}
