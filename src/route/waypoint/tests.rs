use std::collections::HashSet;

use super::*;
use crate::mesh::{self, State};
use crate::model::name::NamespacedName;
use crate::model::workload::Workload;

fn at(ip: &str) -> GatewayAddress {
    let destination = GatewayDestination::Address { network: "".into(), ip: ip.parse().unwrap() };
    GatewayAddress { destination, port: 15008 }
}

#[test]
fn several_waypoints_share_by_weight() {
    let service = |weights: &[u32], waypoint| Service {
        weighted_waypoints: weights
            .iter()
            .zip(["10.0.0.1", "10.0.0.2"])
            .map(|(weight, ip)| (at(ip), *weight))
            .collect(),
        waypoint,
        ..Service::default()
    };
    for (weights, expect) in [([1, 3].as_slice(), 0.25), (&[0, 100], 0.0), (&[100, 0], 1.0)] {
        let service = service(weights, Some(at("10.0.0.9")));
        let rounds = 10_000u64;
        let chosen = (0..rounds).filter(|n| choose(&service, hash::mix(*n)) == Some(&at("10.0.0.1"))).count();
        assert!((chosen as f64 / rounds as f64 - expect).abs() < 0.02, "{weights:?}: {chosen}");
        assert!((0..rounds).all(|n| choose(&service, hash::mix(n)) != Some(&at("10.0.0.9"))), "{weights:?}");
    }
    // Without any weight the single one counts, or none.
    for weights in [[].as_slice(), &[0, 0]] {
        assert_eq!(choose(&service(weights, Some(at("10.0.0.9"))), 5), Some(&at("10.0.0.9")));
        assert_eq!(choose(&service(weights, None), 5), None);
    }
}

#[test]
fn a_reference_by_name_is_a_service_or_else_a_workload() {
    let (mut writer, reader) = mesh::channel();
    let gate = Workload {
        uid: "g".into(),
        namespace: "shop".into(),
        hostname: "gate.example".into(),
        addresses: ["10.0.0.5", "fd00::5"].map(|ip| ip.parse().unwrap()).into(),
        ..Workload::default()
    };
    writer.replace(State { workloads: vec![gate], ..State::default() });
    let view = reader.view();
    let caller = Caller { network: "", workload: None, client: "10.0.0.7".parse().unwrap() };
    let (tried, aside) = (vec![super::super::balance::EndpointId { uid: "g".into(), port: 15008 }], HashSet::new());
    let named = |namespace: &str| GatewayAddress {
        destination: GatewayDestination::Hostname(NamespacedName::new(namespace, "gate.example")),
        port: 15008,
    };
    let resolve = |waypoint: &GatewayAddress, called: &str, tried: &[_]| {
        let found = resolve(
            waypoint,
            Purpose::Waypoint,
            &view,
            &caller,
            called.parse().unwrap(),
            &Avoid { tried, aside: &aside },
            0,
        );
        found.map(|found| found.picked.at)
    };
    use super::super::balance::At::Ip;
    // In the family of what was called, or of the reference where that is an address.
    assert_eq!(resolve(&named("shop"), "10.96.0.1", &[]), Ok(Ip("10.0.0.5".parse().unwrap())));
    assert_eq!(resolve(&named("shop"), "fd96::1", &[]), Ok(Ip("fd00::5".parse().unwrap())));
    assert_eq!(resolve(&at("10.0.0.5"), "fd96::1", &[]), Ok(Ip("10.0.0.5".parse().unwrap())));
    assert_eq!(resolve(&named("other"), "10.96.0.1", &[]), Err(Unresolved::Unknown));
    assert_eq!(resolve(&named("shop"), "10.96.0.1", &tried), Err(Unresolved::Empty));
}
