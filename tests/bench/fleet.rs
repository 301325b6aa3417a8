//! `cargo bench --bench fleet`: a node takes a large mesh from a control plane over the network.
//!
//! The real program on both ends: `culvert control` reads a directory of 100,000 pods and 10,000 services and serves
//! it over TLS; `culvert node` subscribes to all of it. Told are the node's resident memory as the kernel has it, once
//! it is ready and again when nothing moves, the time from its start until it is ready, and how long a change of one pod
//! takes from the file to the node. Needs root, as the node does. `ARGS`: the number of services, 10,000 unless told.
#![expect(clippy::print_stdout, reason = "the table is what a person asked for")]

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::Instant;

const BINARY: &str = env!("CARGO_BIN_EXE_culvert");
/// Of no worth: it opens a control plane on loopback for as long as the bench runs.
const TOKEN: &str = "bench-token-bench-token-bench-token";
const TEMPLATE: &str = "7d9c5b6f4d";
const REPLICAS: u32 = 10;
const NAMESPACES: u32 = 500;
const NODES: u32 = 1_000;
const FILES: u32 = 100;
const CONTROL: [&str; 4] = ["127.0.0.1:25012", "127.0.0.1:25000", "127.0.0.1:25020", "127.0.0.1:25021"];
const NODE: [&str; 3] = ["127.0.0.1:26000", "127.0.0.1:26020", "127.0.0.1:26021"];
const PATIENCE: Duration = Duration::from_secs(600);

/// Ends with this process, whatever happens.
struct Running(Child);

impl Running {
    /// Waits for something that this program brings about.
    fn until(&mut self, done: impl Fn() -> bool) {
        let began = Instant::now();
        while !done() {
            assert!(began.elapsed() < PATIENCE, "nothing came within {PATIENCE:?}");
            assert!(self.0.try_wait().expect("it can be asked").is_none(), "the program ended");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn main() {
    let asked = std::env::args().skip(1).find_map(|word| word.parse().ok());
    let services: u32 = asked.unwrap_or(10_000);
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    for name in ["mesh", "pods", "ca"] {
        fs::create_dir(path(name)).expect("a directory");
    }
    write_mesh(&path("mesh"), services);
    fs::write(path("tokens"), format!("{TOKEN} node-1\n")).expect("a file");
    fs::set_permissions(path("tokens"), fs::Permissions::from_mode(0o600)).expect("a mode");
    fs::write(path("token"), TOKEN).expect("a file");

    let began = Instant::now();
    let mut control = start(&[
        "control".into(),
        format!("--manifests={}", path("mesh").display()),
        format!("--tokens={}", path("tokens").display()),
        format!("--ca-dir={}", path("ca").display()),
        "--server-names=127.0.0.1".into(),
        format!("--listen-address={}", CONTROL[0]),
        format!("--admin-address={}", CONTROL[1]),
        format!("--metrics-address={}", CONTROL[2]),
        format!("--ready-address={}", CONTROL[3]),
    ]);
    control.until(|| ready(CONTROL[3]));
    let loaded = began.elapsed();

    let root = path("ca").join("root-cert.pem");
    let began = Instant::now();
    let mut node = start(&[
        "node".into(),
        "--node=node-1".into(),
        format!("--manifests={}", path("pods").display()),
        format!("--xds-address=https://{}", CONTROL[0]),
        format!("--xds-roots={}", root.display()),
        format!("--ca-address=https://{}", CONTROL[0]),
        format!("--ca-roots={}", root.display()),
        format!("--token-file={}", path("token").display()),
        format!("--state-dir={}", path("state").display()),
        format!("--admin-address={}", NODE[0]),
        format!("--metrics-address={}", NODE[1]),
        format!("--ready-address={}", NODE[2]),
    ]);
    node.until(|| ready(NODE[2]));
    let synced = began.elapsed();
    let at_once = memory(&node, "VmRSS:");
    std::thread::sleep(Duration::from_secs(30));
    let later = memory(&node, "VmRSS:");
    let most = memory(&node, "VmHWM:");

    let file = path("mesh").join("late.yaml");
    let began = Instant::now();
    fs::write(&file, pod("late", "team-0", "service-0", "10.255.255.1")).expect("a file");
    node.until(|| get(NODE[0], "/workloads").contains("10.255.255.1"));
    let changed = began.elapsed();

    let mib = |kib: u64| kib as f64 / 1024.0;
    println!("| {} workloads in {services} services, over xDS | |\n| --- | ---: |", services * REPLICAS);
    println!("| resident once it is ready (MiB) | {:.1} |", mib(at_once));
    println!("| resident 30 s later (MiB) | {:.1} |", mib(later));
    println!("| resident at most (MiB) | {:.1} |", mib(most));
    println!("| from the node's start until it is ready (s) | {:.2} |", synced.as_secs_f64());
    println!("| one changed pod, from the file to the node's page (s) | {:.2} |", changed.as_secs_f64());
    println!("| the control plane's own load of the directory (s) | {:.2} |", loaded.as_secs_f64());
}

#[expect(clippy::disallowed_methods, reason = "a program of the bench's own, in no namespace")]
fn start(arguments: &[String]) -> Running {
    let child = Command::new(BINARY).args(arguments).stdout(Stdio::null()).spawn();
    Running(child.expect("the program starts"))
}

fn ready(at: &str) -> bool {
    get(at, "/healthz/ready").starts_with("HTTP/1.1 200")
}

fn get(at: &str, path: &str) -> String {
    let mut answer = Vec::new();
    let Ok(mut stream) = TcpStream::connect(at) else { return String::new() };
    let asked = write!(stream, "GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n");
    drop(asked.and_then(|()| stream.read_to_end(&mut answer)));
    String::from_utf8_lossy(&answer).into_owned()
}

fn memory(of: &Running, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", of.0.id())).expect("/proc is mounted");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("the kernel tells it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn write_mesh(directory: &Path, services: u32) {
    let mut namespaces = String::new();
    for number in 0..NAMESPACES {
        write!(
            namespaces,
            "---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: team-{number}, labels: {{istio.io/dataplane-mode: ambient}}}}\n"
        )
        .expect("text");
    }
    fs::write(directory.join("namespaces.yaml"), namespaces).expect("a file");
    for file in 0..FILES {
        let mut text = String::new();
        for number in (0..services).filter(|number| number % FILES == file) {
            let (namespace, name) = (format!("team-{}", number % NAMESPACES), format!("service-{number}"));
            write!(
                text,
                "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
                 spec: {{clusterIPs: [172.{}.{}.{}], selector: {{app: {name}}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}\n",
                16 + number / 65536,
                number / 256 % 256,
                number % 256
            )
            .expect("text");
            for replica in 0..REPLICAS {
                let each = number * REPLICAS + replica;
                let address = format!("10.{}.{}.{}", each / 65536, each / 256 % 256, each % 256);
                text.push_str(&pod(&format!("{name}-{TEMPLATE}-{each:05x}"), &namespace, &name, &address));
            }
        }
        fs::write(directory.join(format!("part-{file}.yaml")), text).expect("a file");
    }
}

/// A replica of a Deployment, as its ReplicaSet makes it.
fn pod(name: &str, namespace: &str, app: &str, address: &str) -> String {
    let node = name.bytes().map(u32::from).sum::<u32>() % NODES;
    let set = format!("{app}-{TEMPLATE}");
    format!(
        "---\napiVersion: v1\nkind: Pod\n\
         metadata: {{generateName: {set}-, name: {name}, namespace: {namespace}, labels: {{app: {app}, pod-template-hash: {TEMPLATE}}},\n\
         \x20 ownerReferences: [{{apiVersion: apps/v1, kind: ReplicaSet, name: {set}, uid: {set}, controller: true}}]}}\n\
         spec: {{nodeName: node-{node}.internal, serviceAccountName: {app}, containers: []}}\n\
         status: {{phase: Running, podIPs: [{{ip: {address}}}]}}\n"
    )
}
