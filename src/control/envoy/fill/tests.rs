use std::path::PathBuf;

use super::*;
use crate::control::envoy::Credentials;
use crate::control::manifests;
use crate::control::project::project;
use crate::model::gateway::GatewayDestination;

const OBJECTS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: demo, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: v1
kind: Pod
metadata: {name: inside, namespace: demo, labels: {app: web}}
spec: {serviceAccountName: inside}
status: {podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}], conditions: [{type: Ready, status: 'True'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: outside, namespace: demo, labels: {app: web, istio.io/dataplane-mode: none}}
status: {podIP: 10.0.0.2, conditions: [{type: Ready, status: 'True'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: unready, namespace: demo, labels: {app: web}}
status: {podIP: 10.0.0.3}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: demo}
spec:
  clusterIP: 10.96.0.10
  clusterIPs: [10.96.0.10, 'fd96::10']
  selector: {app: web}
  ports: [{name: a, port: 80, targetPort: 8080}, {name: b, port: 81}]
---
apiVersion: v1
kind: Service
metadata: {name: other, namespace: demo}
spec: {clusterIP: 10.96.0.11, selector: {app: web}, ports: [{port: 80}]}
";

fn policy(name: &str, namespace: &str, target: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
         metadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  targetRefs: [{target}]\n  {spec}\n"
    )
}

fn reference() -> GatewayAddress {
    let key = NamespacedName::new("demo", "waypoint.demo.svc.cluster.local");
    GatewayAddress { destination: GatewayDestination::Hostname(key), port: 15008 }
}

/// The waypoint `demo/waypoint`, for the service web and for the pods inside and outside.
fn filled(policies: &[String]) -> (Waypoint, Vec<Refused>) {
    filled_with(policies, &Settings::default())
}

fn filled_with(policies: &[String], settings: &Settings) -> (Waypoint, Vec<Refused>) {
    let text = format!("{OBJECTS}{}", policies.concat());
    let index = Index::build(manifests::parse(&[("a.yaml".into(), text.into_bytes())]).unwrap());
    let mut projection = project(&index, settings);
    projection.services.iter_mut().find(|service| &*service.name == "web").unwrap().waypoint = Some(reference());
    for workload in projection.workloads.iter_mut().filter(|workload| &*workload.name != "unready") {
        workload.waypoint = Some(reference());
    }
    let shell = Waypoint {
        name: "waypoint".into(),
        namespace: "demo".into(),
        identity: Identity::new("cluster.local", "demo", "waypoint"),
        aliases: Vec::new(),
        credentials: Credentials { key: PathBuf::new(), chain: PathBuf::new(), root: PathBuf::new() },
        listen: "[::]:15008".parse().unwrap(),
        admin: "127.0.0.1:15000".parse().unwrap(),
        peer_header: None,
        services: Vec::new(),
        workloads: Vec::new(),
        policies: Vec::new(),
    };
    fill(shell, &[reference()], &index, settings, &projection)
}

#[test]
fn what_names_the_waypoint_goes_through_it() {
    let (waypoint, refused) = filled(&[]);
    assert_eq!(refused, []);
    let inside = vec![Identity::new("cluster.local", "demo", "inside")];
    let ends = |port: u16| {
        vec![
            Endpoint { address: ([10, 0, 0, 1], port).into(), identities: inside.clone() },
            Endpoint { address: ([10, 0, 0, 2], port).into(), identities: Vec::new() },
        ]
    };
    let port = |port, target| ServedPort { port, protocol: Protocol::Sniffed, endpoints: ends(target) };
    let web = Served {
        hostname: "web.demo.svc.cluster.local".into(),
        addresses: vec!["10.96.0.10".parse().unwrap(), "fd96::10".parse().unwrap()],
        ports: vec![port(80, 8080), port(81, 81)],
        policies: Vec::new(),
    };
    assert_eq!(waypoint.services, [web]);
    let ips = |all: &[&str]| all.iter().map(|ip| ip.parse().unwrap()).collect();
    let workloads = [
        Direct { addresses: ips(&["10.0.0.2"]), identities: Vec::new() },
        Direct { addresses: ips(&["10.0.0.1", "fd00::1"]), identities: inside },
    ];
    assert_eq!(waypoint.workloads, workloads);
}

#[test]
fn policies_go_where_their_targets_are() {
    const GATEWAY: &str = "{group: gateway.networking.k8s.io, kind: Gateway, name: waypoint}";
    const CLASS: &str = "{group: gateway.networking.k8s.io, kind: GatewayClass, name: istio-waypoint}";
    const WEB: &str = "{kind: Service, name: web}";
    let (waypoint, refused) = filled(&[
        policy("for-web", "demo", WEB, "rules: [{}]"),
        policy("for-all", "demo", GATEWAY, "rules: [{}]"),
        policy("for-both", "demo", &format!("{GATEWAY}, {WEB}"), "rules: [{}]"),
        policy("for-the-class", "istio-system", CLASS, "rules: [{}]"),
        policy("class-elsewhere", "demo", CLASS, "rules: [{}]"),
        policy("another-namespace", "outer", &format!("{GATEWAY}, {WEB}"), "rules: [{}]"),
        policy("another-group", "demo", "{group: x, kind: Service, name: web}", "rules: [{}]"),
        policy("an-entry", "demo", "{group: networking.istio.io, kind: ServiceEntry, name: web}", "rules: [{}]"),
        policy("another-service", "demo", "{kind: Service, name: other}", "rules: [{}]"),
        policy("tried-out", "demo", WEB, "rules: []")
            .replace("demo}", "demo, annotations: {istio.io/dry-run: 'true'}}"),
        policy("unknown", "demo", WEB, "rules: [{when: [{key: remote.ip, values: [10.0.0.1]}]}]"),
    ]);
    let names = |policies: &[Policy]| policies.iter().map(|policy| policy.key.name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(&waypoint.policies), ["for-all", "for-both", "for-the-class"]);
    assert_eq!(names(&waypoint.services[0].policies), ["for-both", "for-web", "unknown"]);
    assert_eq!(waypoint.services[0].policies[2].rules, [], "it allows nothing");
    let [Refused { key, problems }] = &refused[..] else { panic!("{refused:?}") };
    assert_eq!((key.to_string().as_str(), problems[0].path.as_str()), ("demo/unknown", "spec.rules[0].when[0].key"));
}

/// As a node does it: a principal of one name of the trust domain is meant for all, and so is the identity of an endpoint.
#[test]
fn a_waypoint_knows_every_name_of_the_trust_domain() {
    const WEB: &str = "{kind: Service, name: web}";
    let settings = Settings { trust_domain_aliases: vec!["old.example".into()], ..Settings::default() };
    let rules = "rules: [{from: [{source: {principals: [old.example/ns/a/sa/b]}}], \
                 when: [{key: source.principal, notValues: [cluster.local/ns/a/sa/c]}]}]";
    let (waypoint, refused) = filled_with(&[policy("p", "demo", WEB, rules)], &settings);
    assert_eq!((refused, waypoint.aliases.len()), (Vec::new(), 1));
    let all = |name: &str| ["cluster.local", "old.example"].map(|td| format!("{td}/ns/a/sa/{name}"));
    let rule = &waypoint.services[0].policies[0].rules[0];
    let text = format!("{rule:?}");
    for name in all("b").iter().chain(&all("c")) {
        assert!(text.contains(name), "{name}: {text}");
    }
    assert_eq!((rule.from[0].principals.len(), rule.when.len()), (2, 1));
    let inside = ["cluster.local", "old.example"].map(|td| Identity::new(td, "demo", "inside"));
    assert_eq!(waypoint.services[0].ports[0].endpoints[0].identities, inside);
    let names = waypoint.trusted_names().to_string();
    assert!(names.contains("spiffe://cluster.local/") && names.contains("spiffe://old.example/"), "{names}");
}
