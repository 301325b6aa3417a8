//! A real Envoy as the waypoint: what it allows and refuses, what is seen of it, and that nobody comes round it.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use culvert::role::demo::app::{Answer, ECHO_PORT, HTTP_PORT, Pattern};
use culvert::role::demo::lab::Topology;
use culvert::role::demo::waypoint::{Envoy, PEER_HEADER};
use culvert::sys::child;
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::bed::{Bed, Family, NODES, PATIENCE, run, until};
use crate::wire;

const BOTH: [Family; 2] = [Family::V4, Family::V6];
const MARK: &str = "x-culvert-waypoint: demo/waypoint";
/// Envoy starts in a second on an idle machine.
pub(crate) const STARTS: Duration = Duration::from_secs(30);

const GATEWAY: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: demo, labels: {istio.io/waypoint-for: all}}
spec:
  gatewayClassName: istio-waypoint
  listeners: [{name: mesh, port: 15008, protocol: HBONE}]
";

/// Where `make` puts it, or the system's; `None` is said, and fails under `CI=true`.
#[expect(clippy::disallowed_methods, reason = "a test's environment, not the program's")]
pub(crate) fn envoy() -> Option<PathBuf> {
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/envoy/envoy");
    let found = Some(fetched).filter(|path| path.is_file()).or_else(|| child::find("envoy"));
    if found.is_none() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "there is no Envoy; `make envoy` fetches it");
        println!("skipped: there is no Envoy; `make envoy` fetches it");
    }
    found
}

/// A Service of the pod `server`, behind the waypoint.
fn service(name: &str, vips: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\n\
         metadata: {{name: {name}, namespace: demo, labels: {{istio.io/use-waypoint: waypoint}}}}\n\
         spec: {{clusterIPs: [{vips}], selector: {{app: server}}, ports: [\
         {{name: http, port: 80, targetPort: {HTTP_PORT}}}, \
         {{name: tcp-echo, port: 81, targetPort: {ECHO_PORT}}}]}}\n"
    )
}

fn policy(name: &str, target: &str, spec: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: {name}, namespace: demo}}\n\
         spec:\n  targetRefs: [{target}]\n  {spec}\n"
    )
}

fn vip(family: Family) -> SocketAddr {
    match family {
        Family::V4 => "10.96.0.10:80".parse().unwrap(),
        Family::V6 => "[fd96::10]:80".parse().unwrap(),
    }
}

/// The demonstration's lab with a waypoint: for the Service `web` of `server`, and for the pod `near`. Envoy and the
/// nodes run.
fn through(name: &str, manifests: &[(&str, String)], body: impl AsyncFnOnce(&mut Bed, &mut Envoy)) {
    let Some(binary) = envoy() else { return };
    let mut topology = Topology::with_waypoint();
    for pod in topology.pods.iter_mut().filter(|pod| pod.name == "near") {
        pod.labels.insert("istio.io/use-waypoint".into(), "waypoint".into());
    }
    run(name, &topology, async |bed| {
        bed.put("gateway.yaml", GATEWAY);
        bed.put("web.yaml", &service("web", "10.96.0.10, 'fd96::10'"));
        for (file, text) in manifests {
            bed.put(file, text);
        }
        let mut waypoint = Envoy::start(bed, &binary).unwrap();
        bed.start(&[]).await;
        waypoint.ready(STARTS).await.unwrap();
        body(bed, &mut waypoint).await;
    });
}

const ONLY_GET: &str = "rules: [{to: [{operation: {methods: [GET]}}]}]";

fn only_get() -> (&'static str, String) {
    let target = "{group: gateway.networking.k8s.io, kind: Gateway, name: waypoint}";
    ("only-get.yaml", policy("only-get", target, ONLY_GET))
}

/// An answer to one request on a connection of its own, which is then closed.
struct Answered {
    status: u16,
    head: String,
    body: Vec<u8>,
}

/// `request` is method, path and further header lines, each with its line end.
async fn ask(bed: &Bed, from: &str, to: SocketAddr, request: (&str, &str, &str)) -> std::io::Result<Answered> {
    let mut stream = wire::connect(bed.netns(from), to).await?;
    asked(&mut stream, request).await
}

async fn asked(stream: &mut TcpStream, (method, path, headers): (&str, &str, &str)) -> std::io::Result<Answered> {
    let host = if headers.contains("host:") { "" } else { "host: web\r\n" };
    let head = format!("{method} {path} HTTP/1.1\r\n{host}{headers}content-length: 0\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Answered { status: head.split(' ').nth(1).unwrap().parse().unwrap(), head, body })
}

/// Tunnels that came to `server`, ever.
async fn arrivals(bed: &Bed) -> f64 {
    let labels = [("reporter", "destination"), ("destination_workload", "server")];
    bed.metric("node-b", "istio_tcp_connections_opened_total", &labels).await
}

#[test]
fn requests_are_judged_by_the_waypoint() {
    through("wp-judge", &[only_get()], async |bed, _| {
        let waypoint = |family| bed.at("waypoint", family, 0).ip();
        let marks = bed.marks();
        for family in BOTH {
            // From another node than the server's, and from its own.
            for from in ["client", "intruder"] {
                let to = vip(family);
                let answer = ask(bed, from, to, ("GET", "/", "")).await.unwrap();
                assert_eq!(answer.status, 200, "{from} → {to}: {}", answer.head);
                assert!(answer.head.contains(MARK), "{}", answer.head);
                let said: Answer = serde_json::from_slice(&answer.body).unwrap();
                assert_eq!(said.pod, "server");
                assert!(BOTH.map(waypoint).contains(&said.source.ip()), "the server sees the waypoint: {said:?}");
                let refused = ask(bed, from, to, ("POST", "/", "")).await.unwrap();
                assert_eq!(refused.status, 403, "{from} → {to}: {}", refused.head);
                assert!(refused.head.contains(MARK), "{}", refused.head);
            }
            // A pod that has the waypoint itself, called by its own address.
            let to = bed.at("near", family, HTTP_PORT);
            let answer = ask(bed, "client", to, ("GET", "/", "")).await.unwrap();
            assert!(answer.status == 200 && answer.head.contains(MARK), "{}", answer.head);
            assert_eq!(serde_json::from_slice::<Answer>(&answer.body).unwrap().local, to, "the pod that was called");
            assert_eq!(ask(bed, "client", to, ("POST", "/", "")).await.unwrap().status, 403);
        }
        // Envoy resets the stream of an exchange that it has ended; the application sees a plain end.
        let mut last = wire::connect(bed.netns("near"), vip(Family::V4)).await.unwrap();
        assert_eq!(asked(&mut last, ("GET", "/", "connection: close\r\n")).await.unwrap().status, 200);
        assert_eq!(wire::rest(&mut last).await.unwrap(), b"");
        let line = bed.access(marks, "outbound", "near", "waypoint").await;
        assert_eq!((&line["level"], &line["reason"]), (&"info".into(), &Value::Null), "{line}");
        let line = bed.access(marks, "outbound", "client", "waypoint").await;
        for (key, wanted) in [
            ("road", "hbone"),
            ("dst.hbone_addr", "10.96.0.10:80"),
            ("dst.identity", "spiffe://cluster.local/ns/demo/sa/waypoint"),
            ("dst.service", "web.demo.svc.cluster.local"),
            ("connection_security_policy", "mutual_tls"),
        ] {
            assert_eq!(line[key], wanted, "{key} of {line}");
        }
        let labels = [
            ("reporter", "source"),
            ("source_workload", "client"),
            ("destination_workload", "waypoint"),
            ("connection_security_policy", "mutual_tls"),
        ];
        let closed = async || bed.metric("node-a", "istio_tcp_connections_closed_total", &labels).await;
        until("8 of the client's connections are counted", async || closed().await == 8.0).await;
        // The server's node saw the waypoint and nobody else; its tunnels end with Envoy or when they are idle.
        let from = |name: &'static str| [("reporter", "destination"), ("source_workload", name)];
        assert!(bed.metric("node-b", "istio_tcp_connections_opened_total", &from("waypoint")).await > 0.0);
        for name in ["client", "intruder"] {
            assert_eq!(bed.metric("node-b", "istio_tcp_connections_opened_total", &from(name)).await, 0.0, "{name}");
        }
        quiet(bed, marks);
    });
}

/// No line of any kind since the marks that a person would have to look into.
fn quiet(bed: &Bed, marks: [u64; 2]) {
    for (node, mark) in NODES.into_iter().zip(marks) {
        let bad: Vec<Value> = bed.lines_after(node, mark);
        let bad: Vec<_> = bad.iter().filter(|line| line["level"] != "info" && line["level"] != "debug").collect();
        assert!(bad.is_empty(), "{node}: {bad:#?}");
    }
}

#[test]
fn bytes_come_whole_and_connections_are_kept() {
    const LENGTH: usize = 24 << 20;
    let text =
        format!("{}---\n{}", service("locked", "10.96.0.11"), policy("get", "{kind: Service, name: locked}", ONLY_GET));
    through("wp-large", &[("locked.yaml", text)], async |bed, _| {
        let marks = bed.marks();
        let mut stream = wire::connect(bed.netns("client"), vip(Family::V4)).await.unwrap();
        let path = format!("/bytes?n={LENGTH}");
        for _ in 0..2 {
            let answer = timeout(PATIENCE * 4, asked(&mut stream, ("GET", &path, ""))).await.unwrap().unwrap();
            assert_eq!((answer.status, answer.body.len()), (200, LENGTH));
            Pattern::default().verify(&answer.body).unwrap();
        }
        stream.shutdown().await.unwrap();
        assert_eq!(wire::rest(&mut stream).await.unwrap(), b"", "a plain end, and no reset");
        let line = bed.access(marks, "outbound", "client", "waypoint").await;
        assert!(line["bytes_recv"].as_u64().unwrap() > 2 * LENGTH as u64 && line["reason"].is_null(), "{line}");
        // Not HTTP: both ways, with a half-close.
        for family in BOTH {
            wire::echo(bed.netns("client"), SocketAddr::new(vip(family).ip(), 81), 3 << 20).await;
        }
        quiet(bed, marks);
        // A rule that speaks of requests allows no bytes.
        let mut refused = wire::connect(bed.netns("client"), "10.96.0.11:81".parse().unwrap()).await.unwrap();
        refused.write_all(b"hello").await.unwrap();
        assert!(wire::rest(&mut refused).await.is_ok_and(|back| back.is_empty()), "nothing comes back");
    });
}

/// One Service, its policies, a request, and what becomes of it.
struct Case {
    specs: &'static [&'static str],
    from: &'static str,
    request: (&'static str, &'static str, &'static str),
    status: u16,
}

const fn case(
    specs: &'static [&'static str],
    from: &'static str,
    request: (&'static str, &'static str, &'static str),
    status: u16,
) -> Case {
    Case { specs, from, request, status }
}

const GET: (&str, &str, &str) = ("GET", "/", "");
const FROM_CLIENT: &[&str] = &["rules: [{from: [{source: {principals: [cluster.local/ns/demo/sa/client]}}]}]"];
const NOT_CLIENT: &[&str] = &["action: DENY\n  rules: [{from: [{source: {serviceAccounts: [client]}}]}]"];
const SUFFIX: &[&str] = &["rules: [{from: [{source: {principals: ['*/sa/client']}}]}]"];
const NAMESPACE: &[&str] = &["rules: [{from: [{source: {namespaces: ['de*']}}]}]"];
const OTHER_NAMESPACE: &[&str] = &["rules: [{from: [{source: {notNamespaces: [demo]}}]}]"];
/// client is 10.88.1.10, intruder 10.88.2.11.
const BLOCK: &[&str] = &["rules: [{from: [{source: {ipBlocks: [10.88.1.10/32]}}]}]"];
const PATHS: &[&str] = &["rules: [{to: [{operation: {paths: ['/a*', '*.js', '/x/{*}/y/{**}'], notPaths: [/admin]}}]}]"];
const DENIED_PATH: &[&str] = &["action: DENY\n  rules: [{to: [{operation: {paths: ['/admin*']}}]}]"];
const HOSTS: &[&str] = &["rules: [{to: [{operation: {hosts: [Web.Example, '*.good']}}]}]"];
const HEADER: &[&str] =
    &["rules: [{when: [{key: 'request.headers[X-Team]', values: ['blue*'], notValues: [blueish]}]}]"];
const PORT: &[&str] = &["rules: [{to: [{operation: {ports: ['80'], methods: [GET]}}]}]"];
const OTHER_PORT: &[&str] = &["rules: [{when: [{key: destination.port, values: ['8080']}]}]"];
const BOTH_ACTIONS: &[&str] = &["rules: [{}]", "action: DENY\n  rules: [{to: [{operation: {notMethods: [GET]}}]}]"];
const NOTHING: &[&str] = &["{}"];

const CASES: &[Case] = &[
    case(&[], "client", ("POST", "/", ""), 200),
    case(FROM_CLIENT, "client", GET, 200),
    case(FROM_CLIENT, "intruder", GET, 403),
    case(NOT_CLIENT, "client", GET, 403),
    case(NOT_CLIENT, "intruder", GET, 200),
    case(SUFFIX, "client", GET, 200),
    case(SUFFIX, "intruder", GET, 403),
    case(NAMESPACE, "intruder", GET, 200),
    case(OTHER_NAMESPACE, "intruder", GET, 403),
    case(BLOCK, "client", GET, 200),
    case(BLOCK, "intruder", GET, 403),
    case(BLOCK, "intruder", ("GET", "/", "x-forwarded-for: 10.88.1.10\r\n"), 403),
    case(PATHS, "client", ("GET", "/abc?x=1", ""), 200),
    case(PATHS, "client", ("GET", "/lib/a.js", ""), 200),
    case(PATHS, "client", ("GET", "/x/1/y/2/3", ""), 200),
    case(PATHS, "client", ("GET", "/x/1/2/y/3", ""), 403),
    case(PATHS, "client", ("GET", "/admin", ""), 403),
    case(PATHS, "client", ("GET", "/b?/a", ""), 403),
    case(DENIED_PATH, "client", ("GET", "/b", ""), 200),
    case(DENIED_PATH, "client", ("GET", "/b/../admin/x", ""), 403),
    case(DENIED_PATH, "client", ("GET", "//admin/x", ""), 403),
    case(DENIED_PATH, "client", ("GET", "/%61dmin/x", ""), 403),
    case(DENIED_PATH, "client", ("GET", "/b%2F..%2Fadmin", ""), 400),
    case(HOSTS, "client", ("GET", "/", "host: web.example\r\n"), 200),
    case(HOSTS, "client", ("GET", "/", "host: very.good\r\n"), 200),
    case(HOSTS, "client", ("GET", "/", "host: other\r\n"), 403),
    case(HEADER, "client", ("GET", "/", "x-team: blue-1\r\n"), 200),
    case(HEADER, "client", ("GET", "/", "x-team: blueish\r\n"), 403),
    case(HEADER, "client", GET, 403),
    case(PORT, "client", GET, 200),
    case(OTHER_PORT, "client", GET, 403),
    case(BOTH_ACTIONS, "client", GET, 200),
    case(BOTH_ACTIONS, "client", ("PUT", "/", ""), 403),
    case(NOTHING, "client", GET, 403),
];

#[test]
fn policies_mean_what_istio_says() {
    let address = |number: usize| SocketAddr::new(IpAddr::from([10, 96, 1, u8::try_from(number).unwrap()]), 80);
    let mut manifests = Vec::new();
    for (number, case) in CASES.iter().enumerate() {
        let mut text = service(&format!("s{number}"), &address(number).ip().to_string());
        for (place, spec) in case.specs.iter().enumerate() {
            let spec = if *spec == "{}" { "" } else { spec };
            let target = format!("{{group: '', kind: Service, name: s{number}}}");
            text += &format!("---\n{}", policy(&format!("p{number}-{place}"), &target, spec));
        }
        manifests.push((format!("s{number}.yaml"), text));
    }
    let manifests: Vec<_> = manifests.iter().map(|(name, text)| (name.as_str(), text.clone())).collect();
    through("wp-rules", &manifests, async |bed, _| {
        for (number, case) in CASES.iter().enumerate() {
            let answer = ask(bed, case.from, address(number), case.request).await.unwrap();
            assert_eq!(answer.status, case.status, "{:?} from {}, {:?}", case.specs, case.from, case.request);
        }
        // The server is told who asked, whatever the caller says.
        let own = format!("{PEER_HEADER}: spiffe://cluster.local/ns/demo/sa/somebody\r\n");
        let answer = ask(bed, "client", address(0), ("GET", "/", &own)).await.unwrap();
        assert_eq!(answer.status, 200);
    });
}

#[test]
fn a_waypoint_that_is_away_is_not_gone_round() {
    through("wp-away", &[only_get()], async |bed, waypoint| {
        let get = async |from: &str| ask(bed, from, vip(Family::V4), GET).await;
        for from in ["client", "intruder"] {
            assert_eq!(get(from).await.unwrap().status, 200);
        }
        let before = arrivals(bed).await;
        waypoint.kill().unwrap();
        for from in ["client", "near", "intruder"] {
            let started = Instant::now();
            assert!(get(from).await.is_err(), "{from} was answered without a waypoint");
            assert!(started.elapsed() < PATIENCE, "{from} waited {:?}", started.elapsed());
            let near = ask(bed, from, bed.at("near", Family::V6, HTTP_PORT), GET).await;
            assert!(near.is_err() || from == "near", "{from} reached the pod without a waypoint");
        }
        waypoint.again().unwrap();
        waypoint.ready(STARTS).await.unwrap();
        until("it is used again", async || get("client").await.is_ok_and(|answer| answer.status == 200)).await;
        let meanwhile = arrivals(bed).await;
        // One that hangs takes connections, and says nothing. `near` has none that is kept.
        waypoint.signal(Signal::SIGSTOP).unwrap();
        let started = Instant::now();
        let hung = timeout(Duration::from_secs(20), get("near")).await.expect("it is given up");
        assert!(hung.is_err());
        let took = started.elapsed();
        assert!((Duration::from_secs(5)..Duration::from_secs(15)).contains(&took), "given up after {took:?}");
        assert_eq!(arrivals(bed).await, meanwhile, "nobody came round it while it hung");
        waypoint.signal(Signal::SIGCONT).unwrap();
        until("it goes on", async || get("near").await.is_ok_and(|answer| answer.status == 200)).await;
        assert!(meanwhile - before <= 1.0, "only the one that was answered: {before} → {meanwhile}");
    });
}

#[test]
fn a_server_can_insist_on_its_waypoint() {
    let only = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
                metadata: {name: only-waypoint, namespace: demo}\n\
                spec:\n  selector: {matchLabels: {app: server}}\n  \
                rules: [{from: [{source: {principals: [cluster.local/ns/demo/sa/waypoint]}}]}]\n";
    through("wp-insist", &[("only.yaml", only.to_owned())], async |bed, _| {
        for family in BOTH {
            for from in ["client", "intruder"] {
                let answer = ask(bed, from, vip(family), ("POST", "/", "")).await.unwrap();
                assert_eq!((answer.status, answer.head.contains(MARK)), (200, true), "{from}: {}", answer.head);
                let round = ask(bed, from, bed.at("server", family, HTTP_PORT), GET).await;
                assert!(round.is_err(), "{from} went round the waypoint");
            }
            assert!(ask(bed, "outsider", bed.at("server", family, HTTP_PORT), GET).await.is_err());
        }
    });
}

#[test]
fn the_waypoint_takes_nobody_else_for_the_server() {
    let Some(binary) = envoy() else { return };
    run("wp-impostor", &Topology::with_waypoint(), async |bed| {
        bed.put("gateway.yaml", GATEWAY);
        bed.put("web.yaml", &service("web", "10.96.0.10"));
        // Envoy is told another service account than the one that the pod's node will prove.
        let file = "pod-demo-server.yaml";
        let honest = std::fs::read_to_string(bed.manifests().directory().join(file)).unwrap();
        assert!(honest.contains("serviceAccountName: server"));
        bed.put(file, &honest.replace("serviceAccountName: server", "serviceAccountName: bank"));
        let mut waypoint = Envoy::start(bed, &binary).unwrap();
        bed.put(file, &honest);
        bed.start(&[]).await;
        waypoint.ready(STARTS).await.unwrap();
        let answer = ask(bed, "client", vip(Family::V4), GET).await.unwrap();
        assert_eq!((answer.status, answer.head.contains(MARK)), (503, true), "{}", answer.head);
        assert_eq!(arrivals(bed).await, 0.0);
        // The same with the truth.
        waypoint.kill().unwrap();
        let mut waypoint = Envoy::start(bed, &binary).unwrap();
        waypoint.ready(STARTS).await.unwrap();
        let answers = async || ask(bed, "client", vip(Family::V4), GET).await;
        until("the server answers", async || answers().await.is_ok_and(|answer| answer.status == 200)).await;
    });
}
