use crate::mesh::{Changes, Reader, Removed, State, View, channel};
use crate::model::name::NamespacedName;
use crate::model::service::{Service, VirtualAddress, Visibility};
use crate::model::workload::{ServiceMembership, Workload};

use std::net::IpAddr;
use std::sync::Arc;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// `nets` as `network/address[/length]`; a `!` in front of the key makes the service canonical, a `~` private.
fn service(key: &str, nets: &[&str]) -> Service {
    let (marks, key) = key.split_at(key.find(|c: char| c.is_alphanumeric()).unwrap());
    let (namespace, name) = key.split_once('/').unwrap();
    let address = |net: &&str| {
        let (network, net) = net.split_once('/').unwrap();
        let net = if net.contains('/') { net.parse().unwrap() } else { ipnet::IpNet::from(ip(net)) };
        VirtualAddress { network: network.into(), net }
    };
    Service {
        name: name.into(),
        namespace: namespace.into(),
        hostname: format!("{name}.test").into(),
        addresses: nets.iter().map(address).collect(),
        canonical: marks.contains('!'),
        visibility: if marks.contains('~') { Visibility::Namespace } else { Visibility::Public },
        ..Service::default()
    }
}

fn mesh(services: Vec<Service>, workloads: Vec<Workload>) -> Reader {
    let (mut writer, reader) = channel();
    writer.replace(State { services, workloads, policies: Vec::new() });
    reader
}

fn named(found: Option<&Arc<Service>>) -> String {
    found.map_or_else(|| "-".into(), |service| format!("{}/{}", service.namespace, service.name))
}

#[test]
fn an_address_means_one_service_to_a_caller() {
    let services = || {
        vec![
            service("b/web", &["/10.96.0.1"]),
            service("a/web", &["/10.96.0.1", "far/10.96.0.9"]),
            service("!c/web", &["/10.96.0.1", "/::ffff:10.96.0.7"]),
            service("~p/only", &["/10.96.0.2"]),
            service("w/wide", &["/10.96.0.0/16"]),
            service("w/narrow", &["/10.96.0.0/24", "/fd00::/64"]),
            service("!v/narrow", &["/10.96.0.0/24"]),
            service("~q/hidden", &["/10.96.0.0/30"]),
        ]
    };
    for reversed in [false, true] {
        let mut list = services();
        if reversed {
            list.reverse();
        }
        let reader = mesh(list, Vec::new());
        let view: Arc<View> = reader.view();
        for (caller, network, address, expect) in [
            (Some("a"), "", "10.96.0.1", "a/web"),
            (Some("b"), "", "10.96.0.1", "b/web"),
            // Nobody's own: the canonical one.
            (Some("x"), "", "10.96.0.1", "c/web"),
            (None, "", "10.96.0.1", "c/web"),
            (Some("x"), "", "::ffff:10.96.0.1", "c/web"),
            (Some("x"), "far", "10.96.0.9", "a/web"),
            (Some("x"), "far", "10.96.0.1", "-"),
            // One that is not seen is as if it were not there: the block answers.
            (Some("p"), "", "10.96.0.2", "p/only"),
            (Some("x"), "", "10.96.0.2", "v/narrow"),
            (None, "", "10.96.0.2", "p/only"),
            // Blocks: own namespace, then the longer prefix, then the canonical one.
            (Some("x"), "", "10.96.0.3", "v/narrow"),
            (Some("q"), "", "10.96.0.3", "q/hidden"),
            (Some("w"), "", "10.96.0.3", "w/narrow"),
            (Some("x"), "", "10.96.9.9", "w/wide"),
            (Some("x"), "", "fd00::5", "w/narrow"),
            (Some("x"), "", "10.97.0.1", "-"),
        ] {
            let found = view.service_at(network, ip(address), caller);
            assert_eq!(named(found), expect, "{caller:?} {network}/{address}");
        }
    }
}

#[test]
fn a_host_name_is_ranked_as_an_address_is() {
    let reader = mesh(
        vec![service("b/web", &[]), service("!c/web", &[]), service("~a/web", &[]), service("~a/own", &[])],
        vec![],
    );
    let view = reader.view();
    for (caller, host, expect) in [
        ("a", "web.test", "a/web"),
        ("b", "web.test", "b/web"),
        ("x", "web.test", "c/web"),
        ("x", "own.test", "-"),
        ("a", "own.test", "a/own"),
        ("a", "none.test", "-"),
    ] {
        assert_eq!(named(view.service_named(host, caller)), expect, "{caller} {host}");
    }
    assert_eq!(named(view.service(&NamespacedName::new("a", "own.test"))), "a/own");
}

#[test]
fn endpoints_are_those_that_say_so_once_each_in_order() {
    let member = |service: &str, ports: &[(u16, u16)]| ServiceMembership {
        service: NamespacedName::new("a", service),
        ports: ports.to_vec(),
    };
    let workload = |uid: &str, services: Vec<ServiceMembership>| Workload {
        uid: uid.into(),
        namespace: "a".into(),
        hostname: if uid == "w3" { "db.example".into() } else { "".into() },
        services,
        ..Workload::default()
    };
    let workloads = vec![
        workload("w3", vec![member("web.test", &[(80, 8080)])]),
        workload("w1", vec![member("other.test", &[(80, 1)]), member("web.test", &[(80, 9090), (81, 0)])]),
        workload("w2", vec![member("gone.test", &[(80, 80)])]),
        // Named twice by mistake.
        workload("w4", vec![member("web.test", &[]), member("web.test", &[])]),
    ];
    let reader = mesh(vec![service("a/web", &[]), service("a/other", &[])], workloads);
    let view = reader.view();
    let of = |name: &str| {
        let endpoints = view.endpoints(&NamespacedName::new("a", name));
        endpoints.iter().map(|e| (e.workload().uid.to_string(), e.port(80), e.port(81))).collect::<Vec<_>>()
    };
    let expect =
        [("w1", Some(9090)), ("w3", Some(8080)), ("w4", None)].map(|(uid, port)| (uid.to_string(), port, None));
    assert_eq!(of("web.test"), expect);
    assert_eq!(of("other.test"), [("w1".to_string(), Some(1), None)]);
    assert_eq!((of("gone.test").len(), of("none.test").len()), (0, 0));
    assert_eq!(view.workload_named("a", "db.example").map(|w| &*w.uid), Some("w3"));
    assert!(view.workload_named("b", "db.example").is_none() && view.workload_named("a", "").is_none());
}

/// Two services of one namespace with one address: the first in order answers, and the other when that one goes, however
/// often either comes again.
#[test]
fn a_service_at_anothers_address_is_not_lost() {
    let (mut writer, reader) = channel();
    let one = || service("a/one", &["/10.96.0.1", "/10.97.0.0/16"]);
    let two = || service("a/two", &["/10.96.0.1", "/10.97.0.0/16"]);
    let gone = |name: &str| Removed::Service(NamespacedName::new("a", format!("{name}.test")));
    let found = || {
        let view = reader.view();
        ["10.96.0.1", "10.97.5.5"].map(|address| named(view.service_at("", ip(address), Some("b"))))
    };
    let both = |name: &str| [name.to_owned(), name.to_owned()];
    for services in [vec![two(), one()], vec![one()], vec![two()]] {
        writer.apply(Changes { services, ..Changes::default() });
        assert_eq!(found(), both("a/one"));
    }
    // An endpoint that changes again and again leaves one entry of its service.
    for capacity in 1..50 {
        let ports = vec![(80, 80)];
        let of = |name: &str| ServiceMembership {
            service: NamespacedName::new("a", format!("{name}.test")),
            ports: ports.clone(),
        };
        let workload =
            Workload { uid: "w".into(), capacity, services: vec![of("one"), of("two")], ..Workload::default() };
        writer.apply(Changes { workloads: vec![workload], ..Changes::default() });
    }
    assert_eq!((found(), reader.view().services().len()), (both("a/one"), 2));
    writer.apply(Changes { removed: vec![gone("one")], ..Changes::default() });
    assert_eq!(found(), both("a/two"));
    assert_eq!(reader.view().endpoints(&NamespacedName::new("a", "two.test")).len(), 1);
    writer.apply(Changes { removed: vec![gone("two")], ..Changes::default() });
    assert_eq!(found(), both("-"), "nothing stale is left");
    writer.apply(Changes { services: vec![one()], ..Changes::default() });
    assert_eq!(found(), both("a/one"));
    assert_eq!(reader.view().endpoints(&NamespacedName::new("a", "one.test")).len(), 1, "with no word on the workload");
}
