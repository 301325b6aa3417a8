use super::*;
use crate::mesh::{self, State};

fn workload(name: &str, address: &str, tunnel: Tunnel) -> Workload {
    Workload {
        uid: format!("Kubernetes//Pod/shop/{name}").into(),
        name: name.into(),
        namespace: "shop".into(),
        service_account: name.into(),
        trust_domain: "cluster.local".into(),
        addresses: vec![address.parse().unwrap()],
        node: "a".into(),
        tunnel,
        owner: name.into(),
        canonical_name: name.into(),
        canonical_revision: "latest".into(),
        ..Workload::default()
    }
}

const OWN: &str = "10.0.0.7";

/// The road of a plain connection. `same_node`: the destination's pod is enrolled here.
#[track_caller]
fn check(destination: &str, same_node: bool, expect: &str) {
    check_from(OWN, destination, same_node.then_some("meshed"), expect);
}

/// The road in words, so that a table of them can be read.
#[track_caller]
fn check_from(client: &str, destination: &str, neighbour: Option<&str>, expect: &str) {
    let (mut writer, reader) = mesh::channel();
    writer.replace(State {
        workloads: vec![
            workload("meshed", "10.0.0.1", Tunnel::Hbone),
            workload("meshed6", "fd00::1", Tunnel::Hbone),
            workload("plain", "10.0.0.2", Tunnel::None),
        ],
        ..State::default()
    });
    let neighbour = neighbour.map(|account| Identity::new("cluster.local", "shop", account));
    let own = [OWN.parse().unwrap()];
    let facts = Facts {
        network: "",
        client: client.parse().unwrap(),
        destination: destination.parse().unwrap(),
        listener: "127.0.0.1:15001".parse().unwrap(),
        neighbour: neighbour.as_ref(),
        own: &own,
    };
    let road = match outbound(&facts, &reader.view()) {
        Route::Direct { workload } => format!("direct {}", workload.name),
        Route::Express { workload } => format!("express {}", workload.name),
        Route::Hbone(Hbone { hop, authority, expected, workload }) => {
            let expected: Vec<_> = expected.iter().map(ToString::to_string).collect();
            format!("hbone {} {hop} {authority} {}", workload.name, expected.join(","))
        }
        Route::Passthrough => "passthrough".into(),
        Route::Refuse(Refusal::Loop) => "loop".into(),
    };
    assert_eq!(road, expect, "{client} to {destination}, here {neighbour:?}");
}

#[test]
fn every_kind_of_destination_has_its_road() {
    let meshed = "hbone meshed 10.0.0.1:15008 10.0.0.1:80 spiffe://cluster.local/ns/shop/sa/meshed";
    check("10.0.0.1:80", false, meshed);
    let meshed6 = "hbone meshed6 [fd00::1]:15008 [fd00::1]:80 spiffe://cluster.local/ns/shop/sa/meshed6";
    check("[fd00::1]:80", false, meshed6);
    check("10.0.0.1:80", true, "express meshed");
    check("10.0.0.2:80", false, "direct plain");
    check("10.0.0.9:443", false, "passthrough");
    check("127.0.0.1:80", false, "passthrough");
}

#[test]
fn our_own_listeners_are_never_called() {
    for port in [15001, 15006, 15008] {
        check(&format!("10.0.0.1:{port}"), false, "loop");
        check(&format!("10.0.0.1:{port}"), true, "loop");
        check(&format!("127.0.0.1:{port}"), false, "loop");
        // The same number on a host outside of the mesh is somebody else's.
        check(&format!("10.0.0.2:{port}"), false, "direct plain");
        check(&format!("10.0.0.9:{port}"), false, "passthrough");
    }
}

#[test]
fn the_lane_is_only_for_whom_the_tunnel_would_be_the_same() {
    let tunnel = "hbone meshed 10.0.0.1:15008 10.0.0.1:80 spiffe://cluster.local/ns/shop/sa/meshed";
    check_from(OWN, "10.0.0.1:80", Some("meshed"), "express meshed");
    // A pod that had the address before: its identity is not the one that the mesh names.
    check_from(OWN, "10.0.0.1:80", Some("predecessor"), tunnel);
    // Bound by the application to show the destination an address that is not its pod's.
    check_from("127.0.0.1", "10.0.0.1:80", Some("meshed"), tunnel);
    check_from("10.0.0.99", "10.0.0.1:80", Some("meshed"), tunnel);
}

#[test]
fn a_connection_that_nobody_redirected_is_not_dialled_again() {
    let (_writer, reader) = mesh::channel();
    for (listener, expect) in [
        // An address of the namespace that the mesh knows nothing of.
        ("192.168.9.1:15001", Route::Refuse(Refusal::Loop)),
        ("127.0.0.1:15001", Route::Passthrough),
    ] {
        let facts = Facts {
            network: "",
            client: OWN.parse().unwrap(),
            destination: "192.168.9.1:15001".parse().unwrap(),
            listener: listener.parse().unwrap(),
            neighbour: None,
            own: &[],
        };
        assert_eq!(outbound(&facts, &reader.view()), expect, "{listener}");
    }
}

#[test]
fn another_network_is_another_mesh() {
    let (mut writer, reader) = mesh::channel();
    writer.replace(State { workloads: vec![workload("meshed", "10.0.0.1", Tunnel::Hbone)], ..State::default() });
    let facts = Facts {
        network: "other",
        client: OWN.parse().unwrap(),
        destination: "10.0.0.1:80".parse().unwrap(),
        listener: "127.0.0.1:15001".parse().unwrap(),
        neighbour: None,
        own: &[],
    };
    assert_eq!(outbound(&facts, &reader.view()), Route::Passthrough);
}
