//! There and back.

use proptest::prelude::*;
use prost::Message;

use crate::model::name::NamespacedName;
use crate::model::policy::{Action, Group, Policy, Scope};
use crate::model::service::{Affinity, Balancing, Service};
use crate::model::workload::{Locality, ServiceMembership, Workload};
use crate::proto::security::Authorization;
use crate::proto::workload::{self as wire, Address, AddressType};
use crate::xds::convert::{
    Addressed, Decoded, arbitrary, decode_address, decode_policy, encode_policy, encode_service, encode_workload,
};

/// Through bytes, and with nothing left out.
#[track_caller]
fn back(message: &Address) -> Addressed {
    let message = Address::decode(message.encode_to_vec().as_slice()).unwrap();
    let Decoded { value, left_out } = decode_address("a", message).unwrap();
    assert!(left_out.is_empty(), "{left_out}");
    value
}

#[track_caller]
fn policy_back(message: &Authorization) -> Policy {
    let message = Authorization::decode(message.encode_to_vec().as_slice()).unwrap();
    let Decoded { value, left_out } = decode_policy("a", message).unwrap();
    assert!(left_out.is_empty(), "{left_out}");
    value
}

proptest! {
    #[test]
    fn workloads_come_back(workload in arbitrary::workload()) {
        prop_assert_eq!(back(&encode_workload(&workload)), Addressed::Workload(workload));
    }

    #[test]
    fn services_come_back(service in arbitrary::service()) {
        prop_assert_eq!(back(&encode_service(&service)), Addressed::Service(service));
    }

    #[test]
    fn policies_come_back(policy in arbitrary::policy()) {
        prop_assert_eq!(policy_back(&encode_policy(&policy)), policy);
    }

    /// Equal values are equal bytes: a version may be a hash of them.
    #[test]
    fn bytes_are_a_function_of_the_value(workload in arbitrary::workload()) {
        let (mut turned, bytes) = (workload.clone(), encode_workload(&workload).encode_to_vec());
        turned.services.reverse();
        prop_assert_eq!(encode_workload(&turned).encode_to_vec(), bytes);
    }
}

fn inner(workload: &Workload) -> wire::Workload {
    match encode_workload(workload).r#type {
        Some(AddressType::Workload(message)) => message,
        other => panic!("{other:?}"),
    }
}

fn decoded(message: wire::Workload) -> Workload {
    match back(&Address { r#type: Some(AddressType::Workload(message)) }) {
        Addressed::Workload(workload) => workload,
        other @ Addressed::Service(_) => panic!("{other:?}"),
    }
}

fn plain() -> Workload {
    Workload {
        uid: "u".into(),
        trust_domain: "cluster.local".into(),
        service_account: "default".into(),
        cluster: "Kubernetes".into(),
        ..Workload::default()
    }
}

/// Absence has a meaning, which is Istio's.
#[test]
fn what_is_absent() {
    let message = inner(&plain());
    assert_eq!((message.trust_domain.as_str(), &message.capacity, &message.locality), ("", &None, &None));
    assert_eq!(inner(&Workload { capacity: 0, ..plain() }).capacity, Some(0), "never chosen is not the default");
    let zone = Locality { zone: "z".into(), ..Locality::default() };
    assert_eq!(inner(&Workload { locality: zone, ..plain() }).locality.unwrap().zone, "z");
    let empty = wire::Workload { uid: "u".into(), workload_type: 2, ..wire::Workload::default() };
    assert_eq!(decoded(empty), plain());
    let service = Service { namespace: "n".into(), hostname: "h".into(), ..Service::default() };
    let Some(AddressType::Service(message)) = encode_service(&service).r#type else { panic!() };
    assert_eq!((message.load_balancing, message.extensions.len()), (None, 0));
}

/// IPv4 written as IPv6 is the same address.
#[test]
fn addresses_have_one_form() {
    let mapped = "::ffff:10.0.0.1".parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec();
    let message = wire::Workload { uid: "u".into(), addresses: vec![mapped.clone()], ..wire::Workload::default() };
    assert_eq!(decoded(message).addresses, ["10.0.0.1".parse::<std::net::IpAddr>().unwrap()]);
    let address = |length| wire::NetworkAddress { address: mapped.clone(), length, ..wire::NetworkAddress::default() };
    let addresses = vec![address(None), address(Some(104)), address(Some(64))];
    let service = wire::Service { namespace: "n".into(), hostname: "h".into(), addresses, ..wire::Service::default() };
    let Addressed::Service(service) = back(&Address { r#type: Some(AddressType::Service(service)) }) else { panic!() };
    let nets: Vec<_> = service.addresses.iter().map(|address| address.net.to_string()).collect();
    assert_eq!(nets, ["10.0.0.1/32", "10.0.0.1/8", "::ffff:10.0.0.1/64"]);
}

/// A workload that is listed twice under one service has one place there, with the ports of both.
#[test]
fn memberships_of_one_service_are_one() {
    let place = |port| ServiceMembership { service: NamespacedName::new("n", "h"), ports: vec![(port, port)] };
    let workload = Workload { services: vec![place(1), place(2)], ..plain() };
    let expected = ServiceMembership { service: NamespacedName::new("n", "h"), ports: vec![(1, 1), (2, 2)] };
    assert_eq!(decoded(inner(&workload)).services, [expected]);
}

/// Who knows no extension still reads the rest, and sees extensions only where Istio has no field.
#[test]
fn extensions_are_extra() {
    let affinity = Some(Affinity { timeout: std::time::Duration::from_secs(10800) });
    let balancing = Balancing { affinity, ..Balancing::default() };
    let service = Service { namespace: "n".into(), hostname: "h".into(), balancing, ..Service::default() };
    let mut message = encode_service(&service);
    let Some(AddressType::Service(inside)) = &mut message.r#type else { panic!() };
    let url = inside.extensions[0].config.as_ref().unwrap().type_url.as_str();
    assert_eq!(url, "type.culvert.dev/culvert.v1.SessionAffinity");
    assert_eq!(inside.load_balancing, None);
    inside.extensions[0].config.as_mut().unwrap().type_url = "example.com/another".into();
    let Addressed::Service(read) = back(&message) else { panic!() };
    assert_eq!(read, Service { balancing: Balancing::default(), ..service });
}

/// A refusal names the rule as it was written, also when rules before it have no group any more, or several.
#[test]
fn groups_keep_the_number_of_their_rule() {
    let policy = |rules: &[u32]| {
        let groups = rules.iter().map(|rule| Group { rule: *rule, clauses: Vec::new() });
        Policy::new(NamespacedName::new("n", "p"), Scope::Namespace, Action::Deny, groups.collect())
    };
    let check = |rules: &[u32], extensions: usize| {
        let message = encode_policy(&policy(rules));
        assert_eq!(message.extensions.len(), extensions, "{rules:?}");
        assert_eq!(policy_back(&message), policy(rules));
    };
    check(&[], 0);
    check(&[0, 1, 2], 0);
    check(&[2], 1);
    check(&[0, 1, 1, 3], 1);
    let mut message = encode_policy(&policy(&[4, 4]));
    message.groups.pop();
    let Decoded { value, left_out } = decode_policy("n/p", message).unwrap();
    assert_eq!((value.groups[0].rule, left_out.count), (0, 1), "numbers that do not fit are not guessed");
}
