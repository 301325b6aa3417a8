use super::*;
use crate::mesh::demand::Sought;
use crate::mesh::{self, State};
use crate::model::gateway::GatewayDestination;
use crate::model::name::NamespacedName;
use crate::model::service::ServicePort;
use crate::model::workload::{ServiceMembership, Workload};
use crate::route::missing::missing_inbound;

fn here(to: &str) -> Inbound {
    let to = to.parse().unwrap();
    Inbound::Here(Here { to, dial: to, proxy: None })
}

fn proxied(to: &str, dial: &str, proxy: &str) -> Inbound {
    Inbound::Here(Here { to: to.parse().unwrap(), dial: dial.parse().unwrap(), proxy: Some(proxy.parse().unwrap()) })
}

#[test]
fn only_the_pods_own_addresses_and_never_our_ports() {
    let addresses = ["10.0.0.7".parse().unwrap(), "fd00::7".parse().unwrap()];
    for (to, expect) in [
        ("10.0.0.7:80", here("10.0.0.7:80")),
        ("[fd00::7]:80", here("[fd00::7]:80")),
        ("10.0.0.8:80", Inbound::NotOurs),
        ("127.0.0.1:80", Inbound::NotOurs),
        ("[fd00::8]:15008", Inbound::NotOurs),
        ("10.0.0.7:15001", Inbound::Loop),
        ("10.0.0.7:15006", Inbound::Loop),
        ("[fd00::7]:15008", Inbound::Loop),
    ] {
        let address: SocketAddr = to.parse().unwrap();
        assert_eq!(inbound(address, &addresses), expect, "{to}");
        // The same through a tunnel, whether the mesh knows the pod or not.
        let (_writer, reader) = mesh::channel();
        let authority = Authority::from(address);
        let arrival =
            Arrival { authority: &authority, local: addresses[0], addresses: &addresses, network: "", workload: None };
        assert_eq!(tunnelled(&arrival, &reader.view()), expect, "{to}");
    }
}

fn key(name: &str) -> NamespacedName {
    NamespacedName::new("shop", format!("{name}.test"))
}

fn gate() -> Option<GatewayAddress> {
    Some(GatewayAddress { destination: GatewayDestination::Hostname(key("gate")), port: 15008 })
}

fn service(name: &str, addresses: &[(&str, &str)], target: u16) -> Service {
    Service {
        name: name.into(),
        namespace: "shop".into(),
        hostname: format!("{name}.test").into(),
        addresses: addresses.iter().map(|(n, ip)| VirtualAddress::single((*n).into(), ip.parse().unwrap())).collect(),
        ports: vec![ServicePort { port: 80, target, ..ServicePort::default() }],
        ..Service::default()
    }
}

/// The pod: 10.0.0.7, an endpoint of `web` and `named`, and of `gate`, the waypoint of `behind` and of 10.0.0.40.
fn mesh(application_tunnel: Option<ApplicationTunnel>) -> State {
    let member = |name: &str, ports: &[(u16, u16)]| ServiceMembership { service: key(name), ports: ports.to_vec() };
    let pod = Workload {
        uid: "pod".into(),
        namespace: "shop".into(),
        addresses: vec!["10.0.0.7".parse().unwrap()],
        services: vec![member("gate", &[]), member("web", &[]), member("named", &[(80, 7070)]), member("bad", &[])],
        application_tunnel,
        ..Workload::default()
    };
    let other = |uid: &str, ip: &str, waypoint| Workload {
        uid: uid.into(),
        namespace: "shop".into(),
        addresses: vec![ip.parse().unwrap()],
        waypoint,
        ..Workload::default()
    };
    State {
        workloads: vec![pod, other("behind-0", "10.0.0.40", gate()), other("other-0", "10.0.0.41", None)],
        services: vec![
            service("web", &[("far", "10.9.0.1"), ("", "fd96::1"), ("", "10.96.0.1")], 8080),
            service("named", &[("", "fd96::2")], 0),
            service("bad", &[], 15008),
            service("gate", &[], 15008),
            Service { waypoint: gate(), ..service("behind", &[("", "10.96.0.5")], 8080) },
            Service {
                weighted_waypoints: gate().into_iter().map(|w| (w, 1)).collect(),
                ..service("w", &[("", "10.96.0.6")], 1)
            },
            service("other", &[("", "10.96.0.7")], 8080),
        ],
        policies: Vec::new(),
    }
}

#[test]
fn what_is_asked_for_is_judged_as_in_the_whole_mesh() {
    let all = mesh(None);
    let addresses = ["10.0.0.7".parse().unwrap()];
    let judge = |state: State, authority: &Authority| {
        let (mut writer, reader) = mesh::channel();
        writer.replace(state);
        let view = reader.view();
        let workload = view.workload_by_uid("pod").map(|workload| &**workload);
        let arrival = Arrival { authority, local: addresses[0], addresses: &addresses, network: "", workload };
        let judged = tunnelled(&arrival, &view);
        (judged, missing_inbound(&arrival, &judged, &view))
    };
    for (authority, most) in [
        ("10.0.0.7:80", 0),
        ("web.test:80", 1),
        ("named.test:80", 1),
        ("web.test:81", 1),
        ("none.test:80", 1),
        ("other.test:80", 1),
        ("bad.test:80", 1),
        ("10.0.0.40:80", 2),
        ("10.96.0.5:80", 2),
        ("10.96.0.6:80", 2),
        ("behind.test:80", 2),
        ("10.0.0.41:80", 1),
        ("10.96.0.7:80", 1),
        ("192.168.0.9:80", 1),
        ("127.0.0.1:80", 0),
    ] {
        let authority: Authority = authority.parse().unwrap();
        // The pod's own record has come.
        let mut part = State { workloads: vec![all.workloads[0].clone()], ..State::default() };
        let mut asked = Vec::new();
        let judged = loop {
            let (judged, mut missing) = judge(part.clone(), &authority);
            missing.retain(|sought| !asked.contains(sought));
            if missing.is_empty() {
                break judged;
            }
            for sought in missing {
                let by_address = |ip: &IpAddr| matches!(&sought, Sought::Address { ip: wanted, .. } if wanted == ip);
                part.workloads.extend(all.workloads.iter().filter(|w| w.addresses.iter().any(by_address)).cloned());
                let is = |s: &&Service| {
                    matches!(&sought, Sought::Service(key) if *key == s.key())
                        || s.addresses.iter().filter_map(VirtualAddress::ip).any(|ip| by_address(&ip))
                };
                part.services.extend(all.services.iter().filter(is).cloned());
                asked.push(sought);
            }
            assert!(asked.len() <= most, "{authority}: {asked:?}");
        };
        assert_eq!(judged, judge(all.clone(), &authority).0, "{authority}");
    }
    // The name says the namespace.
    let part = State { workloads: vec![all.workloads[0].clone()], ..State::default() };
    let (_, missing) = judge(part.clone(), &"db.data.svc.cluster.local:80".parse().unwrap());
    assert_eq!(missing, [Sought::Service(NamespacedName::new("data", "db.data.svc.cluster.local"))]);
    // Who is no pod that is known is no waypoint.
    let (judged, missing) = judge(State::default(), &"10.0.0.40:80".parse().unwrap());
    assert_eq!((judged, missing), (Inbound::NotOurs, vec![]));
}

#[track_caller]
fn check(tunnel: Option<ApplicationTunnel>, table: &[(&str, Inbound)]) {
    let (mut writer, reader) = mesh::channel();
    writer.replace(mesh(tunnel));
    let view = reader.view();
    let addresses = ["10.0.0.7".parse().unwrap()];
    for (authority, expect) in table {
        let authority: Authority = authority.parse().unwrap();
        let workload = view.workload_by_uid("pod").map(|workload| &**workload);
        let arrival =
            Arrival { authority: &authority, local: addresses[0], addresses: &addresses, network: "", workload };
        assert_eq!(tunnelled(&arrival, &view), *expect, "{authority} with {tunnel:?}");
    }
}

#[test]
fn a_tunnel_may_ask_for_the_pod_for_its_services_and_for_what_it_stands_before() {
    check(
        None,
        &[
            ("10.0.0.7:80", here("10.0.0.7:80")),
            ("web.test:80", here("10.0.0.7:8080")),
            ("named.test:80", here("10.0.0.7:7070")),
            ("web.test:81", Inbound::Unknown),
            ("none.test:80", Inbound::Unknown),
            // Known, and not this pod's.
            ("other.test:80", Inbound::Unknown),
            ("bad.test:80", Inbound::Loop),
            ("10.0.0.40:80", here("10.0.0.7:80")),
            ("10.96.0.5:80", here("10.0.0.7:80")),
            ("10.96.0.6:80", here("10.0.0.7:80")),
            ("10.96.0.5:15008", Inbound::Loop),
            ("behind.test:80", here("10.0.0.7:8080")),
            ("10.0.0.41:80", Inbound::NotOurs),
            ("10.96.0.7:80", Inbound::NotOurs),
            ("10.96.0.1:80", Inbound::NotOurs),
            ("192.168.0.1:80", Inbound::NotOurs),
        ],
    );
}

#[test]
fn an_application_tunnel_takes_everything_to_its_port() {
    check(
        Some(ApplicationTunnel { proxy: true, port: 15088 }),
        &[
            ("10.0.0.7:80", proxied("10.0.0.7:15088", "127.0.0.1:15088", "10.0.0.7:80")),
            ("10.96.0.7:80", proxied("10.0.0.7:15088", "127.0.0.1:15088", "10.96.0.7:80")),
            // A name becomes the address that stands for it: of this network, and IPv4 first.
            ("web.test:80", proxied("10.0.0.7:15088", "127.0.0.1:15088", "10.96.0.1:80")),
            ("named.test:80", proxied("10.0.0.7:15088", "127.0.0.1:15088", "[fd96::2]:80")),
            ("bad.test:80", Inbound::Unknown),
        ],
    );
    check(
        Some(ApplicationTunnel { proxy: false, port: 15088 }),
        &[("10.0.0.7:80", here("10.0.0.7:15088")), ("192.168.0.1:80", here("10.0.0.7:15088"))],
    );
    check(
        Some(ApplicationTunnel { proxy: true, port: 0 }),
        &[("10.96.0.7:80", proxied("10.0.0.7:80", "127.0.0.1:80", "10.96.0.7:80")), ("10.0.0.7:15008", Inbound::Loop)],
    );
    check(Some(ApplicationTunnel { proxy: false, port: 15008 }), &[("10.0.0.7:80", Inbound::Loop)]);
}

#[test]
fn the_service_of_an_arrival_is_the_named_one_or_the_first_that_leads_there() {
    let (mut writer, reader) = mesh::channel();
    writer.replace(mesh(None));
    let view = reader.view();
    let pod = view.workload_by_uid("pod").unwrap();
    for (host, port, expect) in [
        (Some("named.test"), 7070, Some("named")),
        // The name decides, whatever the port.
        (Some("web.test"), 7070, Some("web")),
        // A name of others is nothing that a sender can make us count for.
        (Some("other.test"), 7070, Some("named")),
        (None, 8080, Some("web")),
        (None, 7070, Some("named")),
        (None, 1, None),
    ] {
        let found = service_of(pod, host, port, &view);
        assert_eq!(found.as_ref().map(|service| &*service.name), expect, "{host:?} {port}");
    }
}
