use std::collections::HashSet;

use crate::mesh::{self, State};
use crate::model::gateway::{GatewayAddress, GatewayDestination};
use crate::model::name::NamespacedName;
use crate::model::service::{Balancing, Mode, Scope, Service, ServicePort, VirtualAddress};
use crate::model::spiffe::Identity;
use crate::model::workload::{ServiceMembership, Tunnel, Workload};
use crate::route::balance::{Avoid, EndpointId};
use crate::route::outbound::{Decision, Facts, Refusal, Route, outbound};

fn key(name: &str) -> NamespacedName {
    NamespacedName::new("shop", format!("{name}.test"))
}

fn id(account: &str) -> Identity {
    Identity::new("cluster.local", "shop", account)
}

fn workload(name: &str, network: &str, address: &str, services: &[(&str, u16, u16)]) -> Workload {
    let member = |(name, port, target): &(&str, u16, u16)| ServiceMembership {
        service: key(name),
        ports: vec![(*port, *target)],
    };
    Workload {
        uid: name.into(),
        name: name.into(),
        namespace: "shop".into(),
        service_account: name.into(),
        trust_domain: "cluster.local".into(),
        network: network.into(),
        addresses: if address.is_empty() { Vec::new() } else { vec![address.parse().unwrap()] },
        tunnel: Tunnel::Hbone,
        services: services.iter().map(member).collect(),
        ..Workload::default()
    }
}

fn service(name: &str, address: &str, port: (u16, u16)) -> Service {
    Service {
        name: name.into(),
        namespace: "shop".into(),
        hostname: format!("{name}.test").into(),
        addresses: vec![VirtualAddress::single("".into(), address.parse().unwrap())],
        ports: vec![ServicePort { port: port.0, target: port.1, ..ServicePort::default() }],
        ..Service::default()
    }
}

fn by_address(network: &str, ip: &str, port: u16) -> Option<GatewayAddress> {
    Some(GatewayAddress {
        destination: GatewayDestination::Address { network: network.into(), ip: ip.parse().unwrap() },
        port,
    })
}

fn by_name(name: &str, port: u16) -> Option<GatewayAddress> {
    Some(GatewayAddress { destination: GatewayDestination::Hostname(key(name)), port })
}

fn far(name: &str, gateway: Option<GatewayAddress>, services: &[(&str, u16, u16)]) -> Workload {
    Workload { network_gateway: gateway, ..workload(name, "far", "", services) }
}

fn mesh() -> State {
    let at_gateway = || by_address("far", "1.2.3.4", 15009);
    State {
        workloads: vec![
            workload("gate", "far", "1.2.3.4", &[("gates", 15009, 15008)]),
            workload("gate-2", "far", "1.2.3.5", &[("gates", 15009, 15008)]),
            workload("egress", "", "10.0.0.9", &[("egress", 15009, 15008)]),
            Workload { healthy: false, ..workload("ill", "far", "1.2.3.6", &[("ill-gates", 15009, 15008)]) },
            far("one", at_gateway(), &[("web", 80, 8080)]),
            far("two", at_gateway(), &[("web", 80, 8080), ("named", 80, 8080)]),
            far("by-name", by_name("gates", 15009), &[("through-name", 80, 8080)]),
            far("by-egress", by_name("egress", 15009), &[("through-egress", 80, 8080)]),
            far("by-ill", by_name("ill-gates", 15009), &[("through-ill", 80, 8080)]),
            far("by-nobody", by_address("far", "9.9.9.9", 15009), &[("through-nobody", 80, 8080)]),
            // A gateway that is itself behind one leads nowhere.
            far("nested", by_name("nested-gates", 15009), &[("through-nested", 80, 8080)]),
            Workload { network: "farther".into(), ..far("nest", at_gateway(), &[("nested-gates", 15009, 15008)]) },
            far("anywhere-far", at_gateway(), &[("anywhere", 80, 8080)]),
            workload("anywhere-near", "", "10.0.0.5", &[("anywhere", 80, 8080)]),
            Workload { waypoint: by_name("far-waypoint", 15008), ..workload("waypointed", "", "10.0.0.6", &[]) },
            far("waypoint", at_gateway(), &[("far-waypoint", 15008, 15008)]),
        ],
        services: vec![
            service("web", "10.96.0.1", (80, 8080)),
            Service { subject_alt_names: vec![id("said")], ..service("named", "10.96.0.2", (80, 8080)) },
            service("through-name", "10.96.0.3", (80, 8080)),
            service("through-egress", "10.96.0.4", (80, 8080)),
            service("through-ill", "10.96.0.5", (80, 8080)),
            service("through-nobody", "10.96.0.6", (80, 8080)),
            service("through-nested", "10.96.0.7", (80, 8080)),
            Service {
                balancing: Balancing { mode: Mode::Failover, preference: vec![Scope::Network], ..Balancing::default() },
                ..service("anywhere", "10.96.0.8", (80, 8080))
            },
            Service { waypoint: by_name("far-waypoint", 15008), ..service("behind", "10.96.0.9", (80, 8080)) },
            Service { subject_alt_names: vec![id("gates")], ..service("gates", "10.96.1.1", (15009, 15008)) },
            service("egress", "10.96.1.2", (15009, 15008)),
            service("ill-gates", "10.96.1.3", (15009, 15008)),
            service("nested-gates", "10.96.1.4", (15009, 15008)),
            service("far-waypoint", "10.96.1.5", (15008, 15008)),
        ],
        policies: Vec::new(),
    }
}

fn decide(state: State, destination: &str, tried: &[EndpointId]) -> Decision {
    let (mut writer, reader) = mesh::channel();
    writer.replace(state);
    let (aside, identity) = (HashSet::new(), id("client"));
    let facts = Facts {
        network: "",
        namespace: "shop",
        identity: &identity,
        source: None,
        client: "10.0.0.7".parse().unwrap(),
        destination: destination.parse().unwrap(),
        listener: "127.0.0.1:15001".parse().unwrap(),
        is_here: &|_, _| false,
        own: &["10.0.0.7".parse().unwrap()],
        resolved: &[],
    };
    outbound(&facts, &reader.view(), &Avoid { tried, aside: &aside }, 0)
}

/// `gateway hop authority | identities of the gateway | identities behind it and what is there`, or the refusal.
fn words(decision: &Decision) -> String {
    match &decision.route {
        Route::Beyond(to) => {
            let accounts = |of: &[Identity]| {
                let mut accounts: Vec<_> = of.iter().map(|identity| identity.service_account.to_string()).collect();
                accounts.sort();
                accounts.join(",")
            };
            let (outer, inner) = (accounts(&to.expected), accounts(&to.inner));
            let end = if to.is_waypoint { ", which is a waypoint" } else { "" };
            format!("{} {} {}:{} | {outer} | {inner}{end}", to.gateway.name, to.hop, to.host, to.port)
        }
        Route::Hbone(hbone) => format!("hbone {}", hbone.hop),
        Route::Refuse(why) => format!("{why:?}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn another_network_is_reached_through_its_gateway() {
    for (destination, expect) in [
        // Whoever serves it there may answer: the gateway chooses.
        ("10.96.0.1:80", "gate 1.2.3.4:15009 web.test:80 | gate | one,two"),
        // Unless the service says who.
        ("10.96.0.2:80", "gate 1.2.3.4:15009 named.test:80 | gate | said"),
        ("10.96.0.4:80", "egress 10.0.0.9:15008 through-egress.test:80 | egress | by-egress"),
        ("10.96.0.5:80", "GatewayEmpty"),
        ("10.96.0.6:80", "UnknownGateway"),
        ("10.96.0.7:80", "UnknownGateway"),
        // Near before far.
        ("10.96.0.8:80", "hbone 10.0.0.5:15008"),
        // A waypoint of the other network: the service is asked for all the same, and the waypoint answers.
        ("10.96.0.9:80", "gate 1.2.3.4:15009 behind.test:80 | gate | waypoint, which is a waypoint"),
        // No service was dialled, so there is no name to ask the gateway for.
        ("10.0.0.6:80", "OtherNetwork"),
    ] {
        assert_eq!(words(&decide(mesh(), destination, &[])), expect, "{destination}");
    }
}

#[test]
fn far_takes_over_when_near_is_ill() {
    let mut state = mesh();
    state.workloads.iter_mut().filter(|w| *w.name == *"anywhere-near").for_each(|w| w.healthy = false);
    assert_eq!(words(&decide(state, "10.96.0.8:80", &[])), "gate 1.2.3.4:15009 anywhere.test:80 | gate | anywhere-far");
}

#[test]
fn one_gateway_of_several_stands_in_for_another() {
    let first = decide(mesh(), "10.96.0.3:80", &[]);
    let Some(target) = first.route.target() else { panic!("{first:?}") };
    assert!(target.others);
    let second = decide(mesh(), "10.96.0.3:80", std::slice::from_ref(&target.id));
    let mut seen = [words(&first), words(&second)];
    seen.sort();
    assert_eq!(
        seen,
        [
            "gate 1.2.3.4:15008 through-name.test:80 | gate,gates | by-name",
            "gate-2 1.2.3.5:15008 through-name.test:80 | gate-2,gates | by-name",
        ]
    );
    let both = [target.id.clone(), second.route.target().unwrap().id.clone()];
    // The last one stands for what is behind it.
    assert!(matches!(decide(mesh(), "10.96.0.3:80", &both).route, Route::Refuse(Refusal::NoEndpoint)));
    // The only gateway stands for what is behind it.
    let one = decide(mesh(), "10.96.0.4:80", &[]);
    assert_eq!(&*one.route.target().unwrap().id.uid, "by-egress");
}

#[test]
fn a_gateway_that_has_changed_ends_the_attempt() {
    let decision = decide(mesh(), "10.96.0.1:80", &[]);
    let holds = |state: State| {
        let (mut writer, reader) = mesh::channel();
        writer.replace(state);
        decision.holds("", "shop", "10.96.0.1".parse().unwrap(), &reader.view())
    };
    assert!(holds(mesh()));
    let mut moved = mesh();
    moved
        .workloads
        .iter_mut()
        .filter(|w| *w.network == *"far")
        .for_each(|w| w.network_gateway = by_address("far", "1.2.3.5", 15009));
    assert!(!holds(moved));
}
