//! The proxies of a lab: started with their fakes, and put behind the redirection.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use culvert::model::ports;
use culvert::redirect::{Claims, PlanInput, Redirector, Target, Wanted, families, plan, probe};
use culvert::role::demo::app::page;
use culvert::role::demo::lab::{Lab, LabNode, LabPod};
use culvert::sys::cgroup::NoCgroup;
use culvert::sys::child::{Bond, Child, Output, Program};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use super::{authority, local, zds};
use crate::column::OUTSIDE;

/// What a column with another proxy has besides its lab.
pub(crate) struct Peer {
    program: PathBuf,
    directory: PathBuf,
    redirector: Redirector,
    running: Vec<Child>,
}

const LOOK: Duration = Duration::from_millis(50);
const READY: Duration = Duration::from_secs(30);
const GRACE: Duration = Duration::from_secs(10);
/// The certificate service's port on the node's loopback, istiod's own.
const CA_PORT: u16 = 15012;

/// Whether the pod is one of the mesh.
fn is_in(pod: &LabPod) -> bool {
    pod.plan.spec.namespace != OUTSIDE
}

// === impl Peer ===

impl Peer {
    /// Starts the fakes of each node of the lab. The proxies follow with [`Peer::restart`].
    pub(crate) fn build(program: &Path, lab: &Lab, directory: &Path, runtime: &Handle) -> anyhow::Result<Self> {
        let program = program.canonicalize().with_context(|| format!("cannot find {}", program.display()))?;
        let authority = culvert::ca::Root::load_or_create(&directory.join("ca"), "cluster.local")?;
        let tls = authority::acceptor(&directory.join("service-root.pem"))?;
        let workloads = local::workloads(lab.pods().iter().filter(|pod| is_in(pod)).map(|pod| &pod.plan));
        std::fs::write(directory.join("workloads.yaml"), workloads).context("cannot write the file of workloads")?;
        for node in lab.nodes() {
            let pods =
                lab.pods().iter().filter(|pod| is_in(pod) && pod.plan.spec.node == node.plan.name).cloned().collect();
            zds::serve(&directory.join(format!("{}.sock", node.plan.name)), pods)?;
            let at = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), CA_PORT);
            runtime.spawn(authority::serve(node.netns.clone(), at, tls.clone(), authority.clone()));
        }
        let redirector = Redirector::new(probe(Wanted::Auto, Err(NoCgroup::Off))?.backend)?;
        Ok(Self { program, directory: directory.to_owned(), redirector, running: Vec::new() })
    }

    /// Starts the proxy of each node, fresh, and lays the redirection when all of them are ready.
    pub(crate) async fn restart(&mut self, lab: &Lab) -> anyhow::Result<()> {
        self.stop()?;
        for node in lab.nodes() {
            self.running.push(Child::start(&self.of(node))?);
        }
        for (node, child) in lab.nodes().iter().zip(&mut self.running) {
            let log = self.directory.join(format!("{}.log", node.plan.name));
            ready(node, child).await.with_context(|| format!("its log ends:\n{}", tail(&log)))?;
        }
        let claims = Claims::new();
        for pod in lab.pods().iter().filter(|pod| is_in(pod)) {
            let claim = claims.claim(pod.netns.id(), &local::uid(&pod.plan))?;
            let input = PlanInput {
                dns: None,
                capture_inbound: true,
                cgroup: None,
                families: families(&pod.netns)?,
                virtual_interfaces: Vec::new(),
            };
            let addresses = [pod.plan.v4.into(), pod.plan.v6.into()];
            let target = Target { claim: &claim, netns: &pod.netns, pod: &addresses };
            // Proof of an enrolment that nobody here asks for.
            let _laid = self.redirector.lay(target, &plan(&input))?;
        }
        Ok(())
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.running.iter().map(Child::pid).collect()
    }

    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        for mut child in self.running.drain(..) {
            child.stop(GRACE)?;
        }
        Ok(())
    }

    fn of(&self, node: &LabNode) -> Program {
        let name = &node.plan.name;
        let path = |name: &str| self.directory.join(name).display().to_string();
        let environment = [
            ("CA_ADDRESS", format!("https://localhost:{CA_PORT}")),
            ("CA_ROOT_CA", path("service-root.pem")),
            ("INPOD_UDS", path(&format!("{name}.sock"))),
            ("LOCAL_XDS_PATH", path("workloads.yaml")),
            ("NODE_NAME", name.clone()),
            ("XDS_ADDRESS", String::new()),
        ];
        Program {
            name: format!("the proxy of {name}"),
            path: self.program.clone(),
            arguments: Vec::new(),
            environment: environment.map(|(key, value)| (key.to_owned(), value)).into(),
            netns: node.netns.clone(),
            output: Output::File(self.directory.join(format!("{name}.log"))),
            bond: Bond::Ours,
        }
    }
}

async fn ready(node: &LabNode, child: &mut Child) -> anyhow::Result<()> {
    let at = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), ports::READY);
    let started = Instant::now();
    loop {
        if let Ok((200, _)) = page::page(&node.netns, at, "/healthz/ready", Duration::from_secs(1)).await {
            return Ok(());
        }
        if let Some(status) = child.ended()? {
            anyhow::bail!("{} has ended ({status})", child.name());
        }
        anyhow::ensure!(started.elapsed() < READY, "{} is not ready after {READY:?}", child.name());
        sleep(LOOK).await;
    }
}

/// The last lines of a log, which is removed with everything else.
fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}
