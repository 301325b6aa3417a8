use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::kube::types::AuthorizationPolicy;
use crate::model::spiffe::Identity;
use crate::sys::exec::Program;

fn account(name: &str) -> Identity {
    Identity::new("cluster.local", "demo", name)
}

fn endpoint(address: &str, name: &str) -> Endpoint {
    Endpoint { address: address.parse().unwrap(), identities: vec![account(name)] }
}

fn policy(name: &str, spec: Value) -> rules::Policy {
    let object = json!({"metadata": {"name": name, "namespace": "demo"}, "spec": spec});
    rules::read(&serde_json::from_value::<AuthorizationPolicy>(object).unwrap()).unwrap()
}

/// Serves nothing.
fn bare() -> Waypoint {
    let file = |name: &str| Path::new("/etc/waypoint").join(name);
    Waypoint {
        name: "waypoint".into(),
        namespace: "demo".into(),
        identity: account("waypoint"),
        aliases: Vec::new(),
        credentials: Credentials { key: file("key.pem"), chain: file("chain.pem"), root: file("root.pem") },
        listen: "[::]:15008".parse().unwrap(),
        admin: "127.0.0.1:15000".parse().unwrap(),
        peer_header: None,
        services: Vec::new(),
        workloads: Vec::new(),
        policies: Vec::new(),
    }
}

/// One of each kind.
fn full() -> Waypoint {
    let port = |port, protocol, endpoints| ServedPort { port, protocol, endpoints };
    let plain = Endpoint { address: "10.9.9.9:80".parse().unwrap(), identities: Vec::new() };
    let web = Served {
        hostname: "web.demo.svc.cluster.local".into(),
        addresses: vec!["10.96.0.10".parse().unwrap(), "fd96::10".parse().unwrap()],
        ports: vec![
            port(
                80,
                Protocol::Http,
                vec![endpoint("10.88.2.10:8080", "server"), endpoint("[fd88::10]:8080", "server")],
            ),
            port(3306, Protocol::Tcp, vec![endpoint("10.88.2.10:3306", "server"), plain]),
            port(9000, Protocol::Sniffed, Vec::new()),
        ],
        policies: vec![policy(
            "get",
            json!({"rules": [{"to": [{"operation": {"methods": ["GET"], "paths": ["/a*"]}}]}]}),
        )],
    };
    let direct = |address: &str, identities| Direct { addresses: vec![address.parse().unwrap()], identities };
    Waypoint {
        peer_header: Some("x-peer".into()),
        services: vec![web],
        workloads: vec![direct("10.88.2.11", vec![account("pod")]), direct("10.88.2.12", Vec::new())],
        policies: vec![policy(
            "no-intruder",
            json!({
                "action": "DENY",
                "rules": [{"from": [{"source": {"serviceAccounts": ["intruder"]}}]}],
            }),
        )],
        ..bare()
    }
}

/// Compares with `tests/goldens/envoy/NAME`, or writes it with `UPDATE_GOLDEN=1`.
#[expect(clippy::disallowed_methods, reason = "a test reads the environment")]
fn compare(name: &str, value: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/envoy").join(name);
    let text = format!("{value:#}\n");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        return;
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == text, "{} differs; UPDATE_GOLDEN=1 rewrites it. Now:\n{text}", path.display());
}

/// One service with one port and a policy.
fn small() -> Waypoint {
    let full = full();
    let mut web = full.services[0].clone();
    web.addresses.truncate(1);
    web.ports.truncate(1);
    web.ports[0].endpoints.truncate(1);
    Waypoint { services: vec![web], ..bare() }
}

#[test]
fn a_waypoint_of_one_service() {
    compare("service.json", &render(&small()));
}

/// Where `make` puts it, or the system's; `None` is said, and fails under `CI=true`.
#[expect(clippy::disallowed_methods, reason = "a test's environment, not the program's")]
fn envoy() -> Option<String> {
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/envoy/envoy");
    let path = if fetched.exists() { fetched.display().to_string() } else { "envoy".to_owned() };
    match Program::new(&path, &["--version"]).run() {
        Ok(_) => Some(path),
        Err(error) => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{error}; `make envoy` fetches it");
            eprintln!("skipped: no Envoy; `make envoy` fetches it");
            None
        }
    }
}

#[test]
fn a_real_envoy_takes_it() {
    let Some(envoy) = envoy() else { return };
    let directory = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
    let file = |name: &str, text: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let credentials = Credentials {
        key: file("key.pem", key.serialize_pem()),
        chain: file("chain.pem", certificate.pem()),
        root: file("root.pem", certificate.pem()),
    };
    let mut rules = full();
    rules.policies = every_field();
    let mut without_ports = bare();
    without_ports.services = vec![Served { ports: Vec::new(), ..small().services.remove(0) }];
    for (name, waypoint) in
        [("bare", bare()), ("small", small()), ("full", full()), ("rules", rules), ("no ports", without_ports)]
    {
        let waypoint = Waypoint { credentials: credentials.clone(), ..waypoint };
        let path = file("envoy.json", render(&waypoint).to_string());
        let arguments = ["--mode", "validate", "--log-level", "error", "--config-path", path.to_str().unwrap()];
        Program::new(&envoy, &arguments).run().unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

/// Policies that use all that can be expressed.
fn every_field() -> Vec<rules::Policy> {
    let texts = json!(["a", "b*", "*c", "*"]);
    let nets = json!(["10.0.0.0/8", "fd00::1"]);
    let source = |no: bool| {
        let key =
            |name: &str| if no { format!("not{}{}", name[..1].to_uppercase(), &name[1..]) } else { name.to_owned() };
        json!([
            {"source": {(key("principals")): texts, (key("namespaces")): texts, (key("ipBlocks")): nets}},
            {"source": {(key("serviceAccounts")): ["a", "b/c"]}},
        ])
    };
    let paths = json!(["/a", "/b*", "*/c", "*", "/{*}/x/{**}"]);
    let to = json!([{"operation": {
        "hosts": texts, "notHosts": texts, "methods": texts, "notMethods": texts, "paths": paths, "notPaths": paths,
        "ports": ["80"], "notPorts": ["81"],
    }}]);
    let both = |key: &str, values: &Value| json!({"key": key, "values": values, "notValues": values});
    let when = json!([
        both("source.ip", &nets),
        both("source.namespace", &texts),
        both("source.principal", &texts),
        both("source.serviceAccount", &json!(["a"])),
        both("destination.ip", &nets),
        both("destination.port", &json!(["80"])),
        both("request.headers[X-Y]", &texts),
    ]);
    ["ALLOW", "DENY"]
        .into_iter()
        .map(|action| {
            policy(
                action,
                json!({"action": action, "rules": [
                    {}, {"from": source(false)}, {"from": source(true)}, {"to": to}, {"when": when},
                    {"from": source(false), "to": to, "when": when},
                ]}),
            )
        })
        .collect()
}
