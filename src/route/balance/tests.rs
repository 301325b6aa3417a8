use std::collections::BTreeMap;

use super::*;
use crate::mesh::{self, State};
use crate::model::gateway::{GatewayAddress, GatewayDestination};
use crate::model::name::NamespacedName;
use crate::model::service::{Affinity, Balancing, ServicePort};
use crate::model::workload::{ApplicationTunnel, ServiceMembership, Workload};

const ROUNDS: u64 = 20_000;

fn key() -> NamespacedName {
    NamespacedName::new("shop", "web.test")
}

fn service(balancing: Balancing) -> Service {
    Service {
        name: "web".into(),
        namespace: "shop".into(),
        hostname: "web.test".into(),
        ports: vec![
            ServicePort { port: 80, target: 8080, ..ServicePort::default() },
            // Every endpoint has its own.
            ServicePort { port: 81, target: 0, ..ServicePort::default() },
        ],
        balancing,
        ..Service::default()
    }
}

/// `region/zone/node` of an endpoint; its address is 10.0.0.NUMBER.
fn at(number: u8, place: &str) -> Workload {
    let mut parts = place.split('/').map(Arc::<str>::from);
    let mut next = || parts.next().unwrap_or_default();
    let mut workload = Workload {
        uid: format!("e{number}").into(),
        namespace: "shop".into(),
        addresses: vec![format!("10.0.0.{number}").parse().unwrap()],
        services: vec![ServiceMembership { service: key(), ports: Vec::new() }],
        ..Workload::default()
    };
    (workload.locality.region, workload.locality.zone, workload.node) = (next(), next(), next());
    workload
}

struct Case {
    service: Service,
    workloads: Vec<Workload>,
    caller: Held,
    client: IpAddr,
    tried: Vec<EndpointId>,
    aside: HashSet<EndpointId>,
    wanted: Wanted,
}

impl Case {
    fn new(balancing: Balancing, workloads: Vec<Workload>) -> Self {
        Self {
            service: service(balancing),
            workloads,
            caller: at(200, "r1/z1/n1").into(),
            client: "10.0.0.200".parse().unwrap(),
            tried: Vec::new(),
            aside: HashSet::new(),
            wanted: Wanted { port: 80, address: "10.96.0.1".parse().unwrap(), waypoint: false },
        }
    }

    fn pick(&self, random: u64) -> Result<Picked, Nothing> {
        self.picks([random]).pop().unwrap()
    }

    fn picks(&self, randoms: impl IntoIterator<Item = u64>) -> Vec<Result<Picked, Nothing>> {
        let (mut writer, reader) = mesh::channel();
        writer.replace(State {
            workloads: self.workloads.clone(),
            services: vec![self.service.clone()],
            policies: Vec::new(),
        });
        let view = reader.view();
        let caller = Caller { network: "", workload: Some(&self.caller), client: self.client };
        let avoid = Avoid { tried: &self.tried, aside: &self.aside };
        let pick = |random| balance(&self.service, &view, &caller, &self.wanted, &avoid, random);
        randoms.into_iter().map(pick).collect()
    }

    /// How often each is chosen.
    fn shares(&self) -> BTreeMap<String, u64> {
        let mut shares = BTreeMap::new();
        for picked in self.picks((0..ROUNDS).map(hash::mix)) {
            *shares.entry(picked.unwrap().workload.uid.to_string()).or_default() += 1;
        }
        shares
    }

    #[track_caller]
    fn only(&self, expect: &[&str]) {
        let shares = self.shares();
        assert_eq!(shares.keys().map(String::as_str).collect::<Vec<_>>(), expect);
    }
}

fn near(mode: Mode, preference: &[Scope]) -> Balancing {
    Balancing { mode, preference: preference.to_vec(), ..Balancing::default() }
}

fn id(uid: &str) -> EndpointId {
    EndpointId { uid: uid.into(), port: 8080 }
}

#[test]
fn chance_follows_the_weights() {
    let weights = [1u32, 2, 0, 5];
    let workloads = (1u8..).zip(weights).map(|(n, capacity)| Workload { capacity, ..at(n, "") }).collect();
    let shares = Case::new(Balancing::default(), workloads).shares();
    for (uid, weight) in [("e1", 1.0), ("e2", 2.0), ("e4", 5.0)] {
        let share = shares[uid] as f64 / ROUNDS as f64;
        assert!((share - weight / 8.0).abs() < 0.015, "{uid}: {share}");
    }
    assert!(!shares.contains_key("e3"), "0 is never chosen");
    let nobody = Case::new(Balancing::default(), vec![Workload { capacity: 0, ..at(1, "") }]);
    assert_eq!(nobody.pick(7), Err(Nothing::NoEndpoint));
}

#[test]
fn the_only_endpoint_is_tried_at_its_other_family_too() {
    let both = |number: u8| {
        let mut workload = at(number, "");
        workload.addresses.push(format!("fd00::{number}").parse().unwrap());
        workload
    };
    let mut case = Case::new(Balancing::default(), vec![both(1)]);
    case.wanted.address = "fd00:96::1".parse().unwrap();
    let ip = |text: &str| At::Ip(text.parse().unwrap());
    let picked = |case: &Case| case.pick(0).map(|picked| (picked.at, picked.others, picked.further));
    assert_eq!(picked(&case), Ok((ip("fd00::1"), false, true)));
    case.tried = vec![id("e1")];
    assert_eq!(picked(&case), Ok((ip("10.0.0.1"), false, false)));
    case.tried.push(id("e1"));
    assert_eq!(picked(&case), Err(Nothing::NoEndpoint));
    // Another endpoint comes first, set aside or not.
    (case.workloads, case.tried, case.aside) = (vec![both(1), both(2)], vec![id("e1")], [id("e2")].into());
    assert_eq!(picked(&case), Ok((ip("fd00::2"), false, true)));
    case.tried.push(id("e2"));
    case.aside.clear();
    case.only(&["e1", "e2"]);
    assert_eq!(picked(&case).map(|(at, ..)| matches!(at, At::Ip(ip) if ip.is_ipv4())), Ok(true));
    // What the service does not offer is no way.
    case.tried = vec![id("e1"), id("e2")];
    case.service.families = IpFamilies::Ipv6Only;
    assert_eq!(picked(&case), Err(Nothing::NoEndpoint));
}

#[test]
fn what_is_not_eligible_is_not_chosen() {
    let sick = || Workload { healthy: false, ..at(1, "") };
    let case = |balancing| Case::new(balancing, vec![sick(), at(2, "")]);
    case(Balancing::default()).only(&["e2"]);
    case(Balancing { accept_unhealthy: true, ..Balancing::default() }).only(&["e1", "e2"]);
    let mut case = Case::new(Balancing::default(), vec![at(1, ""), at(2, ""), at(3, "")]);
    case.tried = vec![id("e1")];
    case.only(&["e2", "e3"]);
    // Set aside: only when there is no other.
    case.aside = [id("e2")].into();
    case.only(&["e3"]);
    case.aside.insert(id("e3"));
    case.only(&["e2", "e3"]);
    assert!(case.pick(0).unwrap().others);
    case.tried.extend([id("e2")]);
    assert!(!case.pick(0).unwrap().others);
    case.tried.extend([id("e3")]);
    assert_eq!(case.pick(0), Err(Nothing::NoEndpoint));
    // What another port of it did is another matter.
    case.tried = vec![EndpointId { uid: "e1".into(), port: 9 }];
    case.aside = HashSet::new();
    case.only(&["e1", "e2", "e3"]);
}

#[test]
fn what_is_preferred_is_ranked_scope_by_scope() {
    let scopes = [Scope::Region, Scope::Zone, Scope::Node];
    let all = || vec![at(1, "r1/z1/n1"), at(2, "r1/z1/n2"), at(3, "r1/z2/n1"), at(4, "r2/z1/n1")];
    let failover = |keep: &[u8]| {
        let workloads = all().into_iter().filter(|w| keep.iter().any(|n| *w.uid == *format!("e{n}"))).collect();
        Case::new(near(Mode::Failover, &scopes), workloads)
    };
    failover(&[1, 2, 3, 4]).only(&["e1"]);
    failover(&[2, 3, 4]).only(&["e2"]);
    // The same zone and node of another region are another zone and node.
    failover(&[3, 4]).only(&["e3"]);
    failover(&[4]).only(&["e4"]);
    let strict = |scopes: &[Scope]| Case::new(near(Mode::Strict, scopes), all());
    strict(&scopes).only(&["e1"]);
    strict(&[Scope::Node]).only(&["e1", "e3", "e4"]);
    let mut elsewhere = strict(&[Scope::Node]);
    elsewhere.caller.node = "n9".into();
    assert_eq!(elsewhere.pick(1), Err(Nothing::NoEndpoint));
    // A nearer one that is set aside gives way to one further off, and strictly to nobody.
    let mut aside = failover(&[1, 4]);
    aside.aside = [id("e1")].into();
    aside.only(&["e4"]);
    let mut aside = strict(&scopes);
    aside.aside = [id("e1")].into();
    aside.only(&["e1"]);
    // Two empty values are equal.
    let mut empty = Case::new(near(Mode::Strict, &[Scope::Subzone]), vec![at(1, "x")]);
    empty.caller = Workload::default().into();
    empty.only(&["e1"]);
}

#[test]
fn a_network_outranks_whatever_comes_after_it() {
    let gateway = GatewayAddress {
        destination: GatewayDestination::Address { network: "far".into(), ip: "1.2.3.4".parse().unwrap() },
        port: 15008,
    };
    let far =
        |number, place| Workload { network: "far".into(), network_gateway: Some(gateway.clone()), ..at(number, place) };
    let scopes = [Scope::Network, Scope::Region, Scope::Zone];
    let rank = |workload: &Workload, scopes: &[Scope]| {
        let case = Case::new(near(Mode::Failover, scopes), Vec::new());
        let caller = Caller { network: "", workload: Some(&case.caller), client: case.client };
        let avoid = Avoid { tried: &[], aside: &HashSet::new() };
        Choice { service: &case.service, caller: &caller, wanted: &case.wanted, avoid: &avoid }
            .rank(&workload.clone().into())
    };
    for (workload, expect) in [
        (at(1, "r1/z1"), (3, 5)),
        (at(1, "r1/z2"), (2, 4)),
        (at(1, "r2/z1"), (1, 3)),
        // Off the network the count goes on, and never reaches the worst that is on it.
        (far(1, "r1/z1"), (2, 2)),
        (far(1, "r1/z2"), (1, 1)),
        (far(1, "r2/z1"), (0, 0)),
    ] {
        assert_eq!(rank(&workload, &scopes), expect, "{workload:?}");
    }
    // Second it is a scope like another.
    assert_eq!(rank(&far(1, "r1/z1"), &[Scope::Region, Scope::Network, Scope::Zone]), (1, 1));
    // Behind a gateway only when nobody is here, whatever was preferred.
    let mut case = Case::new(Balancing::default(), vec![far(1, "r1/z1/n1"), at(2, "r9")]);
    case.only(&["e2"]);
    case.tried = vec![id("e2")];
    assert_eq!(case.pick(0).unwrap().at, At::Gateway);
    let lost = Workload { network_gateway: None, ..far(1, "") };
    assert_eq!(Case::new(Balancing::default(), vec![lost]).pick(0), Err(Nothing::NoEndpoint));
}

#[test]
fn a_client_keeps_to_its_endpoint() {
    let affinity = Balancing {
        affinity: Some(Affinity { timeout: std::time::Duration::from_secs(10_800) }),
        ..Balancing::default()
    };
    let mut case = Case::new(affinity, (1..=5).map(|n| at(n, "")).collect());
    let clients: Vec<IpAddr> = (0..2000u32).map(|n| IpAddr::from((0x0a01_0000 + n).to_be_bytes())).collect();
    let choices = |case: &mut Case| {
        let pick = |client: &IpAddr| {
            case.client = *client;
            let picked = case.picks([1, 99, u64::MAX]);
            assert!(picked.iter().all(|one| *one == picked[0]), "chance has no part in it");
            picked[0].as_ref().unwrap().workload.uid.to_string()
        };
        clients.iter().map(pick).collect::<Vec<_>>()
    };
    let before = choices(&mut case);
    for uid in ["e1", "e2", "e3", "e4", "e5"] {
        let share = before.iter().filter(|of| *of == uid).count();
        assert!((330..=470).contains(&share), "{uid} has {share} of 2000");
    }
    // One that goes takes only its own clients along, and they spread.
    case.workloads.retain(|w| *w.uid != *"e3");
    let after = choices(&mut case);
    let moved: Vec<_> = before.iter().zip(&after).filter(|(a, b)| a != b).collect();
    assert!(moved.iter().all(|(was, _)| *was == "e3") && moved.len() == before.iter().filter(|of| *of == "e3").count());
    assert!(["e1", "e2", "e4", "e5"].iter().all(|uid| moved.iter().any(|(_, now)| now == uid)));
    // Weights count here too.
    case.workloads.iter_mut().filter(|w| *w.uid == *"e1").for_each(|w| w.capacity = 5);
    let heavy = choices(&mut case).iter().filter(|of| *of == "e1").count() as f64 / 2000.0;
    assert!((heavy - 5.0 / 8.0).abs() < 0.05, "{heavy}");
}

#[test]
fn ports_are_the_endpoints_own_then_the_services() {
    let own = |ports: &[(u16, u16)]| Workload {
        services: vec![ServiceMembership { service: key(), ports: ports.to_vec() }],
        ..at(1, "")
    };
    let tunnelled = |ports: &[(u16, u16)], port| Workload {
        application_tunnel: Some(ApplicationTunnel { proxy: true, port }),
        ..own(ports)
    };
    for (workload, port, waypoint, expect) in [
        (own(&[]), 80, false, Ok(8080)),
        (own(&[(80, 9090)]), 80, false, Ok(9090)),
        (own(&[(80, 0)]), 80, false, Ok(8080)),
        // A named port: only endpoints that have it.
        (own(&[(81, 7070)]), 81, false, Ok(7070)),
        (own(&[]), 81, false, Err(Nothing::NoEndpoint)),
        (tunnelled(&[], 15088), 81, false, Ok(81)),
        (tunnelled(&[], 0), 81, false, Err(Nothing::NoEndpoint)),
        // What the service does not list is there for a waypoint behind a node proxy alone.
        (own(&[(82, 82)]), 82, false, Err(Nothing::NoPort)),
        (tunnelled(&[], 15088), 82, false, Err(Nothing::NoPort)),
        (own(&[]), 15008, true, Err(Nothing::NoPort)),
        (tunnelled(&[], 15088), 15008, true, Ok(15008)),
    ] {
        let mut case = Case::new(Balancing::default(), vec![workload.clone()]);
        (case.wanted.port, case.wanted.waypoint) = (port, waypoint);
        assert_eq!(case.pick(5).map(|picked| picked.port), expect, "{port} of {workload:?}");
    }
}

#[test]
fn an_endpoint_is_called_in_the_callers_family() {
    let dual = || Workload { addresses: ["10.0.0.1", "fd00::1"].map(|ip| ip.parse().unwrap()).into(), ..at(1, "") };
    let v6 = || Workload { addresses: vec!["fd00::1".parse().unwrap()], ..at(1, "") };
    let named = || Workload { addresses: Vec::new(), hostname: "x.test".into(), ..at(1, "") };
    let ip = |text: &str| Some(At::Ip(text.parse().unwrap()));
    for (workload, families, called, expect) in [
        (dual(), IpFamilies::Automatic, "10.96.0.1", ip("10.0.0.1")),
        (dual(), IpFamilies::Automatic, "fd96::1", ip("fd00::1")),
        (dual(), IpFamilies::Ipv6Only, "10.96.0.1", ip("fd00::1")),
        (dual(), IpFamilies::Ipv4Only, "fd96::1", ip("10.0.0.1")),
        // Its own address is meant as it stands.
        (dual(), IpFamilies::Ipv4Only, "fd00::1", ip("fd00::1")),
        (v6(), IpFamilies::Dual, "10.96.0.1", ip("fd00::1")),
        (v6(), IpFamilies::Ipv4Only, "10.96.0.1", None),
        (named(), IpFamilies::Ipv4Only, "10.96.0.1", Some(At::Name("x.test".into()))),
        (Workload { addresses: Vec::new(), ..at(1, "") }, IpFamilies::Dual, "10.96.0.1", None),
    ] {
        assert_eq!(address(&workload.into(), families, called.parse().unwrap(), ""), expect, "{called} {families:?}");
    }
}
