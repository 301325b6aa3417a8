//! No bytes make decoding panic, and no element that cannot be read makes a policy allow more.

use std::cell::Cell;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use prost::Message;

use crate::proto::security::{Address, Authorization, Group, Match, Rules, StringMatch, StringMatchMatchType};
use crate::proto::workload::Extension;
use crate::xds::convert::{
    Addressed, arbitrary, decode_address, decode_policy, encode_policy, encode_service, encode_workload, read_address,
    read_policy,
};

/// What is taken of any bytes comes back from its own encoding: nothing was taken that cannot be said.
fn taken(bytes: &[u8]) {
    if let Ok(decoded) = read_address("a", bytes) {
        let again = match &decoded.value {
            Addressed::Service(service) => encode_service(service),
            Addressed::Workload(workload) => encode_workload(workload),
        };
        assert_eq!(decode_address("a", again).unwrap().value, decoded.value);
    }
    if let Ok(decoded) = read_policy("a", bytes) {
        assert_eq!(decode_policy("a", encode_policy(&decoded.value)).unwrap().value, decoded.value);
    }
}

/// Some bytes put in the place of others.
fn spoilt(mut bytes: Vec<u8>, edits: &[(prop::sample::Index, u8)], cut: usize) -> Vec<u8> {
    for (place, byte) in edits {
        if !bytes.is_empty() {
            let place = place.index(bytes.len());
            bytes[place] = *byte;
        }
    }
    bytes.truncate(bytes.len().saturating_sub(cut));
    bytes
}

proptest! {
    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..200)) {
        taken(&bytes);
    }

    #[test]
    fn spoilt_workloads(
        value in arbitrary::workload(), edits in vec(any::<(prop::sample::Index, u8)>(), 0..6), cut in 0_usize..3,
    ) {
        taken(&spoilt(encode_workload(&value).encode_to_vec(), &edits, cut));
    }

    #[test]
    fn spoilt_services(
        value in arbitrary::service(), edits in vec(any::<(prop::sample::Index, u8)>(), 0..6), cut in 0_usize..3,
    ) {
        taken(&spoilt(encode_service(&value).encode_to_vec(), &edits, cut));
    }

    #[test]
    fn spoilt_policies(
        value in arbitrary::policy(), edits in vec(any::<(prop::sample::Index, u8)>(), 0..6), cut in 0_usize..3,
    ) {
        taken(&spoilt(encode_policy(&value).encode_to_vec(), &edits, cut));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// Whatever the unreadable elements may have meant (`truths` says, one after another).
    #[test]
    fn the_unreadable_never_allows(policy in policy(), truths in any::<u64>()) {
        let readable = policy.groups.iter().flat_map(|g| &g.rules).flat_map(|r| &r.matches).all(is_readable);
        let decoded = decode_policy("n/p", policy.clone());
        if readable {
            prop_assert_eq!(&encode_policy(&decoded.clone().unwrap().value), &policy, "nothing is lost");
        }
        let Ok(decoded) = decoded else {
            prop_assert!(policy.action == DENY && !readable, "an ALLOW policy is narrowed instead");
            return Ok(());
        };
        prop_assert_eq!(decoded.left_out.is_empty(), readable);
        let taken = encode_policy(&decoded.value);
        for (namespace, port) in [("a", 80), ("a", 81), ("b", 80), ("b", 81)] {
            let meant = fires(&policy, namespace, port, truths);
            let found = fires(&taken, namespace, port, 0);
            if policy.action == DENY {
                prop_assert!(found || !meant, "{namespace} {port} was denied");
            } else {
                prop_assert!(meant || !found, "{namespace} {port} was not allowed");
            }
        }
    }
}

const DENY: i32 = 1;

/// Policies over two namespaces and two ports, some elements of which nobody can read.
fn policy() -> impl Strategy<Value = Authorization> {
    let string = || {
        let exact = |text: &str| Some(StringMatchMatchType::Exact(text.into()));
        few(select(vec![exact("a"), exact("b"), None]).prop_map(|match_type| StringMatch { match_type }))
    };
    let net = || {
        let any = Address { address: vec![0; 4], length: 0 };
        let none = Address { address: vec![192, 0, 2, 1], length: 32 };
        let bad = [Address { address: vec![10; 3], length: 8 }, Address { address: vec![10; 4], length: 33 }];
        few(select([vec![any, none], bad.to_vec()].concat()))
    };
    let port = || few(select(vec![80_u32, 81, 65536 + 80]));
    let foreign = Extension { name: "another".into(), config: None };
    let extensions = prop_oneof![9 => Just(Vec::new()), 1 => Just(vec![foreign])];
    let matches = ([string(), string()], [net(), net()], [port(), port()], extensions).prop_map(
        |([namespaces, not_namespaces], [source_ips, not_source_ips], [to, not_to], extensions)| Match {
            namespaces,
            not_namespaces,
            source_ips,
            not_source_ips,
            destination_ports: to,
            not_destination_ports: not_to,
            extensions,
            ..Match::default()
        },
    );
    let rules = vec(matches, 0..3).prop_map(|matches| Rules { matches });
    let group = vec(rules, 0..3).prop_map(|rules| Group { rules });
    (vec(group, 0..3), 0..=DENY).prop_map(|(groups, action)| Authorization {
        name: "p".into(),
        namespace: "n".into(),
        action,
        groups,
        ..Authorization::default()
    })
}

/// Most lists of a match are empty; some have several elements.
fn few<T: std::fmt::Debug + Clone + 'static>(
    element: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Vec<T>> {
    prop_oneof![3 => Just(Vec::new()), 1 => vec(element, 1..3)]
}

fn string(m: &StringMatch, namespace: &str) -> Option<bool> {
    m.match_type.as_ref().map(|m| *m == StringMatchMatchType::Exact(namespace.into()))
}

fn net(m: &Address) -> Option<bool> {
    (m.address.len() == 4 && m.length <= 32).then_some(m.length == 0)
}

fn port(wanted: u32, port: u32) -> Option<bool> {
    (wanted < 65536).then_some(wanted == port)
}

fn is_readable(m: &Match) -> bool {
    let strings = m.namespaces.iter().chain(&m.not_namespaces).all(|s| string(s, "").is_some());
    let nets = m.source_ips.iter().chain(&m.not_source_ips).all(|n| net(n).is_some());
    let ports = m.destination_ports.iter().chain(&m.not_destination_ports).all(|p| port(*p, 0).is_some());
    strings && nets && ports && m.extensions.is_empty()
}

/// A plain reading of the rules in `security.proto`.
fn fires(policy: &Authorization, namespace: &str, to: u32, truths: u64) -> bool {
    let left = Cell::new(truths);
    let guess = || {
        let bit = left.get() & 1 == 1;
        left.set(left.get().rotate_right(1));
        bit
    };
    // Every element is asked, so that the same one has the same truth whatever the others say.
    let any = |list: Vec<Option<bool>>| list.into_iter().filter(|e| e.unwrap_or_else(guess)).count() > 0;
    let matches = |m: &Match| {
        let strings = |list: &[StringMatch]| any(list.iter().map(|s| string(s, namespace)).collect());
        let nets = |list: &[Address]| any(list.iter().map(net).collect());
        let ports = |list: &[u32]| any(list.iter().map(|p| port(*p, to)).collect());
        let holds = [
            m.namespaces.is_empty() | strings(&m.namespaces),
            !strings(&m.not_namespaces),
            m.source_ips.is_empty() | nets(&m.source_ips),
            !nets(&m.not_source_ips),
            m.destination_ports.is_empty() | ports(&m.destination_ports),
            !ports(&m.not_destination_ports),
            m.extensions.is_empty() || guess(),
        ];
        *m != Match::default() && holds.iter().all(|holds| *holds)
    };
    let clause = |r: &Rules| r.matches.is_empty() || r.matches.iter().any(matches);
    policy.groups.iter().any(|group| group.rules.iter().all(clause))
}
