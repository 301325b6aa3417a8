//! A lab with its manifests, its CA, the programs in its pods and real node daemons.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::app::{self, page};
use super::lab::{Lab, LabError, LabPod, ManifestError, Manifests, Topology};
use crate::model::ports;
use crate::sys::child::{Bond, Child, ChildError, Output, Program};

/// Everything that runs. Dropped, it ends the programs first and takes the lab away then.
pub struct Mesh {
    programs: Vec<Child>,
    nodes: BTreeMap<String, Child>,
    lab: Lab,
    manifests: Manifests,
    directory: PathBuf,
    binary: PathBuf,
    bond: Bond,
}

/// Why the mesh could not be built or asked.
#[derive(Debug, thiserror::Error)]
pub enum MeshError {
    #[error(transparent)]
    Child(#[from] ChildError),
    #[error("cannot use {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Lab(#[from] LabError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("{node} has ended ({status}); its log: {log}\n{tail}")]
    NodeEnded { node: String, status: String, log: String, tail: String },
    #[error("{node} is not ready after {patience:?}: {last}; its log: {log}")]
    NotReady { node: String, patience: Duration, last: String, log: String },
}

/// Between two looks at something that is about to happen.
const LOOK: Duration = Duration::from_millis(20);

// === impl Mesh ===

impl Mesh {
    /// Builds the lab `prefix`, writes its manifests below `directory` and starts the pods' programs. Nodes are
    /// started by [`Mesh::start_node`]. `binary` is culvert itself.
    pub fn build(
        prefix: &str,
        topology: &Topology,
        directory: &Path,
        binary: &Path,
        bond: Bond,
    ) -> Result<Self, MeshError> {
        let lab = Lab::build(prefix, topology)?;
        for path in [directory.join("manifests"), directory.join("ca")] {
            std::fs::create_dir_all(&path).map_err(|source| MeshError::File { path, source })?;
        }
        let manifests = lab.manifests(&directory.join("manifests"))?;
        let mut programs = Vec::new();
        for pod in lab.pods() {
            let output = Output::File(directory.join(format!("{}.log", pod.plan.spec.name)));
            let program = Program { bond, ..app::program(binary, &["demo-app"], pod, output) };
            programs.push(Child::start(&program)?);
        }
        let (directory, binary) = (directory.to_owned(), binary.to_owned());
        Ok(Self { programs, nodes: BTreeMap::new(), lab, manifests, directory, binary, bond })
    }

    /// Starts the daemon of `node` with further settings on top of those that the lab needs; one that is given
    /// twice is the caller's.
    pub fn start_node(&mut self, node: &str, settings: &[(&str, &str)]) -> Result<(), MeshError> {
        self.start_node_by(&[], node, settings)
    }

    /// As [`Mesh::start_node`], by the program and the words of `by`, which runs the rest of its arguments in its
    /// place: a shell that changes something of itself first.
    pub fn start_node_by(&mut self, by: &[&str], node: &str, settings: &[(&str, &str)]) -> Result<(), MeshError> {
        let log = self.log_of(node);
        let path = |name: &str| self.directory.join(name).display().to_string();
        let mut words =
            by.iter().map(|&word| word.to_owned()).chain([self.binary.display().to_string(), "node".into()]);
        let program_path = words.next().map_or_else(|| self.binary.clone(), PathBuf::from);
        let mut arguments: Vec<String> = words.collect();
        let own = [
            ("manifests", path("manifests")),
            ("node", node.to_owned()),
            ("ca-dir", path("ca")),
            ("log-format", "json".to_owned()),
            ("takeover-socket", path(&format!("{node}.sock"))),
        ];
        let own = own.into_iter().filter(|(key, _)| settings.iter().all(|(given, _)| given != key));
        let given = settings.iter().map(|(key, value)| (*key, (*value).to_owned()));
        for (key, value) in own.chain(given) {
            arguments.push(format!("--{key}={value}"));
        }
        let program = Program {
            name: format!("the node daemon of {node}"),
            path: program_path,
            arguments,
            environment: Vec::new(),
            netns: self.lab.node(node)?.netns.clone(),
            output: Output::File(log),
            bond: self.bond,
        };
        let child = Child::start(&program)?;
        self.nodes.insert(node.to_owned(), child);
        Ok(())
    }

    /// Waits until `node` says that it is ready.
    pub async fn ready(&mut self, node: &str, patience: Duration) -> Result<(), MeshError> {
        let netns = self.lab.node(node)?.netns.clone();
        let at = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), ports::READY);
        let started = Instant::now();
        loop {
            let last = match page::page(&netns, at, "/healthz/ready", patience).await {
                Ok((200, _)) => return Ok(()),
                Ok((_, body)) => body.trim().to_owned(),
                Err(error) => error.to_string(),
            };
            let log = self.log_of(node).display().to_string();
            let node = node.to_owned();
            if let Some(child) = self.nodes.get_mut(&node)
                && let Some(status) = child.ended()?
            {
                let tail = tail(&self.log_of(&node));
                return Err(MeshError::NodeEnded { node, status: status.to_string(), log, tail });
            }
            if started.elapsed() > patience {
                return Err(MeshError::NotReady { node, patience, last, log });
            }
            sleep(LOOK).await;
        }
    }

    /// Ends `node` in order; true when it exited with 0.
    pub fn stop_node(&mut self, node: &str, grace: Duration) -> Result<bool, MeshError> {
        let Some(mut child) = self.nodes.remove(node) else { return Ok(false) };
        Ok(child.stop(grace)?.success())
    }

    /// Waits until `node` has ended by itself; its exit code, or `None` when it was killed or still runs.
    pub fn node_ended(&mut self, node: &str, patience: Duration) -> Result<Option<i32>, MeshError> {
        let Some(child) = self.nodes.get_mut(node) else { return Ok(None) };
        let status = child.wait(patience)?;
        if status.is_some() {
            self.nodes.remove(node);
        }
        Ok(status.and_then(|status| status.code()))
    }

    /// Takes the daemon of `node` out, which runs on: the next one that is started is a second one.
    pub fn part_with_node(&mut self, node: &str) -> Option<Child> {
        self.nodes.remove(node)
    }

    /// Kills `node` as a crash would.
    pub fn kill_node(&mut self, node: &str) -> Result<(), MeshError> {
        if let Some(mut child) = self.nodes.remove(node) {
            child.kill()?;
        }
        Ok(())
    }

    /// Sends a signal to `node` and does not wait.
    pub fn signal_node(&mut self, node: &str, signal: Signal) -> Result<(), MeshError> {
        if let Some(child) = self.nodes.get_mut(node) {
            child.signal(signal)?;
        }
        Ok(())
    }

    /// The process id of `node`, while it runs.
    pub fn pid_of(&self, node: &str) -> Option<u32> {
        self.nodes.get(node).map(Child::pid)
    }

    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    pub fn pod(&self, name: &str) -> Result<&LabPod, MeshError> {
        Ok(self.lab.pod(name)?)
    }

    pub fn manifests(&self) -> &Manifests {
        &self.manifests
    }

    /// What becomes of the programs when this process ends.
    pub fn bond(&self) -> Bond {
        self.bond
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What `node` writes.
    pub fn log_of(&self, node: &str) -> PathBuf {
        self.directory.join(format!("{node}.log"))
    }

    /// How much `node` has written; for [`Mesh::line_after`].
    pub fn mark(&self, node: &str) -> u64 {
        std::fs::metadata(self.log_of(node)).map_or(0, |meta| meta.len())
    }

    /// The lines that `node` has written since `mark`.
    pub fn lines_after(&self, node: &str, mark: u64) -> Vec<Value> {
        let text = std::fs::read(self.log_of(node)).unwrap_or_default();
        let new = text.get(usize::try_from(mark).unwrap_or(usize::MAX)..).unwrap_or_default();
        new.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }

    /// Waits for a line since `mark` that `wanted` says yes to.
    pub async fn line_after(
        &self,
        node: &str,
        mark: u64,
        patience: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Option<Value> {
        let started = Instant::now();
        loop {
            if let Some(line) = self.lines_after(node, mark).into_iter().find(&wanted) {
                return Some(line);
            }
            if started.elapsed() > patience {
                return None;
            }
            sleep(LOOK).await;
        }
    }

    /// A page of `node`'s admin site as JSON.
    pub async fn admin(&self, node: &str, path: &str) -> Option<Value> {
        let at = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), ports::ADMIN);
        let netns = &self.lab.node(node).ok()?.netns;
        let (status, body) = page::page(netns, at, path, Duration::from_secs(5)).await.ok()?;
        (status == 200).then(|| serde_json::from_str(&body).ok())?
    }

    /// The metrics of `node` as text.
    pub async fn metrics(&self, node: &str) -> Option<String> {
        let at = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), ports::METRICS);
        let netns = &self.lab.node(node).ok()?.netns;
        Some(page::page(netns, at, "/metrics", Duration::from_secs(5)).await.ok()?.1)
    }

    /// Leaves everything running.
    pub fn keep(self) -> Result<(), MeshError> {
        Ok(self.lab.keep()?)
    }

    /// Ends everything, and says when something could not be.
    pub fn teardown(mut self, grace: Duration) -> Result<(), MeshError> {
        for (_, mut child) in std::mem::take(&mut self.nodes) {
            child.stop(grace)?;
        }
        self.programs.clear();
        Ok(self.lab.teardown()?)
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
