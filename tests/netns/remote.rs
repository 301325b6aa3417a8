//! A control plane on a third machine, and nodes that have their mesh from it, for the tests about them.
//!
//! The control plane runs on the fabric. A node's own directory has the pods of that node and no more, so that all
//! else that it knows came by xDS.

use std::cell::Cell;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use culvert::role::demo::app::{self, STREAM_PORT, Trickle, Way as Bytes, page};
use culvert::role::demo::lab::Manifests;
use culvert::sys::child::{Bond, Child, Output, Program};
use culvert::sys::netlink::{LinkRoute, Links};
use culvert::sys::netns::Netns;
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::bed::{BINARY, Bed, Family, NODES, PATIENCE, until};
use crate::certificates::authority;
use crate::roads::{HBONE, PLAIN_OUT, SAME_NODE, Way, takes};

/// Beside the nodes' own addresses, on the bridge that they are ports of.
pub(crate) const HOST: &str = "10.88.0.250";
pub(crate) const SERVED: &str = "https://10.88.0.250:15012";
pub(crate) const VIP: &str = "10.96.0.10:80";
/// A node tries again within 15 s, however long the outage was. The rest is the machine's.
pub(crate) const RETURNS: Duration = Duration::from_secs(30);

/// The control plane of a lab: its files, and its process while it runs. Shows its log when a test fails.
pub(crate) struct Control {
    program: Program,
    process: Option<Child>,
    log: PathBuf,
    /// From where it is looked at: the way of the nodes.
    seat: Netns,
    host: IpAddr,
}

/// Who issues a node's certificates.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Issuer {
    /// The control plane, over the network. The node has no key of a CA.
    Control,
    /// The node itself, with the same CA's directory.
    Node,
}

// === impl Control ===

impl Control {
    /// Makes the mesh's CA, tokens, the nodes' own directories and a Service that only the control plane knows.
    /// Nothing runs yet.
    pub(crate) fn prepare(bed: &Bed, more: &[(&str, &str)]) -> Self {
        let path = |name: &str| bed.path().join(name).display().to_string();
        drop(authority(bed));
        std::fs::copy(bed.path().join("ca/root-cert.pem"), path("root-cert.pem")).unwrap();
        let mut tokens = String::new();
        for node in NODES {
            let token = format!("a-token-that-only-{node}-has-0123456789");
            secret(&bed.path().join(format!("{node}.token")), &token);
            tokens += &format!("{token} {node}\n");
            let own = Manifests::open(&pods_of(bed, node)).unwrap();
            for namespace in &bed.lab().topology().namespaces {
                own.namespace(namespace).unwrap();
            }
            for pod in bed.lab().pods().iter().filter(|pod| pod.plan.spec.node == node) {
                own.pod(&pod.plan, pod.netns.path()).unwrap();
            }
        }
        secret(&bed.path().join("tokens"), &tokens);
        bed.put(
            "service.yaml",
            "apiVersion: v1\nkind: Service\nmetadata: {name: shop, namespace: demo}\nspec: {clusterIP: 10.96.0.10, \
             selector: {app: server}, ports: [{port: 80, targetPort: 8080}]}\n",
        );
        Links::open(bed.lab().fabric()).unwrap().add_address("br0", format!("{HOST}/24").parse().unwrap()).unwrap();
        let own = [
            ("manifests", path("manifests")),
            ("tokens", path("tokens")),
            ("server-names", HOST.to_owned()),
            ("ca-dir", path("ca")),
        ];
        let more = more.iter().map(|(key, value)| (*key, (*value).to_owned()));
        let arguments = own.into_iter().chain(more).map(|(key, value)| format!("--{key}={value}"));
        let log = bed.path().join("control.log");
        let program = Program {
            name: "the control plane".into(),
            path: BINARY.into(),
            arguments: ["control".to_owned()].into_iter().chain(arguments).collect(),
            environment: Vec::new(),
            netns: bed.lab().fabric().clone(),
            output: Output::File(log.clone()),
            bond: Bond::Ours,
        };
        let seat = bed.lab().node("node-a").unwrap().netns.clone();
        Self { program, process: None, log, seat, host: HOST.parse().unwrap() }
    }

    /// Another one with the same files, in a pod that no node looks after.
    pub(crate) fn in_pod(&self, bed: &Bed, pod: &str) -> Self {
        let host = bed.at(pod, Family::V4, 0).ip();
        let log = bed.path().join(format!("control-{pod}.log"));
        let named = |argument: &String| match argument.starts_with("--server-names=") {
            true => format!("--server-names={host}"),
            false => argument.clone(),
        };
        let program = Program {
            arguments: self.program.arguments.iter().map(named).collect(),
            netns: bed.netns(pod).clone(),
            output: Output::File(log.clone()),
            ..self.program.clone()
        };
        Self { program, process: None, log, seat: self.seat.clone(), host }
    }

    /// Starts it and waits until it serves.
    pub(crate) async fn start(&mut self) {
        self.process = Some(Child::start(&self.program).unwrap());
        until("the control plane is ready", async || {
            matches!(self.page(15022, "/healthz/ready").await, Some((200, _)))
        })
        .await;
    }

    /// As a crash would end it: nobody is told.
    pub(crate) fn kill(&mut self) {
        self.process.take().unwrap().kill().unwrap();
    }

    /// Stops it where it stands, or lets it go on: its connections stay, and nobody is answered meanwhile.
    pub(crate) fn pause(&mut self, paused: bool) {
        let signal = if paused { Signal::SIGSTOP } else { Signal::SIGCONT };
        self.process.as_mut().unwrap().signal(signal).unwrap();
    }

    pub(crate) async fn page(&self, port: u16, path: &str) -> Option<(u16, String)> {
        page::page(&self.seat, SocketAddr::new(self.host, port), path, PATIENCE).await.ok()
    }

    /// The sum of a metric's series.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.page(15014, "/metrics").await.expect("metrics are served");
        crate::bed::series(&text, name, &[]).iter().map(|(_, value)| value).sum()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.kill());
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            println!("--- last lines of the control plane\n{}", lines[lines.len().saturating_sub(25)..].join("\n"));
        }
    }
}

/// Writes what nobody else may read.
pub(crate) fn secret(path: &Path, text: &str) {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

pub(crate) fn pods_of(bed: &Bed, node: &str) -> PathBuf {
    bed.path().join(format!("pods-{node}"))
}

/// Starts one node under the control plane, and does not wait.
pub(crate) fn launch(bed: &mut Bed, node: &str, issuer: Issuer, more: &[(&str, &str)]) {
    let path = |name: &str| bed.path().join(name).display().to_string();
    let (pods, root, token) = (path(&format!("pods-{node}")), path("root-cert.pem"), path(&format!("{node}.token")));
    let (state, no_key, shared) = (path(&format!("state-{node}")), path("no-ca"), path("ca"));
    let mut settings = vec![
        ("manifests", pods.as_str()),
        ("xds-address", SERVED),
        ("xds-roots", &root),
        ("token-file", &token),
        ("state-dir", &state),
    ];
    match issuer {
        Issuer::Control => settings.extend([("ca-address", SERVED), ("ca-roots", &root), ("ca-dir", &no_key)]),
        Issuer::Node => settings.push(("ca-dir", &shared)),
    }
    settings.retain(|(key, _)| more.iter().all(|(given, _)| given != key));
    settings.extend(more);
    bed.launch(node, &settings);
}

/// Starts both nodes and waits until they are ready.
pub(crate) async fn nodes(bed: &mut Bed, issuer: Issuer, more: &[(&str, &str)]) {
    for node in NODES {
        launch(bed, node, issuer, more);
    }
    for node in NODES {
        bed.ready(node, Duration::from_secs(20)).await.unwrap();
    }
}

/// One request to the Service. Its endpoint answers.
pub(crate) async fn buys(bed: &Bed) {
    let reply = app::get(bed.netns("client"), VIP.parse().unwrap(), "shop", PATIENCE).await;
    let reply = reply.unwrap_or_else(|e| panic!("client → {VIP}: {e}"));
    assert_eq!(reply.answer.pod, "server");
}

/// Both directions between the nodes, the lane, and what is outside.
pub(crate) async fn all_roads(bed: &Bed) {
    for way in [HBONE, Way { from: "server", to: "near", ..HBONE }, SAME_NODE, PLAIN_OUT] {
        takes(bed, &way, Family::V4).await;
    }
}

/// Runs `script` while requests are made without a pause, each on a connection of its own, and while one connection
/// carries bytes from first to last. Any that fails is the test's failure. How many requests there were.
pub(crate) async fn under_load<T>(bed: &Bed, script: impl Future<Output = T>) -> (T, u64) {
    let to = bed.at("server", Family::V4, STREAM_PORT);
    let mut held = Trickle::start(bed.netns("client"), to, Bytes::Echo, PATIENCE).await.unwrap();
    let (done, started) = (Cell::new(false), Instant::now());
    let load = async {
        let (mut requests, mut rare) = (0, Instant::now());
        while !done.get() {
            for (from, to) in [("client", "server"), ("server", "near"), ("client", "near")] {
                let reply = bed.get(from, to).await;
                reply.unwrap_or_else(|e| panic!("{from} → {to} after {:?}: {e}", started.elapsed()));
            }
            buys(bed).await;
            requests += 4;
            // Seldom enough for its tunnel to have gone idle: a handshake with the certificates of that moment.
            if rare.elapsed() > Duration::from_secs(2) {
                let reply = bed.get("near", "intruder").await;
                reply.unwrap_or_else(|e| panic!("near → intruder after {:?}: {e}", started.elapsed()));
                (requests, rare) = (requests + 1, Instant::now());
            }
            held.advance(100, PATIENCE).await.unwrap_or_else(|e| panic!("after {:?}: {e}", started.elapsed()));
            sleep(Duration::from_millis(20)).await;
        }
        requests
    };
    let script = async {
        let value = script.await;
        done.set(true);
        value
    };
    let (value, requests) = tokio::join!(script, load);
    held.finish(PATIENCE).await.unwrap();
    (value, requests)
}

/// Waits for as long as `patience`, and fails with `what`.
pub(crate) async fn within(patience: Duration, what: &str, holds: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < patience, "not within {patience:?}: {what}");
        sleep(Duration::from_millis(200)).await;
    }
}

pub(crate) async fn certificates(bed: &Bed, node: &str) -> Vec<Value> {
    bed.admin(node, "/certificates").await.unwrap().as_array().unwrap().clone()
}

pub(crate) async fn renewals(bed: &Bed, node: &str, result: &str) -> f64 {
    bed.metric(node, "culvert_certificate_renewals_total", &[("result", result)]).await
}

/// How old what a node knows may be.
pub(crate) async fn age(bed: &Bed, node: &str) -> f64 {
    bed.metric(node, "culvert_xds_state_age_seconds", &[]).await
}

/// The mesh that a node has names this workload.
pub(crate) async fn knows(bed: &Bed, node: &str, workload: &str) -> bool {
    let all = bed.admin(node, "/workloads").await.unwrap_or_default();
    all.as_array().is_some_and(|all| all.iter().any(|one| one["name"] == workload))
}

/// Teaches the fabric the way to the pods, so that what runs on it can answer them.
pub(crate) fn answers_pods(bed: &Bed) {
    let mut links = Links::open(bed.lab().fabric()).unwrap();
    for node in bed.lab().nodes() {
        let (to, via) = (node.plan.pods_v4.into(), Some(node.plan.v4.into()));
        links.add_route(&LinkRoute { to, via, link: "br0", source: None }).unwrap();
    }
}

pub(crate) fn policy(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: {name}, namespace: demo}}\nspec: {spec}\n"
    )
}
