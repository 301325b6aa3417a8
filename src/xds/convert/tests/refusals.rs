//! What is refused or left out, and the words for it.

use crate::proto::google::Any;
use crate::proto::security::{Address, Authorization, Group, Match, Rules, StringMatch, StringMatchMatchType};
use crate::proto::workload::{self as wire, AddressType, Extension, GatewayAddress, GatewayAddressDestination};
use crate::xds::convert::{Addressed, Decoded, Refused, decode_address, decode_policy, read_address, read_policy};

fn workload(change: impl FnOnce(&mut wire::Workload)) -> Result<Decoded<Addressed>, Refused> {
    let mut message = wire::Workload { uid: "u".into(), ..wire::Workload::default() };
    change(&mut message);
    decode_address("u", wire::Address { r#type: Some(AddressType::Workload(message)) })
}

fn service(change: impl FnOnce(&mut wire::Service)) -> Result<Decoded<Addressed>, Refused> {
    let mut message = wire::Service { namespace: "n".into(), hostname: "h".into(), ..wire::Service::default() };
    change(&mut message);
    decode_address("n/h", wire::Address { r#type: Some(AddressType::Service(message)) })
}

fn policy(change: impl FnOnce(&mut Authorization)) -> Result<Decoded<crate::model::policy::Policy>, Refused> {
    let mut message = Authorization { name: "p".into(), namespace: "n".into(), ..Authorization::default() };
    change(&mut message);
    decode_policy("n/p", message)
}

#[track_caller]
fn refused<T: std::fmt::Debug>(found: Result<T, Refused>, words: &str) {
    assert_eq!(found.expect_err("it is refused").to_string(), words);
}

fn gateway(address: &[u8], length: Option<u32>, port: u32) -> GatewayAddress {
    let address = wire::NetworkAddress { address: address.to_vec(), length, ..wire::NetworkAddress::default() };
    GatewayAddress { destination: Some(GatewayAddressDestination::Address(address)), hbone_mtls_port: port }
}

#[test]
fn workloads() {
    let check = |change: &dyn Fn(&mut wire::Workload), words: &str| {
        refused(workload(|message| change(message)), &format!("u: workload.{words}"));
    };
    check(&|m| m.uid.clear(), "uid is \"\": a workload has a uid");
    check(
        &|m| m.addresses = vec![vec![0; 4], vec![1, 2, 3]],
        "addresses[1] is [1, 2, 3]: an address has 4 or 16 bytes",
    );
    check(&|m| m.tunnel_protocol = 2, "tunnel_protocol is 2: 0 (none) and 1 (HBONE) are spoken here");
    check(&|m| m.network_mode = 9, "network_mode is 9: 0 (standard) and 1 (host network) are known");
    check(
        &|m| m.application_tunnel = Some(wire::ApplicationTunnel { protocol: 2, port: 0 }),
        "application_tunnel.protocol is 2: 0 (none) and 1 (PROXY) are known",
    );
    check(
        &|m| m.application_tunnel = Some(wire::ApplicationTunnel { protocol: 0, port: 65536 }),
        "application_tunnel.port is 65536: a port is at most 65535",
    );
    check(
        &|m| m.authorization_policies = vec!["n/p".into(), "p".into()],
        "authorization_policies[1] is \"p\": a reference reads <namespace>/<name>",
    );
    check(
        &|m| _ = m.services.insert("h".into(), wire::PortList::default()),
        "services[\"h\"] is \"h\": a reference reads <namespace>/<name>",
    );
    let port = wire::Port { service_port: 80, target_port: 99999, app_protocol: 0 };
    check(
        &|m| _ = m.services.insert("n/h".into(), wire::PortList { ports: vec![port.clone()] }),
        "services[\"n/h\"].ports[0].target_port is 99999: a port is at most 65535",
    );
    check(
        &|m| m.waypoint = Some(GatewayAddress::default()),
        "waypoint.destination is \"\": a gateway is a host or an address of a kind that is known",
    );
    check(
        &|m| m.waypoint = Some(gateway(&[10, 0, 0, 0], Some(8), 15008)),
        "waypoint.address is 10.0.0.0/8: a gateway has one address",
    );
    check(
        &|m| m.network_gateway = Some(gateway(&[10], None, 15008)),
        "network_gateway.address.address is [10]: an address has 4 or 16 bytes",
    );
    check(
        &|m| m.network_gateway = Some(gateway(&[10, 0, 0, 1], None, 70000)),
        "network_gateway.hbone_mtls_port is 70000: a port is at most 65535",
    );
    refused(decode_address("x", wire::Address::default()), "x: type is \"\": an address is a workload or a service");
}

#[test]
fn services() {
    let check = |change: &dyn Fn(&mut wire::Service), words: &str| {
        refused(service(|message| change(message)), &format!("n/h: service.{words}"));
    };
    check(&|m| m.hostname.clear(), "hostname is \"\": it is a part of the service's key, <namespace>/<hostname>");
    check(
        &|m| m.namespace = "a/b".into(),
        "namespace is \"a/b\": it is a part of the service's key, <namespace>/<hostname>",
    );
    let address =
        |length| wire::NetworkAddress { address: vec![10, 0, 0, 0], length, ..wire::NetworkAddress::default() };
    check(&|m| m.addresses = vec![address(Some(33))], "addresses[0].length is 33: a prefix is at most 32 or 128 bits");
    check(
        &|m| m.ports = vec![wire::Port { service_port: 65536, ..wire::Port::default() }],
        "ports[0].service_port is 65536: a port is at most 65535",
    );
    check(
        &|m| m.weighted_waypoints = vec![wire::WeightedWaypoint::default()],
        "weighted_waypoints[0].destination.destination is \"\": a gateway is a host or an address of a kind that is known",
    );
    let balancing = |mode, scope| {
        Some(wire::LoadBalancing { mode, routing_preference: vec![scope], ..wire::LoadBalancing::default() })
    };
    check(&|m| m.load_balancing = balancing(4, 1), "load_balancing.mode is 4: modes 0 to 3 are known");
    check(
        &|m| m.load_balancing = balancing(1, 0),
        "load_balancing.routing_preference[0] is 0: scopes 1 to 6 are known",
    );
    check(&|m| m.ip_families = 4, "ip_families is 4: 0 to 3 are known");
    check(&|m| m.visibility = -1, "visibility is -1: 0 (public) and 1 (namespace) are known");
}

/// Numbers that a newer control plane may send. Also where a careful reading would be at hand: what the sender meant is not
/// known, and the client keeps what it had.
#[test]
fn numbers_without_a_meaning() {
    let of_workload = |change: &dyn Fn(&mut wire::Workload), words: &str| {
        refused(workload(|message| change(message)), &format!("u: workload.{words}"));
    };
    of_workload(&|m| m.status = 7, "status is 7: 0 (healthy) and 1 (unhealthy) are known");
    of_workload(&|m| m.workload_type = 7, "workload_type is 7: 0 to 3 are known");
    let port = || wire::Port { service_port: 80, target_port: 80, app_protocol: 77 };
    let list = || [("n/h".to_owned(), wire::PortList { ports: vec![port()] })].into();
    of_workload(&|m| m.services = list(), "services[\"n/h\"].ports[0].app_protocol is 77: 0 to 5 are known");
    let of_service = |change: &dyn Fn(&mut wire::Service), words: &str| {
        refused(service(|message| change(message)), &format!("n/h: service.{words}"));
    };
    of_service(&|m| m.ports = vec![port()], "ports[0].app_protocol is 77: 0 to 5 are known");
    let balancing = || wire::LoadBalancing { health_policy: 5, ..wire::LoadBalancing::default() };
    of_service(
        &|m| m.load_balancing = Some(balancing()),
        "load_balancing.health_policy is 5: 0 (only healthy) and 1 (all) are known",
    );
}

#[test]
fn what_a_service_does_without() {
    let names = vec!["spiffe://td/ns/n/sa/s".to_owned(), "web.example.com".to_owned()];
    let Decoded { value, left_out } = service(|m| m.subject_alt_names = names).unwrap();
    let Addressed::Service(read) = value else { panic!() };
    assert_eq!(read.subject_alt_names, ["spiffe://td/ns/n/sa/s".parse().unwrap()]);
    let words = "service.subject_alt_names[1] is \"web.example.com\": \
                 only spiffe://<trust domain>/ns/<namespace>/sa/<service account> can be proved here";
    assert_eq!(left_out.to_string(), words);
    let affinity = |value: &[u8]| {
        let config = Any { type_url: "type.culvert.dev/culvert.v1.SessionAffinity".into(), value: value.into() };
        let extension = Extension { name: "affinity".into(), config: Some(config) };
        let Decoded { value, left_out } = service(|m| m.extensions = vec![extension]).unwrap();
        let Addressed::Service(read) = value else { panic!() };
        assert_eq!(read.balancing.affinity, None);
        left_out.to_string()
    };
    assert_eq!(affinity(&[0xff]), "service.extensions[0] is [255]: not a message of its type");
    let billion = [0x10, 0x80, 0x94, 0xeb, 0xdc, 0x03];
    let words = "service.extensions.nanoseconds is 1000000000: the seconds have a field of their own";
    assert_eq!(affinity(&billion), words);
}

#[test]
fn policies() {
    let check = |change: &dyn Fn(&mut Authorization), words: &str| {
        refused(policy(|message| change(message)), &format!("n/p: {words}"));
    };
    check(&|m| m.scope = 3, "scope is 3: scopes 0 to 2 are known");
    check(&|m| m.action = 2, "action is 2: 0 (ALLOW) and 1 (DENY) are known");
    // In the peer's index an empty namespace is the whole mesh.
    check(&|m| m.namespace.clear(), "namespace is \"\": it is a part of the policy's key, <namespace>/<name>");
    check(&|m| m.name = "a/b".into(), "name is \"a/b\": it is a part of the policy's key, <namespace>/<name>");
}

/// A good condition beside a bad one.
fn with(m: Match) -> Vec<Group> {
    let exact = StringMatch { match_type: Some(StringMatchMatchType::Exact("a".into())) };
    let good = Match { namespaces: vec![exact], ..Match::default() };
    let one = |matches| Group { rules: vec![Rules { matches }] };
    vec![one(vec![good.clone()]), one(vec![good, m])]
}

/// Each unreadable element in an ALLOW policy, and in a DENY policy alone and beside another condition.
#[test]
fn elements_that_cannot_be_read() {
    let check = |spoil: &dyn Fn(&mut Match), words: &str, may_go: bool| {
        let mut bad = Match::default();
        spoil(&mut bad);
        let words = format!("groups[1].rules[0].matches[1].{words}");
        let allow = policy(|m| m.groups = with(bad.clone())).unwrap();
        assert_eq!(allow.value.groups.iter().map(|group| group.rule).collect::<Vec<_>>(), [0], "{words}");
        assert_eq!(allow.left_out.to_string(), words);

        let deny = |bad: &Match| policy(|m| (m.action, m.groups) = (1, with(bad.clone())));
        refused(deny(&bad), &format!("n/p: {words}"));
        bad.destination_ports.push(80);
        match deny(&bad) {
            Err(refusal) => assert!(!may_go, "{refusal}"),
            Ok(Decoded { value, left_out }) => {
                assert!(may_go, "{words}");
                assert_eq!(left_out.to_string(), words);
                let kept = crate::model::policy::Match { destination_ports: vec![80], ..Default::default() };
                assert_eq!(value.groups[1].clauses[0].matches[1], kept);
            }
        }
    };
    const STRING: &str = "exact, prefix, suffix and presence are known";
    let string = || vec![StringMatch::default()];
    check(&|m| m.namespaces = string(), &format!("namespaces[0] is \"\": {STRING}"), false);
    check(&|m| m.not_namespaces = string(), &format!("not_namespaces[0] is \"\": {STRING}"), true);
    check(&|m| m.principals = string(), &format!("principals[0] is \"\": {STRING}"), false);
    check(&|m| m.not_principals = string(), &format!("not_principals[0] is \"\": {STRING}"), true);
    let net = || vec![Address { address: vec![1], length: 8 }];
    const NET: &str = "[0].address is [1]: an address has 4 or 16 bytes";
    check(&|m| m.source_ips = net(), &format!("source_ips{NET}"), false);
    check(&|m| m.not_source_ips = net(), &format!("not_source_ips{NET}"), true);
    check(&|m| m.destination_ips = net(), &format!("destination_ips{NET}"), false);
    check(&|m| m.not_destination_ips = net(), &format!("not_destination_ips{NET}"), true);
    let port = "[0] is 65616: a port is at most 65535";
    check(&|m| m.not_destination_ports = vec![65616], &format!("not_destination_ports{port}"), true);
    let foreign = || {
        let config = Any { type_url: "example.com/later".into(), value: Vec::new() };
        vec![Extension { name: String::new(), config: Some(config) }]
    };
    let words = "extensions[0] is \"example.com/later\": this condition is not known";
    check(&|m| m.extensions = foreign(), words, true);
}

/// A port that is none among ports that are: without it the DENY would deny less.
#[test]
fn a_port_that_is_none() {
    let ports = |action| {
        let bad = Match { destination_ports: vec![80, 65616], ..Match::default() };
        policy(|m| (m.action, m.groups) = (action, with(bad)))
    };
    let words = "groups[1].rules[0].matches[1].destination_ports[1] is 65616: a port is at most 65535";
    assert_eq!(ports(0).unwrap().left_out.to_string(), words);
    refused(ports(1), &format!("n/p: {words}"));
}

/// Istio's own DENY rules with nothing but L7 have matches without a field; they never fire here either.
#[test]
fn a_match_without_a_field_stays() {
    let read = policy(|m| (m.action, m.groups) = (1, with(Match::default()))).unwrap();
    assert!(read.left_out.is_empty() && read.value.groups[1].clauses[0].matches[1].is_empty());
}

#[test]
fn bytes_that_are_no_message() {
    let words = "u: failed to decode Protobuf message: Workload.uid: Address.r#type: invalid string value: data is not UTF-8 encoded: not a message of its type";
    let uid_not_utf8 = [0x0a, 4, 0xa2, 1, 1, 0xff];
    refused(read_address("u", &uid_not_utf8), words);
    assert!(read_policy("n/p", &[0x0a, 200]).is_err());
}

/// A sender can make many faults and long values; few are told, and not all of them.
#[test]
fn what_is_told_is_bounded() {
    let names = vec!["é".repeat(1000); 1000];
    let left_out = service(|m| m.subject_alt_names = names).unwrap().left_out;
    assert_eq!((left_out.first.len(), left_out.count), (8, 1000));
    assert!(left_out.first.iter().all(|fault| fault.value.chars().count() == 129 && fault.value.ends_with('…')));
    assert!(left_out.to_string().ends_with("; and 992 more"));
    let refusal = policy(|m| m.scope = 9).unwrap_err();
    let refusal = Refused { resource: "\u{1b}[31m".repeat(1000), ..refusal };
    assert!(!refusal.to_string().contains('\u{1b}') && refusal.to_string().len() < 1200);
}
