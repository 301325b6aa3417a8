//! Where a test runs: a lab, its daemons and the questions that every test asks.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use culvert::role::demo::app::{self, Cut, HTTP_PORT, Refusal, Refused, Reply, Trickle};
use culvert::role::demo::lab::Topology;
use culvert::role::demo::mesh::Mesh;
use culvert::sys::child::Bond;
use culvert::sys::exec::Program;
use culvert::sys::netns::Netns;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_culvert");
/// What should happen at once, on a machine that is busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// A change of manifests applies within a second; the rest is the machine.
pub(crate) const APPLIES: Duration = Duration::from_secs(10);
/// Bytes of a live transfer between two looks.
pub(crate) const SOME: u64 = 10_000;
/// No test takes longer than this, whatever hangs.
const LONGEST: Duration = Duration::from_secs(150);
/// Labs at once: each has two daemons, and the machine may have two processors.
const AT_ONCE: usize = 3;
pub(crate) const NODES: [&str; 2] = ["node-a", "node-b"];

/// A lab with whatever runs in it. Dropped, it takes everything away, and shows the logs of a test that failed.
pub(crate) struct Bed {
    mesh: Mesh,
    directory: TempDir,
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

/// True for root. Otherwise says that `what` was skipped, and fails under `CI=true`, where a skipped test would pass
/// for a green one.
#[expect(clippy::disallowed_methods, reason = "a test's environment, not the program's")]
pub(crate) fn may_run(what: &str) -> bool {
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{what}: needs root, and CI must not skip it");
    println!("skipped: needs root: {what}");
    false
}

/// Builds the lab `culvert-t-NAME` and runs `body` in it. The pods' programs run; the daemons do not yet.
pub(crate) fn run(name: &str, topology: &Topology, body: impl AsyncFnOnce(&mut Bed)) {
    if !may_run(name) {
        return;
    }
    let _place = Place::take();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let directory = TempDir::with_prefix("culvert-test-").unwrap();
    let prefix = format!("culvert-t-{name}");
    let mesh = Mesh::build(&prefix, topology, directory.path(), Path::new(BINARY), Bond::Ours).unwrap();
    let mut bed = Bed { mesh, directory };
    runtime.block_on(async {
        let listening =
            bed.lab().pods().iter().map(|pod| app::await_listening(&pod.netns, pod.plan.at_v4(HTTP_PORT), PATIENCE));
        for result in listening.collect::<Vec<_>>() {
            result.await.unwrap();
        }
        tokio::time::timeout(LONGEST, body(&mut bed)).await.expect("the test ends in time");
    });
}

/// The demonstration's topology: `client` and `near` on node-a, `server`, `intruder` and `outsider` on node-b; the last
/// of them is outside of the mesh.
pub(crate) fn demo(name: &str, body: impl AsyncFnOnce(&mut Bed)) {
    run(name, &Topology::demo(), body);
}

// === impl Bed ===

impl Bed {
    /// Starts both daemons with `settings` and waits until they are ready.
    pub(crate) async fn start(&mut self, settings: &[(&str, &str)]) {
        for node in NODES {
            self.launch(node, settings);
        }
        for node in NODES {
            self.mesh.ready(node, Duration::from_secs(20)).await.unwrap();
        }
    }

    /// Starts one daemon and does not wait. Rules are verified each second, so that healing is seen soon.
    pub(crate) fn launch(&mut self, node: &str, settings: &[(&str, &str)]) {
        self.launch_by(&[], node, settings);
    }

    /// As [`Bed::launch`], by a shell or the like.
    pub(crate) fn launch_by(&mut self, by: &[&str], node: &str, settings: &[(&str, &str)]) {
        let quick = [("verify-interval", "1s")];
        let quick = quick.into_iter().filter(|(key, _)| settings.iter().all(|(given, _)| given != key));
        let all: Vec<_> = quick.chain(settings.iter().copied()).collect();
        self.mesh.start_node_by(by, node, &all).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn netns(&self, pod: &str) -> &Netns {
        &self.mesh.pod(pod).unwrap().netns
    }

    pub(crate) fn at(&self, pod: &str, family: Family, port: u16) -> std::net::SocketAddr {
        let plan = &self.mesh.pod(pod).unwrap().plan;
        match family {
            Family::V4 => plan.at_v4(port),
            Family::V6 => plan.at_v6(port),
        }
    }

    pub(crate) fn node_of(&self, pod: &str) -> String {
        self.mesh.pod(pod).unwrap().plan.spec.node.clone()
    }

    /// One HTTP request over IPv4.
    pub(crate) async fn get(&self, from: &str, to: &str) -> Result<Reply, Refused> {
        app::get(self.netns(from), self.at(to, Family::V4, HTTP_PORT), "-", PATIENCE).await
    }

    /// Marks in both logs, for [`Bed::access`].
    pub(crate) fn marks(&self) -> [u64; 2] {
        NODES.map(|node| self.mesh.mark(node))
    }

    /// The access line of one side of a connection between two pods, since the marks.
    pub(crate) async fn access(&self, marks: [u64; 2], direction: &str, from: &str, to: &str) -> Value {
        let node = self.node_of(if direction == "outbound" { from } else { to });
        let mark = marks[NODES.iter().position(|known| *known == node).unwrap()];
        let wanted =
            |line: &Value| line["direction"] == direction && line["src.workload"] == from && line["dst.workload"] == to;
        let line = self.mesh.line_after(&node, mark, PATIENCE, wanted).await;
        line.unwrap_or_else(|| panic!("{node} has no {direction} line of {from} → {to}"))
    }

    /// All access lines since the marks.
    pub(crate) fn access_lines(&self, marks: [u64; 2]) -> Vec<Value> {
        let of = |(node, mark)| self.mesh.lines_after(node, mark);
        let lines = NODES.into_iter().zip(marks).flat_map(of);
        lines.filter(|line| line["direction"].is_string()).collect()
    }

    /// Waits for a log line of `node` since `mark` in which `text` stands.
    pub(crate) async fn says(&self, node: &str, mark: u64, text: &str) -> Value {
        let line = self.mesh.line_after(node, mark, APPLIES, |line| line.to_string().contains(text)).await;
        line.unwrap_or_else(|| panic!("{node} never said '{text}'"))
    }

    /// The sum of the series of `name` on `node` that carry all of `labels`.
    pub(crate) async fn metric(&self, node: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
        let text = self.mesh.metrics(node).await.expect("metrics are served");
        series(&text, name, labels).iter().map(|(_, value)| value).sum()
    }

    /// A pod's entry on its node's admin page.
    pub(crate) async fn pod_status(&self, pod: &str) -> Option<Value> {
        let pods = self.mesh.admin(&self.node_of(pod), "/pods").await?;
        pods.as_array()?.iter().find(|status| status["name"] == pod).cloned()
    }

    /// Waits until each of `pods` is in `state`.
    pub(crate) async fn states(&self, pods: &[&str], state: &str) {
        for pod in pods {
            let what = format!("{pod} is {state}");
            until(&what, async || self.pod_status(pod).await.is_some_and(|status| status["state"] == state)).await;
        }
    }

    /// Waits until both nodes have `count` policies.
    pub(crate) async fn policies(&self, count: usize) {
        for node in NODES {
            let held = async || self.mesh.admin(node, "/policies").await.and_then(|all| Some(all.as_array()?.len()));
            until(&format!("{node} has {count} policies"), async || held().await == Some(count)).await;
        }
    }

    /// Writes a manifest.
    pub(crate) fn put(&self, name: &str, text: &str) {
        self.mesh.manifests().put(name, text).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        self.mesh.manifests().remove(name).unwrap();
    }
}

impl Deref for Bed {
    type Target = Mesh;

    fn deref(&self) -> &Mesh {
        &self.mesh
    }
}

impl DerefMut for Bed {
    fn deref_mut(&mut self) -> &mut Mesh {
        &mut self.mesh
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        for node in NODES {
            // A daemon with live connections would take its drain's deadline to leave.
            drop(self.mesh.kill_node(node));
            if std::thread::panicking() {
                let text = std::fs::read_to_string(self.mesh.log_of(node)).unwrap_or_default();
                let lines: Vec<_> = text.lines().collect();
                println!("--- last lines of {node}\n{}", lines[lines.len().saturating_sub(25)..].join("\n"));
            }
        }
    }
}

/// Waits until a transfer that runs is cut.
pub(crate) async fn ends(trickle: &mut Trickle, patience: Duration, what: &str) -> Cut {
    // Far more than it carries in the time.
    let cut = trickle.advance(u64::MAX / 2, patience).await.expect_err(what);
    assert_ne!(cut.refusal, Refusal::Timeout, "{what}: it lives on: {cut}");
    cut
}

/// Waits until `holds`, and fails with `what` when it does not come true.
pub(crate) async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < APPLIES, "still not so: {what}");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

/// The series of a metric with all of `labels`, each with its value.
pub(crate) fn series<'a>(text: &'a str, name: &str, labels: &[(&str, &str)]) -> Vec<(&'a str, f64)> {
    let of_name = text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
    let wanted = of_name.filter(|line| labels.iter().all(|(key, value)| line.contains(&format!("{key}=\"{value}\""))));
    wanted.filter_map(|line| line.rsplit_once(' ')).filter_map(|(of, value)| Some((of, value.parse().ok()?))).collect()
}

/// Runs a line, split at blanks, in the namespace, and gives what it printed.
pub(crate) fn sh(netns: &Netns, line: &str) -> String {
    let words: Vec<_> = line.split(' ').collect();
    let program = Program::new(words[0], &words[1..]);
    netns.run(move || program.run()).unwrap().unwrap_or_else(|error| panic!("{line}: {error}")).stdout
}

/// All that rules and routes of a namespace are, for before and after.
pub(crate) fn rules(netns: &Netns) -> String {
    let lines =
        ["nft -nn list ruleset", "ip rule", "ip -6 rule", "ip route show table all", "ip -6 route show table all"];
    lines.iter().map(|line| format!("# {line}\n{}", sh(netns, line))).collect()
}

/// A test's place among those that run at once.
struct Place;

static TAKEN: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

impl Place {
    fn take() -> Self {
        let taken = TAKEN.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = TAKEN.1.wait_while(taken, |taken| *taken >= AT_ONCE).unwrap_or_else(PoisonError::into_inner);
        *taken += 1;
        Self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *TAKEN.0.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        TAKEN.1.notify_one();
    }
}
