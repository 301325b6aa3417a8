use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::mesh::demand::Sought;
use crate::mesh::{self, State};
use crate::model::gateway::GatewayDestination;
use crate::model::name::NamespacedName;
use crate::model::service::{Balancing, ServicePort, VirtualAddress, Visibility};
use crate::model::workload::{ApplicationTunnel, ServiceMembership, Workload};
use crate::route::missing::missing;

mod both;
const OWN: &str = "10.0.0.7";

fn workload(name: &str, address: &str, tunnel: Tunnel) -> Workload {
    Workload {
        uid: format!("Kubernetes//Pod/shop/{name}").into(),
        name: name.into(),
        namespace: "shop".into(),
        service_account: name.into(),
        trust_domain: "cluster.local".into(),
        addresses: if address.is_empty() { Vec::new() } else { vec![address.parse().unwrap()] },
        node: "a".into(),
        tunnel,
        ..Workload::default()
    }
}

/// An endpoint of each of `services`, port 80 → 8080.
fn endpoint(services: &[&str], workload: Workload) -> Workload {
    let member = |name: &&str| ServiceMembership { service: key(name), ports: vec![(80, 8080), (15008, 15008)] };
    Workload { services: services.iter().map(member).collect(), ..workload }
}

fn key(name: &str) -> NamespacedName {
    NamespacedName::new("shop", format!("{name}.test"))
}

fn service(name: &str, address: &str) -> Service {
    Service {
        name: name.into(),
        namespace: "shop".into(),
        hostname: format!("{name}.test").into(),
        addresses: vec![VirtualAddress::single("".into(), address.parse().unwrap())],
        ports: vec![ServicePort { port: 80, target: 8080, ..ServicePort::default() }],
        ..Service::default()
    }
}

fn by_name(name: &str) -> Option<GatewayAddress> {
    Some(GatewayAddress { destination: GatewayDestination::Hostname(key(name)), port: 15008 })
}

fn by_address(network: &str, ip: &str) -> Option<GatewayAddress> {
    let destination = GatewayDestination::Address { network: network.into(), ip: ip.parse().unwrap() };
    Some(GatewayAddress { destination, port: 15008 })
}

fn mesh() -> State {
    let hbone = Tunnel::Hbone;
    let gate = |name: &str, address: &str| Workload {
        service_account: "gate".into(),
        native_tunnel: true,
        ..endpoint(&["gate"], workload(name, address, hbone))
    };
    let waypointed = |name: &str, address: &str, waypoint| Workload { waypoint, ..workload(name, address, hbone) };
    let workloads = vec![
        workload("meshed", "10.0.0.1", hbone),
        workload("meshed6", "fd00::1", hbone),
        workload("plain", "10.0.0.2", Tunnel::None),
        endpoint(&["web", "sans"], workload("web-0", "10.0.0.10", hbone)),
        endpoint(&["legacy"], workload("legacy-0", "10.0.0.11", Tunnel::None)),
        Workload { healthy: false, ..endpoint(&["sick"], workload("sick-0", "10.0.0.12", hbone)) },
        Workload { hostname: "db.example".into(), ..endpoint(&["named"], workload("named-0", "", Tunnel::None)) },
        Workload {
            network: "far".into(),
            network_gateway: by_address("far", "1.2.3.4"),
            ..endpoint(&["remote"], workload("far-0", "", hbone))
        },
        gate("gate-0", "10.0.0.30"),
        waypointed("behind", "10.0.0.40", by_name("gate")),
        waypointed("behind-ip", "10.0.0.41", by_address("", "10.0.0.30")),
        waypointed("behind-vip", "10.0.0.42", by_address("", "10.96.0.30")),
        waypointed("lost", "10.0.0.43", by_name("nobody")),
        waypointed("remote-gate", "10.0.0.44", by_name("remote-gate")),
        endpoint(&["through"], waypointed("both", "10.0.0.45", by_name("nobody"))),
        endpoint(&["direct"], waypointed("own", "10.0.0.46", by_name("gate"))),
        Workload {
            application_tunnel: Some(ApplicationTunnel { proxy: true, port: 15088 }),
            ..endpoint(&["sandwich"], workload("sandwich-0", "10.0.0.47", hbone))
        },
    ];
    let through = |name: &str, address: &str, waypoint| Service { waypoint, ..service(name, address) };
    let services = vec![
        service("web", "10.96.0.1"),
        Service {
            subject_alt_names: vec![Identity::new("cluster.local", "shop", "extra")],
            ..service("sans", "10.96.0.2")
        },
        service("legacy", "10.96.0.3"),
        service("sick", "10.96.0.4"),
        service("empty", "10.96.0.5"),
        service("named", "10.96.0.6"),
        service("remote", "10.96.0.7"),
        Service { visibility: Visibility::Namespace, namespace: "other".into(), ..service("hidden", "10.96.0.8") },
        Service {
            balancing: Balancing { mode: Mode::Passthrough, ..Balancing::default() },
            ..service("as-is", "10.96.0.9")
        },
        through("through", "10.96.0.10", by_name("gate")),
        through("through-lost", "10.96.0.11", by_name("nobody")),
        through("through-empty", "10.96.0.12", by_name("empty-gate")),
        through("through-pod", "10.96.0.13", by_address("", "10.0.0.30")),
        through("through-remote", "10.96.0.14", by_name("remote-gate")),
        Service {
            balancing: Balancing { mode: Mode::Passthrough, ..Balancing::default() },
            ..through("as-is-through", "10.96.0.15", by_name("gate"))
        },
        service("direct", "10.96.0.16"),
        service("sandwich", "10.96.0.17"),
        Service {
            addresses: vec![VirtualAddress { network: "".into(), net: "10.0.0.0/8".parse().unwrap() }],
            ..service("wide", "0.0.0.0")
        },
        Service {
            ports: vec![ServicePort { port: 15008, target: 15008, ..ServicePort::default() }],
            ..service("gate", "10.96.0.30")
        },
        Service {
            ports: vec![ServicePort { port: 15008, target: 15008, ..ServicePort::default() }],
            ..service("empty-gate", "10.96.0.31")
        },
        Service {
            ports: vec![ServicePort { port: 15008, target: 15008, ..ServicePort::default() }],
            ..service("remote-gate", "10.96.0.32")
        },
    ];
    let remote_gate = Workload {
        network: "far".into(),
        network_gateway: by_address("far", "1.2.3.4"),
        ..endpoint(&["remote-gate"], workload("far-gate", "", hbone))
    };
    State { workloads: [workloads, vec![remote_gate]].concat(), services, policies: Vec::new() }
}

/// A caller: who, at which socket address, with which pod addresses.
#[derive(Clone, Copy)]
struct From<'a> {
    account: &'a str,
    client: &'a str,
    own: &'a str,
    /// Service accounts of pods of this node.
    here: &'a [&'a str],
}

const CLIENT: From<'static> = From { account: "client", client: OWN, own: OWN, here: &[] };

fn decide(state: &State, from: From<'_>, destination: &str, avoid: &Avoid<'_>, random: u64) -> Decision {
    decide_and_miss(state, from, destination, avoid, random).0
}

/// With what the decision was made without, if the mesh holds only what was asked for.
fn decide_and_miss(
    state: &State,
    from: From<'_>,
    destination: &str,
    avoid: &Avoid<'_>,
    random: u64,
) -> (Decision, Vec<Sought>) {
    let (mut writer, reader) = mesh::channel();
    writer.replace(state.clone());
    let identity = Identity::new("cluster.local", "shop", from.account);
    let own = [from.own.parse().unwrap()];
    let resolved = [("db.example".into(), "10.9.9.9".parse().unwrap())];
    let is_here = |_: IpAddr, identity: &Identity| from.here.contains(&&*identity.service_account);
    let facts = Facts {
        network: "",
        namespace: "shop",
        identity: &identity,
        source: None,
        client: from.client.parse().unwrap(),
        destination: destination.parse().unwrap(),
        listener: "127.0.0.1:15001".parse().unwrap(),
        is_here: &is_here,
        own: &own,
        resolved: &resolved,
    };
    let view = reader.view();
    let decision = outbound(&facts, &view, avoid, random);
    let missing = missing(&facts, &decision, &view);
    (decision, missing)
}

/// The road in words, so that a table of them can be read.
fn words(decision: &Decision) -> String {
    let service = decision.service.as_ref().map_or_else(String::new, |service| format!(" of {}", service.name));
    let road = match &decision.route {
        Route::Direct(target) => format!("direct {} {}", target.workload.name, target.at),
        Route::Express(target) => format!("express {} {}", target.workload.name, target.at),
        Route::Hbone(Hbone { hop, authority, expected, target, is_waypoint }) => {
            let road = if *is_waypoint { "waypoint" } else { "hbone" };
            let expected: Vec<_> = expected.iter().map(|identity| &*identity.service_account).collect();
            format!("{road} {} {hop} {authority} {}", target.workload.name, expected.join(","))
        }
        Route::Beyond(to) => {
            let accounts =
                |of: &[Identity]| of.iter().map(|i| i.service_account.to_string()).collect::<Vec<_>>().join(",");
            format!(
                "beyond {} {} {}:{} {} {}",
                to.gateway.name,
                to.hop,
                to.host,
                to.port,
                accounts(&to.expected),
                accounts(&to.inner)
            )
        }
        Route::Passthrough => "passthrough".into(),
        Route::Refuse(refusal) => format!("{refusal:?}"),
        Route::Resolve(_, name) => format!("resolve {name}"),
    };
    road + &service
}

fn none() -> (Vec<EndpointId>, HashSet<EndpointId>) {
    (Vec::new(), HashSet::new())
}

#[track_caller]
fn check(from: From<'_>, destination: &str, expect: &str) {
    let (tried, aside) = none();
    for random in [0, u64::MAX / 2, u64::MAX] {
        let decision = decide(&mesh(), from, destination, &Avoid { tried: &tried, aside: &aside }, random);
        assert_eq!(words(&decision), expect, "{} to {destination}", from.account);
    }
}

#[test]
fn every_kind_of_destination_has_its_road() {
    for (destination, expect) in [
        ("10.0.0.1:80", "hbone meshed 10.0.0.1:15008 10.0.0.1:80 meshed"),
        ("[fd00::1]:80", "hbone meshed6 [fd00::1]:15008 [fd00::1]:80 meshed6"),
        ("10.0.0.2:80", "direct plain 10.0.0.2:80"),
        ("192.168.0.9:443", "passthrough"),
        ("127.0.0.1:80", "passthrough"),
        // Services: the endpoint's own port, its identity and those that the service names.
        ("10.96.0.1:80", "hbone web-0 10.0.0.10:15008 10.0.0.10:8080 web-0 of web"),
        ("10.96.0.2:80", "hbone web-0 10.0.0.10:15008 10.0.0.10:8080 web-0,extra of sans"),
        ("10.96.0.3:80", "direct legacy-0 10.0.0.11:8080 of legacy"),
        ("10.96.0.6:80", "direct named-0 10.9.9.9:8080 of named"),
        // Never as plaintext to the address of a service that is known.
        ("10.96.0.1:81", "NoPort of web"),
        ("10.96.0.4:80", "NoEndpoint of sick"),
        ("10.96.0.5:80", "NoEndpoint of empty"),
        ("10.96.0.7:80", "UnknownGateway of remote"),
        // One of another namespace's own is covered by a block here, and by nothing elsewhere.
        ("10.96.0.8:80", "NoEndpoint of wide"),
        // The one service that says so itself.
        ("10.96.0.9:80", "passthrough of as-is"),
        // A pod's address is the pod's, whatever block covers it.
        ("10.0.0.2:81", "direct plain 10.0.0.2:81"),
        ("10.96.0.17:80", "hbone sandwich-0 10.0.0.47:15008 10.0.0.47:8080 sandwich-0 of sandwich"),
    ] {
        check(CLIENT, destination, expect);
    }
}

#[test]
fn a_waypoint_is_told_what_was_dialled_and_never_gone_round() {
    for (destination, expect) in [
        ("10.96.0.10:80", "waypoint gate-0 10.0.0.30:15008 10.96.0.10:80 gate of through"),
        ("10.96.0.13:80", "waypoint gate-0 10.0.0.30:15008 10.96.0.13:80 gate of through-pod"),
        // A port that the service does not have is the waypoint's to refuse.
        ("10.96.0.10:81", "waypoint gate-0 10.0.0.30:15008 10.96.0.10:81 gate of through"),
        ("10.96.0.15:80", "waypoint gate-0 10.0.0.30:15008 10.96.0.15:80 gate of as-is-through"),
        ("10.96.0.11:80", "UnknownWaypoint of through-lost"),
        ("10.96.0.12:80", "WaypointEmpty of through-empty"),
        ("10.96.0.14:80", "UnknownGateway of through-remote"),
        ("10.0.0.40:80", "waypoint gate-0 10.0.0.30:15008 10.0.0.40:80 gate"),
        ("10.0.0.41:80", "waypoint gate-0 10.0.0.30:15008 10.0.0.41:80 gate"),
        ("10.0.0.42:80", "waypoint gate-0 10.0.0.30:15008 10.0.0.42:80 gate"),
        ("10.0.0.43:80", "UnknownWaypoint"),
        ("10.0.0.44:80", "OtherNetwork"),
        // Calls to a service do not go through its endpoints' own waypoints.
        ("10.96.0.16:80", "hbone own 10.0.0.46:15008 10.0.0.46:8080 own of direct"),
    ] {
        check(CLIENT, destination, expect);
        // On the waypoint's own node too, and on the destination's: no lane past a waypoint.
        check(From { here: &["gate", "behind", "both"], ..CLIENT }, destination, expect);
    }
}

#[test]
fn what_the_waypoint_sends_does_not_come_back_to_it() {
    let gate = From { account: "gate", client: "10.0.0.30", own: "10.0.0.30", here: &[] };
    let through = "hbone both 10.0.0.45:15008 10.0.0.45:8080 both of through";
    check(gate, "10.96.0.10:80", through);
    check(gate, "10.0.0.40:80", "hbone behind 10.0.0.40:15008 10.0.0.40:80 behind");
    check(gate, "10.0.0.41:80", "hbone behind-ip 10.0.0.41:15008 10.0.0.41:80 behind-ip");
    // Whatever address its application binds.
    check(From { client: "10.0.0.99", ..gate }, "10.96.0.10:80", through);
    // Another's waypoint is as good as any.
    check(gate, "10.96.0.11:80", "UnknownWaypoint of through-lost");
    // Neither its address under another account, nor its account at another address, is the waypoint.
    check(From { account: "client", ..gate }, "10.96.0.10:80", "WaypointLoop of through");
    let elsewhere = From { own: "10.0.0.31", client: "10.0.0.31", ..gate };
    check(elsewhere, "10.96.0.10:80", "waypoint gate-0 10.0.0.30:15008 10.96.0.10:80 gate of through");
    // One that is not ready any more sends all the same.
    let mut state = mesh();
    state.workloads.iter_mut().filter(|w| *w.name == *"gate-0").for_each(|w| w.healthy = false);
    let (tried, aside) = none();
    let decision = decide(&state, gate, "10.96.0.10:80", &Avoid { tried: &tried, aside: &aside }, 0);
    assert_eq!(words(&decision), through);
}

#[test]
fn our_own_listeners_are_never_called() {
    for port in [15001, 15006, 15008] {
        check(CLIENT, &format!("10.0.0.1:{port}"), "Loop");
        check(From { here: &["meshed"], ..CLIENT }, &format!("10.0.0.1:{port}"), "Loop");
        check(CLIENT, &format!("127.0.0.1:{port}"), "Loop");
        // The same number on a host outside of the mesh is somebody else's.
        check(CLIENT, &format!("10.0.0.2:{port}"), &format!("direct plain 10.0.0.2:{port}"));
        check(CLIENT, &format!("192.168.0.9:{port}"), "passthrough");
    }
    // Behind a service as well: the waypoint's own has such a port.
    check(CLIENT, "10.96.0.30:15008", "Loop of gate");
}

#[test]
fn the_lane_is_only_for_whom_the_tunnel_would_be_the_same() {
    let tunnel = "hbone meshed 10.0.0.1:15008 10.0.0.1:80 meshed";
    let near = From { here: &["meshed", "web-0", "sandwich-0"], ..CLIENT };
    check(near, "10.0.0.1:80", "express meshed 10.0.0.1:80");
    check(near, "10.96.0.1:80", "express web-0 10.0.0.10:8080 of web");
    // A pod that had the address before: its identity is not the one that the mesh names.
    check(From { here: &["predecessor"], ..CLIENT }, "10.0.0.1:80", tunnel);
    // Bound by the application to show the destination an address that is not its pod's.
    check(From { client: "127.0.0.1", ..near }, "10.0.0.1:80", tunnel);
    check(From { client: "10.0.0.99", ..near }, "10.0.0.1:80", tunnel);
    // What turns an arriving tunnel's connection elsewhere is done on arrival.
    let sandwich = "hbone sandwich-0 10.0.0.47:15008 10.0.0.47:8080 sandwich-0 of sandwich";
    check(near, "10.96.0.17:80", sandwich);
}

#[test]
fn a_connection_that_nobody_redirected_is_not_dialled_again() {
    let (_writer, reader) = mesh::channel();
    let identity = Identity::new("cluster.local", "shop", "client");
    for (listener, expect) in [
        // An address of the namespace that the mesh knows nothing of.
        ("192.168.9.1:15001", Route::Refuse(Refusal::Loop)),
        ("127.0.0.1:15001", Route::Passthrough),
    ] {
        let facts = Facts {
            network: "",
            namespace: "shop",
            identity: &identity,
            source: None,
            client: OWN.parse().unwrap(),
            destination: "192.168.9.1:15001".parse().unwrap(),
            listener: listener.parse().unwrap(),
            is_here: &|_, _| false,
            own: &[],
            resolved: &[],
        };
        let (tried, aside) = none();
        let decision = outbound(&facts, &reader.view(), &Avoid { tried: &tried, aside: &aside }, 0);
        assert_eq!(decision.route, expect, "{listener}");
    }
}

#[test]
fn another_network_is_another_mesh_and_a_name_is_looked_up() {
    let (mut writer, reader) = mesh::channel();
    writer.replace(mesh());
    let identity = Identity::new("cluster.local", "shop", "client");
    for (network, destination, expect) in [
        ("other", "10.0.0.1:80", "passthrough"),
        ("other", "10.96.0.1:80", "passthrough"),
        ("", "10.96.0.6:80", "resolve db.example of named"),
    ] {
        let facts = Facts {
            network,
            namespace: "shop",
            identity: &identity,
            source: None,
            client: OWN.parse().unwrap(),
            destination: destination.parse().unwrap(),
            listener: "127.0.0.1:15001".parse().unwrap(),
            is_here: &|_, _| false,
            own: &[],
            resolved: &[],
        };
        let (tried, aside) = none();
        let decision = outbound(&facts, &reader.view(), &Avoid { tried: &tried, aside: &aside }, 0);
        assert_eq!(words(&decision), expect, "{network} {destination}");
    }
}

#[test]
fn a_decision_holds_while_what_it_was_made_of_is_there() {
    let (mut writer, reader) = mesh::channel();
    let (tried, aside) = none();
    let avoid = Avoid { tried: &tried, aside: &aside };
    let mut still = |to: &str, change: &dyn Fn(&mut State)| {
        let decision = decide(&mesh(), CLIENT, &format!("{to}:80"), &avoid, 0);
        let mut state = mesh();
        change(&mut state);
        writer.replace(state);
        decision.holds("", "shop", to.parse().unwrap(), &reader.view())
    };
    assert!(still("192.168.0.9", &|_| {}), "outside");
    assert!(!still("192.168.0.9", &|state| web(state).addresses = vec!["192.168.0.9".parse().unwrap()]), "in the mesh");
    let mut holds = |change: &dyn Fn(&mut State)| still("10.96.0.1", change);
    fn web(state: &mut State) -> &mut Workload {
        state.workloads.iter_mut().find(|w| *w.name == *"web-0").unwrap()
    }
    fn of(state: &mut State) -> &mut Service {
        state.services.iter_mut().find(|s| *s.name == *"web").unwrap()
    }
    assert!(holds(&|_| {}));
    assert!(holds(&|state| web(state).canonical_name = "v2".into()), "a label is nothing");
    assert!(!holds(&|state| state.workloads.retain(|w| *w.name != *"web-0")), "removed");
    assert!(!holds(&|state| web(state).service_account = "other".into()), "another identity");
    assert!(!holds(&|state| web(state).addresses = vec!["10.0.0.99".parse().unwrap()]), "another address");
    assert!(!holds(&|state| of(state).waypoint = by_name("gate")), "a waypoint in its way");
    assert!(!holds(&|state| state.services.retain(|s| *s.name != *"web")), "no service");
}

/// One mesh of many: endpoints in every state, a service in every mode, with and without waypoints.
fn any_state() -> impl Strategy<Value = State> {
    let one = (any::<bool>(), 0u32..3, any::<bool>(), 0u8..3, any::<bool>());
    let endpoints = proptest::collection::vec(one, 0..6);
    (endpoints, 0u8..4, 0u8..5, any::<bool>(), any::<bool>()).prop_map(|(ends, mode, way, unhealthy, affinity)| {
        let mut state = mesh();
        state.workloads.retain(|w| *w.name != *"web-0");
        for (number, (healthy, capacity, hbone, place, port)) in ends.into_iter().enumerate() {
            let tunnel = if hbone { Tunnel::Hbone } else { Tunnel::None };
            let mut one = endpoint(&["web"], workload(&format!("e{number}"), &format!("10.1.0.{number}"), tunnel));
            (one.healthy, one.capacity) = (healthy, capacity);
            one.locality.zone = if place == 0 { "z".into() } else { "y".into() };
            one.network = if place == 2 { "far".into() } else { "".into() };
            one.services[0].ports.truncate(usize::from(port));
            state.workloads.push(one);
        }
        let web = state.services.iter_mut().find(|s| *s.name == *"web").unwrap();
        web.balancing = Balancing {
            mode: [Mode::Any, Mode::Strict, Mode::Failover, Mode::Failover][usize::from(mode)],
            preference: vec![crate::model::service::Scope::Zone],
            accept_unhealthy: unhealthy,
            affinity: affinity.then_some(crate::model::service::Affinity { timeout: std::time::Duration::MAX }),
        };
        let waypoints = [None, by_name("gate"), by_name("nobody"), by_address("", "10.0.0.30"), by_name("empty-gate")];
        web.waypoint = waypoints[usize::from(way)].clone();
        state
    })
}

/// What a control plane answers: a workload, or else services, and with a service its endpoints.
fn answer(all: &State, sought: &Sought) -> State {
    let mut part = State::default();
    let at = |ip: &IpAddr, network: &str| {
        let is = |w: &&Workload| *w.network == *network && w.addresses.contains(ip);
        all.workloads.iter().filter(is).cloned().collect::<Vec<_>>()
    };
    let services = |is: &dyn Fn(&Service) -> bool| all.services.iter().filter(|s| is(s)).cloned().collect::<Vec<_>>();
    match sought {
        Sought::Address { network, ip } => {
            part.workloads = at(ip, network);
            if part.workloads.is_empty() {
                part.services = services(&|s| s.is_at(network, *ip));
            }
            if part.workloads.is_empty() && part.services.is_empty() {
                part.services = services(&|s| s.addresses.iter().any(|a| a.network == *network && a.net.contains(ip)));
            }
        }
        Sought::Service(key) => part.services = services(&|s| s.key() == *key),
    }
    for service in &part.services {
        let is = |w: &&Workload| w.services.iter().any(|of| of.service == service.key());
        part.workloads.extend(all.workloads.iter().filter(is).cloned());
    }
    part
}

#[test]
fn what_is_asked_for_leads_where_the_whole_mesh_does() {
    let all = mesh();
    let (tried, aside) = none();
    let avoid = Avoid { tried: &tried, aside: &aside };
    let gate = From { account: "gate", client: "10.0.0.30", own: "10.0.0.30", here: &[] };
    let near = From { here: &["meshed", "web-0", "sandwich-0", "gate"], ..CLIENT };
    for from in [CLIENT, gate, near] {
        for (destination, most) in [
            ("10.0.0.1:80", 1),
            ("[fd00::1]:80", 1),
            ("10.0.0.2:80", 1),
            ("192.168.0.9:443", 1),
            // Not worth a question.
            ("127.0.0.1:80", 0),
            ("127.0.0.1:15001", 0),
            ("169.254.169.254:80", 0),
            ("10.96.0.1:80", 1),
            ("10.96.0.1:81", 1),
            ("10.96.0.4:80", 1),
            ("10.96.0.5:80", 1),
            ("10.96.0.6:80", 1),
            ("10.96.0.9:80", 1),
            ("10.96.0.17:80", 1),
            // Within a block, and nothing else.
            ("10.1.2.3:80", 1),
            // The gateway of another network, which nobody has.
            ("10.96.0.7:80", 2),
            // Waypoints: by name, by a pod's address, by a service's, of another network, and such as are nowhere.
            ("10.96.0.10:80", 2),
            ("10.96.0.11:80", 2),
            ("10.96.0.12:80", 2),
            ("10.96.0.13:80", 2),
            ("10.96.0.14:80", 3),
            ("10.96.0.15:80", 2),
            ("10.96.0.16:80", 1),
            ("10.0.0.40:80", 2),
            ("10.0.0.41:80", 2),
            ("10.0.0.42:80", 2),
            ("10.0.0.43:80", 2),
            ("10.0.0.44:80", 2),
        ] {
            let (mut part, mut asked) = (State::default(), Vec::new());
            let decision = loop {
                let (decision, mut missing) = decide_and_miss(&part, from, destination, &avoid, 0);
                missing.retain(|sought| !asked.contains(sought));
                if missing.is_empty() {
                    break decision;
                }
                for sought in missing {
                    let State { workloads, services, .. } = answer(&all, &sought);
                    part.workloads.extend(workloads);
                    part.services.extend(services);
                    asked.push(sought);
                }
                assert!(asked.len() <= most, "{destination}: {asked:?}");
            };
            let whole = decide(&all, from, destination, &avoid, 0);
            assert_eq!(words(&decision), words(&whole), "{} to {destination}", from.account);
        }
    }
}

#[test]
fn a_pod_within_the_block_of_a_service_that_is_known_is_asked_for() {
    let (tried, aside) = none();
    let avoid = Avoid { tried: &tried, aside: &aside };
    let mut part = answer(&mesh(), &Sought::Address { network: "".into(), ip: "10.1.2.3".parse().unwrap() });
    let (decision, missing) = decide_and_miss(&part, CLIENT, "10.0.0.1:80", &avoid, 0);
    assert_eq!(words(&decision), "NoEndpoint of wide");
    assert_eq!(missing, [Sought::address("", "10.0.0.1".parse().unwrap()).unwrap()]);
    // One that only another namespace sees says nothing of the address either.
    part.services = mesh().services.into_iter().filter(|s| s.visibility == Visibility::Namespace).collect();
    let (decision, missing) = decide_and_miss(&part, CLIENT, "10.96.0.8:80", &avoid, 0);
    assert_eq!((words(&decision), missing.len()), ("passthrough".into(), 1));
    let (mut writer, reader) = mesh::channel();
    writer.replace(part);
    assert!(!missing[0].is_held(&reader.view()));
}

proptest! {
    /// A call to a service ends at an eligible member, at its waypoint, or nowhere.
    #[test]
    fn a_service_is_never_gone_round(state in any_state(), tried in 0usize..6, random in any::<u64>(), near: bool) {
        let tried: Vec<_> = state.workloads.iter().filter(|w| w.name.starts_with('e')).take(tried)
            .map(|w| EndpointId::new(&w.clone().into(), 8080)).collect();
        let aside = HashSet::new();
        let from = From { here: if near { &["e0", "e1", "e2"] } else { &[] }, ..CLIENT };
        let decision = decide(&state, from, "10.96.0.1:80", &Avoid { tried: &tried, aside: &aside }, random);
        let web = decision.service.clone().expect("the address is the service's");
        prop_assert_eq!(&*web.name, "web");
        match &decision.route {
            Route::Passthrough | Route::Resolve(..) => prop_assert!(false, "{decision:?}"),
            Route::Refuse(why) => prop_assert!(*why != Refusal::Loop && *why != Refusal::NoPort, "{why:?}"),
            Route::Hbone(hbone) if hbone.is_waypoint => {
                prop_assert!(web.waypoint.is_some() && &*hbone.target.workload.name == "gate-0");
            }
            route => {
                prop_assert!(web.waypoint.is_none(), "past the waypoint: {decision:?}");
                let target = route.target().unwrap();
                let w = &target.workload;
                let known = state.workloads.iter().any(|known| known.uid == w.uid);
                prop_assert!(known && w.services.iter().any(|s| s.service == key("web")), "in the view, a member");
                prop_assert!(w.capacity > 0 && (w.healthy || web.balancing.accept_unhealthy), "eligible");
                prop_assert!(web.balancing.mode != Mode::Strict, "nothing is shared without a record of the caller");
                prop_assert!(!tried.contains(&target.id) && w.addresses.contains(&target.at.ip()));
                prop_assert_eq!((target.at.port(), &*w.network), (8080, ""));
                prop_assert_eq!(matches!(route, Route::Direct(_)), w.tunnel == Tunnel::None, "plain only where it is");
            }
        }
    }
}
