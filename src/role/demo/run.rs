//! The demonstration: claims are tried one after the other and written into a table.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use super::claims::{self, Row};
use super::lab::{Kept, Lab, Topology};
use super::mesh::Mesh;
use super::progress::Progress;
use super::tries::{self, Tries};
use super::waypoint::Envoy;
use crate::sys::child::{self, Bond};

/// Name of the lab; namespaces are called `culvert-demo-client` and so on.
const PREFIX: &str = "culvert-demo";
/// Where manifests, CA and logs are, while the demonstration runs.
const DIRECTORY: &str = "/run/culvert-demo";
const READY: Duration = Duration::from_secs(20);
const GRACE: Duration = Duration::from_secs(10);

/// Runs the demonstration; `keep` leaves the lab running, `envoy` is the program to run as a waypoint. Fails when a
/// claim does not hold.
pub fn run(keep: bool, envoy: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        nix::unistd::Uid::effective().is_root(),
        "the demonstration makes network namespaces, which needs root: run it with sudo"
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let stopped = async {
            let mut signals = crate::runtime::signal::Signals::catch()?;
            anyhow::Ok(signals.next().await)
        };
        tokio::select! {
            result = demonstrate(keep, envoy) => result,
            signal = stopped => {
                // What was built is dropped with the future above, and takes itself away.
                let signal = signal.context("cannot catch signals")?;
                anyhow::bail!("{signal}: the demonstration was stopped, and what it had made is removed")
            }
        }
    })
}

async fn demonstrate(keep: bool, envoy: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let envoy = found(envoy)?;
    let topology = if envoy.is_some() { Topology::with_waypoint() } else { Topology::demo() };
    let progress = Progress::on_stderr();
    // A lab that was kept by an earlier run goes first.
    Lab::sweep(PREFIX, Kept::Remove)?;
    let mut directory = Directory::fresh()?;
    let step = progress.step(format!("building two nodes and {} pods in network namespaces", topology.pods.len()));
    let bond = if keep { Bond::Free } else { Bond::Ours };
    let binary = Path::new("/proc/self/exe").canonicalize().context("cannot find this program's own file")?;
    let mut mesh = Mesh::build(PREFIX, &topology, &directory.path, &binary, bond)?;
    step.done();
    if envoy.is_some() {
        tries::declare(&mesh)?;
    }
    say(&format!("manifests: {}", mesh.manifests().directory().display()))?;
    // It takes a second, in which the nodes start.
    let mut waypoint = envoy.map(|binary| Envoy::start(&mesh, &binary)).transpose()?;
    let step = progress.step("starting a node daemon on each node");
    for node in ["node-a", "node-b"] {
        mesh.start_node(node, &[])?;
    }
    for node in ["node-a", "node-b"] {
        mesh.ready(node, READY).await?;
    }
    step.done();
    if let Some(waypoint) = &mut waypoint {
        let step = progress.step("waiting for the Envoy that is the waypoint");
        waypoint.ready(READY).await?;
        step.done();
    }
    let step = progress.step("trying the claims");
    let rows = Tries::new(&mesh, waypoint.is_some()).all().await?;
    step.done();
    show(&rows)?;
    let held = claims::all_ok(&rows);
    if keep {
        say(&directions(&mesh))?;
        mesh.keep()?;
        directory.kept = true;
    } else {
        let step = progress.step("taking everything away");
        drop(waypoint);
        mesh.teardown(GRACE)?;
        step.done();
    }
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The Envoy that was named, which must be there, or the system's. Without one there is a word and no waypoint.
fn found(named: Option<PathBuf>) -> anyhow::Result<Option<PathBuf>> {
    if let Some(path) = named {
        let found = path.canonicalize();
        return Ok(Some(found.with_context(|| format!("there is no Envoy {}: see --envoy", path.display()))?));
    }
    let found = child::find("envoy");
    if found.is_none() {
        say("no Envoy is installed, so nothing is shown of waypoints: name one with --envoy, or run `make demo`")?;
    }
    Ok(found)
}

/// The demonstration's directory. It goes when this is dropped, however the run ends, unless it is kept.
struct Directory {
    path: PathBuf,
    kept: bool,
}

impl Directory {
    fn fresh() -> anyhow::Result<Self> {
        let path = PathBuf::from(DIRECTORY);
        let use_it = || format!("cannot use {}", path.display());
        if path.exists() {
            std::fs::remove_dir_all(&path).with_context(use_it)?;
        }
        std::fs::create_dir_all(&path).with_context(use_it)?;
        Ok(Self { path, kept: false })
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the demonstration's directory");
        }
    }
}

fn directions(mesh: &Mesh) -> String {
    format!(
        "\nThe lab is running. Change a manifest in {} and watch it apply:\n\
         \x20 ip netns exec {PREFIX}-client curl -s http://{}:8080/\n\
         \x20 tail -f {}\n\
         \x20 ip netns exec {PREFIX}-node-a curl -s http://127.0.0.1:15000/pods\n\
         The next `culvert demo` takes it away.",
        mesh.manifests().directory().display(),
        mesh.pod("server").map(|pod| pod.plan.v4.to_string()).unwrap_or_default(),
        mesh.log_of("node-a").display(),
    )
}

fn show(rows: &[Row]) -> anyhow::Result<()> {
    let width = terminal_width();
    let mut out = anstream::stdout().lock();
    write!(out, "\n{}\n", claims::render(rows, width)).context("cannot write to stdout")
}

/// Wide when nobody looks: a file has no edge.
fn terminal_width() -> usize {
    crate::sys::terminal::width().unwrap_or(240)
}

fn say(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{line}").context("cannot write to stdout")
}
