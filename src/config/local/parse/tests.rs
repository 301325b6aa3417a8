use proptest::prelude::*;

use super::*;

fn settings() -> Settings {
    Settings { trust_domain: "mesh.example".into(), cluster: "east".into() }
}

fn parsed(text: &str) -> Result<State, String> {
    parse("mesh.yaml", text, &settings()).map_err(|error| error.to_string())
}

const FULL: &str = r#"
workloads:
- uid: east//Pod/shop/cart-0
  workloadIps: [10.1.0.4, "fd00::4"]
  name: cart-0
  namespace: shop
  network: n1
  protocol: HBONE
  trustDomain: other.example
  serviceAccount: cart
  waypoint: {destination: shop/waypoint.shop.svc.cluster.local, hboneMtlsPort: 15009}
  networkGateway: {destination: n2/192.0.2.1}
  canonicalName: cart
  canonicalRevision: v2
  workloadType: deployment
  workloadName: cart
  node: node-1
  nativeTunnel: true
  authorizationPolicies: [shop/only-front]
  status: Unhealthy
  clusterId: west
  hostname: cart.example
  networkMode: Standard
  applicationTunnel: {protocol: PROXY, port: 9000}
  locality: {region: r, zone: z, subzone: s}
  capacity: 3
  services:
    shop/cart.shop.svc.cluster.local:
      80: 8080
      "443": 8443
- {workloadIps: [10.1.0.5], namespace: shop, services: {}}
policies:
- name: only-front
  namespace: shop
  scope: WorkloadSelector
  action: Allow
  dryRun: true
  rules:
  - - - principals: [{Exact: mesh.example/ns/shop/sa/front}, {Suffix: /sa/admin}, Presence: []]
        notNamespaces: [Prefix: test-]
        notDestinationPorts: [9999]
        sourceIps: [10.0.0.0/8, "fd00::1"]
        serviceAccounts: [{namespace: shop, serviceAccount: front}]
    - - destinationPorts: [80]
services:
- name: cart
  namespace: shop
  hostname: cart.shop.svc.cluster.local
  vips: [n1/10.96.0.1]
  cidrVips: [n1/10.200.0.0/16, "/fd00:1::/64"]
  ports: {80: 8080}
  endpoints: {anything: [goes]}
  subjectAltNames: [spiffe://mesh.example/ns/shop/sa/cart]
  waypoint: {destination: n1/10.96.0.9}
  weightedWaypoints: [{destination: {destination: shop/a.example, hboneMtlsPort: 15008}, weight: 7}]
  loadBalancer: {routingPreferences: [Network, Region, Zone], mode: Failover, healthPolicy: AllowAll}
  ipFamilies: Dual
  canonical: true
  visibility: Namespace
"#;

#[test]
fn every_field_of_a_workload() {
    let state = parsed(FULL).unwrap();
    let name = |text: &str| NamespacedName::new("shop", text);
    let expected = Workload {
        uid: "east//Pod/shop/cart-0".into(),
        name: "cart-0".into(),
        namespace: "shop".into(),
        service_account: "cart".into(),
        trust_domain: "other.example".into(),
        addresses: vec!["10.1.0.4".parse().unwrap(), "fd00::4".parse().unwrap()],
        hostname: "cart.example".into(),
        network: "n1".into(),
        cluster: "west".into(),
        node: "node-1".into(),
        tunnel: Tunnel::Hbone,
        native_tunnel: true,
        application_tunnel: Some(ApplicationTunnel { proxy: true, port: 9000 }),
        waypoint: Some(GatewayAddress {
            destination: GatewayDestination::Hostname(name("waypoint.shop.svc.cluster.local")),
            port: 15009,
        }),
        network_gateway: Some(GatewayAddress {
            destination: GatewayDestination::Address { network: "n2".into(), ip: "192.0.2.1".parse().unwrap() },
            port: 15008,
        }),
        kind: Kind::Deployment,
        owner: "cart".into(),
        canonical_name: "cart".into(),
        canonical_revision: "v2".into(),
        locality: Locality { region: "r".into(), zone: "z".into(), subzone: "s".into() },
        healthy: false,
        capacity: 3,
        host_network: false,
        policies: vec![name("only-front")],
        // The services that a workload names are used, so inbound connections count for them.
        services: vec![ServiceMembership {
            service: name("cart.shop.svc.cluster.local"),
            ports: vec![(80, 8080), (443, 8443)],
        }],
    };
    assert_eq!(state.workloads[0], expected);
    let plain = &state.workloads[1];
    assert_eq!((&*plain.uid, &*plain.service_account), ("east//Pod/shop/10.1.0.5", "default"));
    assert_eq!((&*plain.trust_domain, plain.tunnel, plain.capacity), ("mesh.example", Tunnel::None, 1));
    assert!(plain.healthy && plain.services.is_empty());
}

#[test]
fn every_field_of_policies_and_services() {
    let state = parsed(FULL).unwrap();
    let policy = &state.policies[0];
    assert_eq!(
        (policy.key.to_string().as_str(), policy.scope, policy.action),
        ("shop/only-front", Scope::Workload, Action::Allow)
    );
    assert!(policy.dry_run);
    assert_eq!(policy.groups.len(), 1);
    assert_eq!(policy.groups[0].clauses.len(), 2);
    let first = &policy.groups[0].clauses[0].matches[0];
    let principals: Vec<_> = first.principals.iter().map(ToString::to_string).collect();
    assert_eq!(principals, ["mesh.example/ns/shop/sa/front", "*/sa/admin", "*"]);
    assert_eq!(first.not_namespaces, [StringMatch::Prefix("test-".into())]);
    assert_eq!(first.not_destination_ports, [9999]);
    assert_eq!(first.source_ips, ["10.0.0.0/8".parse::<IpNet>().unwrap(), "fd00::1/128".parse().unwrap()]);
    assert_eq!(&*first.service_accounts[0].service_account, "front");
    let service = &state.services[0];
    let addresses: Vec<_> = service.addresses.iter().map(|at| format!("{}/{}", at.network, at.net)).collect();
    assert_eq!(addresses, ["n1/10.96.0.1/32", "n1/10.200.0.0/16", "/fd00:1::/64"]);
    assert_eq!((service.ports[0].port, service.ports[0].target), (80, 8080));
    assert_eq!(service.subject_alt_names[0].to_string(), "spiffe://mesh.example/ns/shop/sa/cart");
    assert_eq!(service.weighted_waypoints[0].1, 7);
    assert_eq!(service.balancing.mode, service::Mode::Failover);
    assert_eq!(service.balancing.preference, [service::Scope::Network, service::Scope::Region, service::Scope::Zone]);
    assert!(service.balancing.accept_unhealthy && service.canonical);
    assert_eq!((service.families, service.visibility), (IpFamilies::Dual, Visibility::Namespace));
}

#[test]
fn mistakes_name_their_field() {
    let check = |text: &str, expected: &[&str]| {
        let error = parsed(text).unwrap_err();
        assert!(expected.iter().all(|part| error.contains(part)), "{text}: {error}");
    };
    check(
        "workloads: [{workloadIps: [], name: a, namespace: b, colour: blue}]",
        &["mesh.yaml: workloads[0]", "colour"],
    );
    check("workloads: [{name: a, namespace: b}]", &["workloads[0]", "workloadIps"]);
    check("workloads: [{workloadIps: [here], namespace: b}]", &["workloads[0].workloadIps[0]"]);
    check("workloads: [{workloadIps: [], namespace: b}]", &["workloads[0].uid"]);
    check("workloads: [{workloadIps: [1.1.1.1], namespace: b, capacity: many}]", &["workloads[0].capacity"]);
    check("workloads: [{workloadIps: [1.1.1.1], namespace: b, protocol: UDP}]", &["workloads[0].protocol", "UDP"]);
    check(
        "workloads: [{workloadIps: [1.1.1.1], namespace: b, services: {c: {}}}]",
        &["workloads[0].services", "\"c\""],
    );
    check(
        "workloads: [{workloadIps: [1.1.1.1], namespace: b, waypoint: {destination: c}}]",
        &["workloads[0].waypoint"],
    );
    check(
        "workloads: [{workloadIps: [1.1.1.1], namespace: b}, {workloadIps: [1.1.1.1], namespace: b}]",
        &["workloads[1].uid", "twice"],
    );
    let policy = |rules: &str| format!("policies: [{{name: a, namespace: b, scope: Global, action: Deny{rules}}}]");
    // A rule that cannot be read must not become a rule that says less.
    check(&policy(""), &["policies[0]", "rules"]);
    check(&policy(", rules: [[[{principal: [Exact: a]}]]]"), &["policies[0].rules[0][0][0]", "principal"]);
    check(&policy(", rules: [[[{principals: [Regex: a]}]]]"), &["rules[0][0][0].principals[0]", "Regex"]);
    check(&policy(", rules: [[[{principals: [{Exact: a, Prefix: b}]}]]]"), &["principals[0]"]);
    check(&policy(", rules: [[[{principals: [{}]}]]]"), &["principals[0]"]);
    check(&policy(", rules: [[[{destinationPorts: [70000]}]]]"), &["destinationPorts[0]"]);
    check(&policy(", rules: [[[{sourceIps: [10.0.0.0/99]}]]]"), &["sourceIps[0]", "CIDR"]);
    let service = |more: &str| format!("services: [{{name: a, namespace: b, hostname: c, ports: {{}}, {more}}}]");
    check(&service("vips: [10.0.0.1]"), &["services[0].vips[0]", "NETWORK/IP"]);
    check(&service("cidrVips: [n/10.0.0.1]"), &["services[0].cidrVips[0]", "NETWORK/CIDR"]);
    check(&service("subjectAltNames: [me]"), &["services[0].subjectAltNames[0]"]);
    check(&service("loadBalancer: {mode: Random}"), &["services[0].loadBalancer.mode"]);
    check("a: b: c", &["mesh.yaml is not YAML"]);
    check("- a", &["mesh.yaml"]);
}

#[test]
fn nothing_is_an_empty_mesh() {
    for text in ["", "# a\n\n", "{}", "workloads: []"] {
        assert_eq!(parsed(text).unwrap(), State::default(), "{text:?}");
    }
    let missing = read(Path::new("nowhere/mesh.yaml"), &settings()).unwrap_err();
    assert_eq!(missing.to_string(), "nowhere/mesh.yaml cannot be read: mount it, and let this user read it");
}

#[test]
fn a_small_document_is_echoed() {
    assert_eq!(echo(LocalMesh::Text("workloads: []\nservices: []"))["services"], serde_json::json!([]));
    for other in ["a: b: c", "- a", ""] {
        assert_eq!(echo(LocalMesh::Text(other)), serde_json::json!({}), "{other}");
    }
    assert_eq!(echo(LocalMesh::File(Path::new("nowhere/mesh.yaml"))), serde_json::json!({}));
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        drop(parsed(&text));
    }

    #[test]
    fn no_value_of_a_field_panics(field in "(vips|cidrVips|subjectAltNames)", value in "\\PC{0,30}") {
        let value = serde_json::to_string(&value).unwrap();
        drop(parsed(&format!("services: [{{name: a, namespace: b, hostname: c, ports: {{}}, {field}: [{value}]}}]")));
    }
}
