//! Nodes whose mesh, and whose certificates unless a test says otherwise, come over the network from `culvert control`:
//! that it works at all, that certificates turn over under load, and what goes on while it is away.
//!
//! The control plane runs on the fabric, a third machine. A node's own directory has the pods of that node and no
//! more, so that all else that it knows came by xDS.

use std::cell::Cell;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use culvert::model::ports;
use culvert::role::demo::app::{self, HTTP_PORT, STREAM_PORT, Trickle, Way as Bytes, page};
use culvert::role::demo::lab::Manifests;
use culvert::sys::child::{Bond, Child, Output, Program};
use culvert::sys::netlink::Links;
use culvert::sys::netns::Netns;
use culvert::sys::packet::{Capture, Finding};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::bed::{BINARY, Bed, Family, NODES, PATIENCE, SOME, demo, ends, until};
use crate::certificates::authority;
use crate::roads::{HBONE, PLAIN_OUT, SAME_NODE, Way, takes};

/// Beside the nodes' own addresses, on the bridge that they are ports of.
const HOST: &str = "10.88.0.250";
const SERVED: &str = "https://10.88.0.250:15012";
const VIP: &str = "10.96.0.10:80";
/// The pods that are in the mesh.
const PODS: [&str; 4] = ["client", "near", "server", "intruder"];
const MARKER: &str = "culvert-must-not-be-seen";
/// How long the control plane is away. The bed has no minute; nothing in a node counts between this and hours.
const AWAY: Duration = Duration::from_secs(20);
/// A node tries again within 15 s, however long the outage was. The rest is the machine's.
const RETURNS: Duration = Duration::from_secs(30);

/// The control plane of a lab: its files, and its process while it runs. Shows its log when a test fails.
struct Control {
    program: Program,
    process: Option<Child>,
    log: PathBuf,
    /// From where it is looked at: the way of the nodes.
    seat: Netns,
}

/// Who issues a node's certificates.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Issuer {
    /// The control plane, over the network. The node has no key of a CA.
    Control,
    /// The node itself, with the same CA's directory.
    Node,
}

// === impl Control ===

impl Control {
    /// Makes the mesh's CA, tokens, the nodes' own directories and a Service that only the control plane knows.
    /// Nothing runs yet.
    fn prepare(bed: &Bed, more: &[(&str, &str)]) -> Self {
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
        Self { program, process: None, log, seat: bed.lab().node("node-a").unwrap().netns.clone() }
    }

    /// Starts it and waits until it serves.
    async fn start(&mut self) {
        self.process = Some(Child::start(&self.program).unwrap());
        until("the control plane is ready", async || {
            matches!(self.page(15022, "/healthz/ready").await, Some((200, _)))
        })
        .await;
    }

    /// As a crash would end it: nobody is told.
    fn kill(&mut self) {
        self.process.take().unwrap().kill().unwrap();
    }

    async fn page(&self, port: u16, path: &str) -> Option<(u16, String)> {
        page::page(&self.seat, SocketAddr::new(HOST.parse().unwrap(), port), path, PATIENCE).await.ok()
    }

    /// The sum of a metric's series.
    async fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.page(15014, "/metrics").await.expect("metrics are served");
        crate::bed::series(&text, name, &[]).iter().map(|(_, value)| value).sum()
    }

    fn log(&self) -> String {
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
fn secret(path: &Path, text: &str) {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn pods_of(bed: &Bed, node: &str) -> PathBuf {
    bed.path().join(format!("pods-{node}"))
}

/// Starts one node under the control plane, and does not wait.
fn launch(bed: &mut Bed, node: &str, issuer: Issuer, more: &[(&str, &str)]) {
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
    settings.extend(more);
    bed.launch(node, &settings);
}

/// Starts both nodes and waits until they are ready.
async fn nodes(bed: &mut Bed, issuer: Issuer, more: &[(&str, &str)]) {
    for node in NODES {
        launch(bed, node, issuer, more);
    }
    for node in NODES {
        bed.ready(node, Duration::from_secs(20)).await.unwrap();
    }
}

/// One request to the Service. Its endpoint answers.
async fn buys(bed: &Bed) {
    let reply = app::get(bed.netns("client"), VIP.parse().unwrap(), "shop", PATIENCE).await;
    let reply = reply.unwrap_or_else(|e| panic!("client → {VIP}: {e}"));
    assert_eq!(reply.answer.pod, "server");
}

/// Both directions between the nodes, the lane, and what is outside.
async fn all_roads(bed: &Bed) {
    for way in [HBONE, Way { from: "server", to: "near", ..HBONE }, SAME_NODE, PLAIN_OUT] {
        takes(bed, &way, Family::V4).await;
    }
}

/// Runs `script` while requests are made without a pause, each on a connection of its own, and while one connection
/// carries bytes from first to last. Any that fails is the test's failure. How many requests there were.
async fn under_load<T>(bed: &Bed, script: impl Future<Output = T>) -> (T, u64) {
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
async fn within(patience: Duration, what: &str, holds: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < patience, "not within {patience:?}: {what}");
        sleep(Duration::from_millis(200)).await;
    }
}

async fn certificates(bed: &Bed, node: &str) -> Vec<Value> {
    bed.admin(node, "/certificates").await.unwrap().as_array().unwrap().clone()
}

async fn renewals(bed: &Bed, node: &str, result: &str) -> f64 {
    bed.metric(node, "culvert_certificate_renewals_total", &[("result", result)]).await
}

/// How old what a node knows may be.
async fn age(bed: &Bed, node: &str) -> f64 {
    bed.metric(node, "culvert_xds_state_age_seconds", &[]).await
}

fn policy(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: {name}, namespace: demo}}\nspec: {spec}\n"
    )
}

#[test]
fn two_machines_are_one_mesh_by_the_control_plane() {
    demo("control", async |bed| {
        let mut control = Control::prepare(bed, &[]);
        control.start().await;
        nodes(bed, Issuer::Control, &[]).await;
        all_roads(bed).await;
        assert!(!bed.path().join("no-ca").exists(), "a node under a CA makes none of its own");
        let marks = bed.marks();
        buys(bed).await;
        let line = bed.access(marks, "outbound", "client", "server").await;
        assert_eq!((&line["road"], &line["dst.service"]), (&"hbone".into(), &"shop.demo.svc.cluster.local".into()));

        // A policy that comes while nodes run: whom it allows goes on, another is refused and told why.
        let to = bed.at("server", Family::V4, STREAM_PORT);
        let mut live = Trickle::start(bed.netns("client"), to, Bytes::Echo, PATIENCE).await.unwrap();
        let allow = "{selector: {matchLabels: {app: server}}, action: ALLOW, rules: [{from: [{source: {principals: \
                     [cluster.local/ns/demo/sa/client]}}]}]}";
        bed.put("allow.yaml", &policy("only-client", allow));
        bed.policies(1).await;
        let marks = bed.marks();
        bed.get("near", "server").await.expect_err("it is not the client");
        let line = bed.access(marks, "inbound", "near", "server").await;
        assert_eq!((&line["reason"], &line["policy"]), (&"policy".into(), &"demo/only-client".into()), "{line}");
        live.advance(SOME, PATIENCE).await.unwrap();
        takes(bed, &HBONE, Family::V4).await;
        // The policy of a connection that lives: it ends.
        let marks = bed.marks();
        bed.put("allow.yaml", &policy("only-client", &allow.replace("sa/client", "sa/near")));
        ends(&mut live, Duration::from_secs(4), "the policy forbids what lives").await;
        let line = bed.access(marks, "inbound", "client", "server").await;
        assert_eq!(line["reason"], "policy_changed", "{line}");
        bed.remove("allow.yaml");
        bed.policies(0).await;
        takes(bed, &HBONE, Family::V4).await;

        assert_eq!(control.metric("culvert_xds_nacks_total").await, 0.0, "nodes take all that they are sent");
        assert_eq!(control.metric("culvert_xds_clients").await, 2.0);
        another_nodes_identity_is_refused(bed, &control).await;
    });
}

/// The control plane says that `near` runs on node-b; node-a, which has it in its own files, asks for its certificate
/// all the same.
async fn another_nodes_identity_is_refused(bed: &mut Bed, control: &Control) {
    let file = "pod-demo-near.yaml";
    let text = std::fs::read_to_string(bed.manifests().directory().join(file)).unwrap();
    let moved = text.replace("nodeName: node-a", "nodeName: node-b");
    assert_ne!(moved, text);
    let reloads = || control.log().matches("manifests reloaded").count();
    let before = reloads();
    bed.put(file, &moved);
    until("the control plane has read it", async || reloads() > before).await;
    bed.kill_node("node-a").unwrap();
    launch(bed, "node-a", Issuer::Control, &[]);
    until("the refusal is told", async || control.log().contains("is of no pod that runs on")).await;
    let state = async |account: &str| {
        let known = bed.admin("node-a", "/certificates").await;
        let known = known.and_then(|all| Some(all.as_array()?.clone())).unwrap_or_default();
        let of = |one: &Value| one["identity"] == format!("spiffe://cluster.local/ns/demo/sa/{account}");
        known.iter().find(|one| of(one)).map(|one| one["state"].clone())
    };
    until("its own pod has one", async || state("client").await == Some("Available".into())).await;
    assert_eq!(state("near").await, Some("Unavailable".into()));
}

#[test]
fn certificates_of_20_seconds_turn_over_under_load_and_no_request_fails() {
    demo("turnover", async |bed| {
        let life = [("leaf-ttl", "20s")];
        // The server's own certificate turns over as well.
        let mut control = Control::prepare(bed, &life);
        control.start().await;
        nodes(bed, Issuer::Control, &[("leaf-ttl", "20s"), ("pool-idle", "1s")]).await;
        let started = Instant::now();
        let script = async {
            for node in NODES {
                // Two pods: the first certificates, and two more of each.
                let turned = async || renewals(bed, node, "ok").await >= 6.0;
                within(Duration::from_secs(40), &format!("{node} has renewed twice"), turned).await;
            }
            // And the first ones have expired.
            sleep(Duration::from_secs(21).saturating_sub(started.elapsed())).await;
        };
        let ((), requests) = under_load(bed, script).await;
        assert!(requests > 200, "{requests} requests are no load");
        for node in NODES {
            assert_eq!(renewals(bed, node, "failed").await, 0.0, "{node}");
            for certificate in certificates(bed, node).await {
                assert_eq!((&certificate["state"], &certificate["failures"]), (&"Available".into(), &0.into()));
                assert!(certificate["secondsToExpiry"].as_i64().unwrap() <= 20, "{certificate}");
            }
        }
    });
}

/// Mesh and certificates are both away: what is known serves, and a renewal that is due is made up for.
#[test]
fn a_control_plane_that_is_away_fails_no_request() {
    demo("away", async |bed| {
        let mut control = Control::prepare(bed, &[]);
        control.start().await;
        nodes(bed, Issuer::Control, &[("leaf-ttl", "40s"), ("pool-idle", "1s")]).await;
        let started = Instant::now();
        let script = async {
            sleep(Duration::from_secs(2)).await;
            control.kill();
            let gone = Instant::now();
            let deny = "{action: DENY, rules: [{from: [{source: {principals: [cluster.local/ns/demo/sa/intruder]}}]}]}";
            bed.put("deny.yaml", &policy("no-intruder", deny));
            for node in NODES {
                // They are due at half of their life.
                let failed = async || renewals(bed, node, "failed").await >= 1.0;
                within(Duration::from_secs(30), &format!("{node} has asked in vain"), failed).await;
            }
            sleep(AWAY.saturating_sub(gone.elapsed())).await;
            for node in NODES {
                assert!(age(bed, node).await >= 15.0, "{node} knows since when it has heard nothing");
            }
            control.start().await;
            for node in NODES {
                let told = async || bed.admin(node, "/policies").await.is_some_and(|all| all[0].is_object());
                within(RETURNS, &format!("{node} hears what changed meanwhile"), told).await;
                assert!(age(bed, node).await < 2.0);
                let renewed = async || {
                    let all = certificates(bed, node).await;
                    all.iter().all(|one| one["state"] == "Available" && one["failures"] == 0)
                };
                within(RETURNS, &format!("{node} has certificates again"), renewed).await;
            }
            // Until the first certificates have expired.
            sleep(Duration::from_secs(41).saturating_sub(started.elapsed())).await;
        };
        let ((), requests) = under_load(bed, script).await;
        assert!(requests > 300, "{requests} requests are no load");
        bed.get("intruder", "client").await.expect_err("the policy that was made meanwhile holds");
    });
}

/// With certificates from elsewhere a node needs no control plane to begin, and one that has known it serves at once.
#[test]
fn nodes_start_without_the_control_plane() {
    demo("alone", async |bed| {
        let mut control = Control::prepare(bed, &[]);
        for node in NODES {
            launch(bed, node, Issuer::Node, &[]);
        }
        bed.states(&PODS, "enrolled").await;
        for node in NODES {
            let have = async || {
                let all = bed.admin(node, "/certificates").await.unwrap_or_default();
                all.as_array().is_some_and(|all| all.len() == 2 && all.iter().all(|one| one["state"] == "Available"))
            };
            until(&format!("{node}'s pods have certificates"), have).await;
            let (code, why) = readiness(bed, node).await;
            assert_eq!(code, 503, "{node}: {why}");
            assert!(why.contains("state manager") && !why.contains("pods enrolled"), "{node}: {why}");
        }
        nobody_knows_who_is_in_the_mesh(bed).await;
        control.start().await;
        for node in NODES {
            bed.ready(node, Duration::from_secs(20)).await.unwrap();
        }
        all_roads(bed).await;

        // Now it has been known: what was told last is on disk.
        assert!(bed.stop_node("node-b", Duration::from_secs(10)).unwrap(), "node-b leaves in order");
        control.kill();
        launch(bed, "node-b", Issuer::Node, &[]);
        bed.ready("node-b", Duration::from_secs(10)).await.unwrap();
        all_roads(bed).await;
        buys(bed).await;
        until("nobody has confirmed what it serves", async || age(bed, "node-b").await >= 1.0).await;
        bed.put("deny.yaml", &policy("nobody", "{action: DENY, rules: [{to: [{operation: {ports: [\"8080\"]}}]}]}"));
        control.start().await;
        for node in NODES {
            let told = async || bed.admin(node, "/policies").await.is_some_and(|all| all[0].is_object());
            within(RETURNS, &format!("{node} follows again"), told).await;
        }
        bed.get("client", "server").await.expect_err("the new policy holds");
        until("what is served is the control plane's", async || age(bed, "node-b").await == 0.0).await;
    });
}

/// Nothing leaves in clear, and nothing is let in.
async fn nobody_knows_who_is_in_the_mesh(bed: &Bed) {
    let told = async |marks: [u64; 2], direction: &str, reason: &str| {
        let line = bed.line_after("node-a", marks[0], PATIENCE, |line| line["direction"] == direction).await;
        let line = line.expect("a refusal is told");
        assert_eq!((&line["road"], &line["reason"]), (&"refused".into(), &reason.into()), "{line}");
    };
    let port = &bed.lab().node("node-a").unwrap().plan.port;
    let capture = Capture::start(bed.lab().fabric(), port).unwrap();
    for to in ["server", "outsider"] {
        let (marks, at) = (bed.marks(), bed.at(to, Family::V4, HTTP_PORT));
        let refused = app::get(bed.netns("client"), at, MARKER, PATIENCE).await.expect_err(to);
        assert!(refused.after < PATIENCE, "{to}: {refused}");
        told(marks, "outbound", "no_mesh").await;
    }
    // What the capture would show: a request of somebody whom no node looks after.
    let marks = bed.marks();
    let seen = "culvert-is-seen";
    let at = bed.at("client", Family::V4, HTTP_PORT);
    app::get(bed.netns("outsider"), at, seen, PATIENCE).await.expect_err("a stranger");
    told(marks, "inbound", "unknown_workload").await;
    let captured = capture.stop().unwrap();
    assert_eq!(captured.find(seen.as_bytes()), Finding::Present, "the capture sees what is in clear");
    assert_eq!(captured.find(MARKER.as_bytes()), Finding::Absent, "no byte in clear");
}

async fn readiness(bed: &Bed, node: &str) -> (u16, String) {
    let at = SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), ports::READY);
    page::page(&bed.lab().node(node).unwrap().netns, at, "/healthz/ready", PATIENCE).await.unwrap()
}
