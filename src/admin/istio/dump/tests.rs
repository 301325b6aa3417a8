use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::*;
use crate::admin::istio::{CertificateState, Connection, Connections, Info, PodEntry, PodState, Protocol};
use crate::mesh::{State, channel};
use crate::model::gateway::{GatewayAddress, GatewayDestination};
use crate::model::name::NamespacedName;
use crate::model::policy::{Action, Clause, Group, Match, Scope, ServiceAccountMatch, StringMatch};
use crate::model::service::{Balancing, IpFamilies, Mode, ServicePort, VirtualAddress, Visibility};
use crate::model::workload::{ApplicationTunnel, Kind, Locality, ServiceMembership, Tunnel, Workload};
use crate::tls::Described;

fn name(name: &str) -> NamespacedName {
    NamespacedName::new("shop", name)
}

fn waypoint() -> GatewayAddress {
    GatewayAddress { destination: GatewayDestination::Hostname(name("waypoint.shop.svc")), port: 15008 }
}

fn view() -> Arc<View> {
    let network = GatewayDestination::Address { network: "n2".into(), ip: "192.0.2.1".parse().unwrap() };
    let member = |service: &str| ServiceMembership { service: name(service), ports: vec![(80, 8080)] };
    let full = Workload {
        uid: "east//Pod/shop/cart-0".into(),
        name: "cart-0".into(),
        namespace: "shop".into(),
        service_account: "cart".into(),
        trust_domain: "cluster.local".into(),
        addresses: vec!["10.1.0.4".parse().unwrap(), "fd00::4".parse().unwrap()],
        hostname: "cart.example".into(),
        network: "n1".into(),
        cluster: "east".into(),
        node: "node-1".into(),
        tunnel: Tunnel::Hbone,
        native_tunnel: false,
        application_tunnel: Some(ApplicationTunnel { proxy: true, port: 9000 }),
        waypoint: Some(waypoint()),
        network_gateway: Some(GatewayAddress { destination: network, port: 15008 }),
        kind: Kind::Deployment,
        owner: "cart".into(),
        canonical_name: "cart".into(),
        canonical_revision: "v2".into(),
        locality: Locality { region: "r".into(), zone: "z".into(), subzone: "s".into() },
        healthy: false,
        capacity: 3,
        host_network: false,
        policies: vec![name("only-front")],
        services: vec![member("cart.shop.svc"), member("late.shop.svc")],
    };
    let plain = Workload { uid: "east//Pod/shop/a".into(), namespace: "shop".into(), ..Workload::default() };
    let cart = Service {
        name: "cart".into(),
        namespace: "shop".into(),
        hostname: "cart.shop.svc".into(),
        addresses: vec![
            VirtualAddress::single("n1".into(), "10.96.0.1".parse().unwrap()),
            VirtualAddress { network: "n1".into(), net: "10.200.0.0/16".parse().unwrap() },
        ],
        ports: vec![ServicePort { port: 80, target: 8080, ..ServicePort::default() }],
        subject_alt_names: vec!["spiffe://cluster.local/ns/shop/sa/cart".parse().unwrap()],
        waypoint: Some(waypoint()),
        weighted_waypoints: vec![(waypoint(), 7)],
        balancing: Balancing {
            mode: Mode::Failover,
            preference: vec![crate::model::service::Scope::Region],
            accept_unhealthy: true,
            affinity: None,
        },
        families: IpFamilies::Dual,
        canonical: true,
        visibility: Visibility::Public,
        ingress_use_waypoint: false,
    };
    let rule = Match {
        principals: vec![StringMatch::Exact("cluster.local/ns/shop/sa/front".into()), StringMatch::Presence],
        not_namespaces: vec![StringMatch::Prefix("test-".into()), StringMatch::Suffix("-old".into())],
        service_accounts: vec![ServiceAccountMatch { namespace: "shop".into(), service_account: "front".into() }],
        source_ips: vec!["10.0.0.0/8".parse().unwrap()],
        not_destination_ports: vec![9999],
        ..Match::default()
    };
    let groups = vec![Group { rule: 0, clauses: vec![Clause { matches: vec![rule] }] }];
    let policies = vec![
        Policy { dry_run: true, ..Policy::new(name("only-front"), Scope::Workload, Action::Allow, groups) },
        Policy::new(name("none"), Scope::Namespace, Action::Deny, Vec::new()),
    ];
    let (mut writer, reader) = channel();
    writer.replace(State { workloads: vec![full, plain], services: vec![cart], policies });
    reader.view()
}

fn dump() -> Dump {
    let described = |pem: &str, serial: &str| Described {
        pem: pem.to_owned(),
        serial: serial.to_owned(),
        not_before: SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600),
        not_after: SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_312_000),
    };
    let certificate = |account: &str, state, chain: Vec<Described>, roots| Certificate {
        identity: format!("spiffe://cluster.local/ns/shop/sa/{account}"),
        state,
        chain,
        roots,
    };
    let connection = |original: Option<&str>, protocol| Connection {
        src: "10.1.0.9:40000".into(),
        original_dst: original.map(str::to_owned),
        actual_dst: "10.1.0.4:8080".into(),
        protocol,
    };
    let pod = PodEntry {
        state: PodState::Up,
        connections: Connections {
            inbound: vec![connection(None, Protocol::Hbone)],
            outbound: vec![
                connection(Some("10.96.0.1:80"), Protocol::DoubleHbone),
                connection(Some("x"), Protocol::Tcp),
            ],
        },
        info: Info {
            name: "cart-0".into(),
            namespace: "shop".into(),
            trust_domain: "cluster.local".into(),
            service_account: "cart".into(),
        },
    };
    Dump {
        view: view(),
        certificates: vec![
            certificate("late", CertificateState::Unavailable("the CA is away".into()), Vec::new(), Vec::new()),
            certificate(
                "cart",
                CertificateState::Available,
                vec![described("LEAF", "256")],
                vec![described("ROOT", "1")],
            ),
            certificate("new", CertificateState::Initializing, Vec::new(), Vec::new()),
        ],
        pods: BTreeMap::from([("uid-1".to_owned(), pod)]),
        static_config: json!({}),
        version: Version {
            version: "1.2.3".into(),
            git_revision: "abc".into(),
            rust_version: "1.90".into(),
            build_profile: "release".into(),
            build_status: "Clean".into(),
            istio_version: "1.30".into(),
            crypto_provider: "aws-lc".into(),
        },
        config: json!({"leafTtl": "24h"}),
        more: BTreeMap::from([("meshAgeSeconds".to_owned(), json!(7))]),
    }
}

#[expect(clippy::disallowed_methods, reason = "a switch of the test, not a setting of the program")]
fn update() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1")
}

#[test]
fn the_dump_is_as_istioctl_reads_it() {
    let mut text = Vec::new();
    dump().write(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/istio/config_dump.json");
    if update() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "UPDATE_GOLDEN=1 writes {}", path.display());
}

/// The keys that the tool reads, as the table of its facts lists them.
#[test]
fn every_key_that_the_tool_reads_is_there() {
    let mut text = Vec::new();
    dump().write(&mut text).unwrap();
    let dump: Value = serde_json::from_slice(&text).unwrap();
    let check = |at: &str, keys: &[&str]| {
        let object = dump.pointer(at).unwrap_or_else(|| panic!("{at}"));
        for key in keys {
            assert!(object.get(*key).is_some(), "{at} has no {key}: {object}");
        }
    };
    check("", &["workloads", "services", "policies", "certificates", "workloadState", "config", "version"]);
    check("", &["stagedServices", "staticConfig", "meshAgeSeconds"]);
    check(
        "/workloads/1",
        &[
            "uid",
            "workloadIps",
            "waypoint",
            "networkGateway",
            "protocol",
            "name",
            "namespace",
            "serviceAccount",
            "workloadName",
            "workloadType",
            "canonicalName",
            "canonicalRevision",
            "clusterId",
            "trustDomain",
            "locality",
            "node",
            "network",
            "status",
            "hostname",
            "capacity",
            "applicationTunnel",
            "authorizationPolicies",
        ],
    );
    check(
        "/services/0",
        &[
            "name",
            "namespace",
            "hostname",
            "vips",
            "cidrVips",
            "ports",
            "loadBalancer",
            "waypoint",
            "endpoints",
            "subjectAltNames",
            "ipFamilies",
            "canonical",
            "visibility",
        ],
    );
    check("/policies/1", &["name", "namespace", "scope", "action", "rules"]);
    check("/certificates/0", &["identity", "state", "certChain", "rootCerts"]);
    check("/certificates/0/certChain/0", &["pem", "serialNumber", "validFrom", "expirationTime"]);
    check("/workloadState/uid-1", &["state", "connections", "info"]);
    check("/workloadState/uid-1/connections/outbound/0", &["src", "originalDst", "actualDst", "protocol"]);
    check("/stagedServices/shop~1late.shop.svc", &["east//Pod/shop/cart-0"]);
    assert_eq!(dump["workloads"][1]["waypoint"]["destination"], "shop/waypoint.shop.svc");
    assert_eq!(dump["workloads"][1]["networkGateway"]["destination"], "n2/192.0.2.1");
}

/// So that two dumps can be compared.
#[test]
fn workloads_of_a_dump_are_sorted() {
    let mut text = Vec::new();
    dump().write(&mut text).unwrap();
    let dump: Value = serde_json::from_slice(&text).unwrap();
    let list = |key: &str, of: &str| -> Vec<String> {
        dump[key].as_array().unwrap().iter().map(|one| one[of].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(list("workloads", "uid"), ["east//Pod/shop/a", "east//Pod/shop/cart-0"]);
    assert_eq!(list("policies", "name"), ["none", "only-front"]);
    let certificates = list("certificates", "identity");
    assert!(certificates.is_sorted(), "{certificates:?}");
}
