use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ipnet::IpNet;
use proptest::prelude::*;

use super::*;
use crate::authz::{Request, evaluate};
use crate::control::lint::rules::unreachable;
use crate::mesh::Applicable;
use crate::model::name::NamespacedName;
use crate::model::policy::{Action, Policy, Scope};
use crate::model::schedule::WEEK;
use crate::model::spiffe::Identity;
use crate::model::timezone::Zone;

/// Every word is a part of another, so that patterns meet.
fn word() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "ab", "ba"]).prop_map(str::to_owned)
}

fn peer() -> impl Strategy<Value = Identity> {
    (word(), word(), word()).prop_map(|(td, ns, sa)| Identity::new(td, ns, sa))
}

fn pattern(exact: impl Strategy<Value = String>) -> impl Strategy<Value = StringMatch> {
    (exact, 0..5_u8, 0..12_usize).prop_map(|(text, kind, cut)| {
        let cut = cut.min(text.len());
        match kind {
            0 => StringMatch::Presence,
            1 => StringMatch::Prefix(text[..cut].into()),
            2 => StringMatch::Suffix(text[cut..].into()),
            _ => StringMatch::Exact(text.into()),
        }
    })
}

fn net() -> impl Strategy<Value = IpNet> {
    let nets = ["10.0.0.0/8", "10.0.0.1/32", "10.0.0.3/31", "0.0.0.0/0", "::/0", "fd00::/16", "fd00::1/128"];
    prop::sample::select(nets.to_vec()).prop_map(|text| text.parse().unwrap())
}

fn address() -> impl Strategy<Value = IpAddr> {
    let addresses = ["10.0.0.1", "10.0.0.2", "11.0.0.1", "::ffff:10.0.0.1", "fd00::1", "fd00::2"];
    prop::sample::select(addresses.to_vec()).prop_map(|text| text.parse().unwrap())
}

fn account() -> impl Strategy<Value = ServiceAccountMatch> {
    (word(), word()).prop_map(|(ns, sa)| ServiceAccountMatch { namespace: ns.into(), service_account: sa.into() })
}

/// Mostly absent lists: a match with many fields covers nothing and is covered by little.
fn few<T: std::fmt::Debug + Clone>(entry: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<T>> {
    prop_oneof![5 => Just(Vec::new()), 2 => prop::collection::vec(entry, 1..3)]
}

fn a_match() -> impl Strategy<Value = Match> {
    let principal = || pattern(peer().prop_map(|peer| peer.principal().to_string()));
    let names = (few(pattern(word())), few(pattern(word())), few(principal()), few(principal()));
    let others = (few(account()), few(account()), few(1..4_u16), few(1..4_u16));
    let nets = (few(net()), few(net()), few(net()), few(net()));
    let span = || prop::sample::select(vec![(0, 720), (720, 1440), (540, 1020), (1320, 240)]);
    let span = || span().prop_map(|(from, to)| TimeRange::new(from, to).unwrap());
    let day = || prop::sample::select(WEEK[..3].to_vec());
    let times = (few(span()), few(span()), few(day()), few(day()));
    (names, others, nets, times).prop_map(|(names, others, nets, times)| Match {
        namespaces: names.0,
        not_namespaces: names.1,
        principals: names.2,
        not_principals: names.3,
        service_accounts: others.0,
        not_service_accounts: others.1,
        destination_ports: others.2,
        not_destination_ports: others.3,
        source_ips: nets.0,
        not_source_ips: nets.1,
        destination_ips: nets.2,
        not_destination_ips: nets.3,
        times: times.0,
        not_times: times.1,
        days: times.2,
        not_days: times.3,
    })
}

fn a_group() -> impl Strategy<Value = Group> {
    let clause = prop::collection::vec(a_match(), 0..3).prop_map(|matches| Clause { matches });
    prop::collection::vec(clause, 0..3).prop_map(|clauses| Group { rule: 0, clauses })
}

/// A group that is likely narrower: with one list more, one alternative less, or a clause more.
fn narrower(group: Group) -> impl Strategy<Value = (Group, Group)> {
    (a_match(), any::<prop::sample::Index>(), 0..4_u8).prop_map(move |(with, at, how)| {
        let mut narrow = group.clone();
        match (how, narrow.clauses.is_empty()) {
            (0, _) | (_, true) => narrow.clauses.push(Clause { matches: vec![with] }),
            (1, _) => {
                let clause = at.index(narrow.clauses.len());
                narrow.clauses[clause].matches.truncate(1);
            }
            _ => {
                let clause = at.index(narrow.clauses.len());
                for one in &mut narrow.clauses[clause].matches {
                    one.not_destination_ports.extend(&with.not_destination_ports);
                    one.not_namespaces.extend(with.not_namespaces.iter().cloned());
                    one.not_days.extend(&with.not_days);
                    if one.source_ips.is_empty() {
                        one.source_ips.clone_from(&with.source_ips);
                    }
                    if one.principals.is_empty() {
                        one.principals.clone_from(&with.principals);
                    }
                }
            }
        }
        (group.clone(), narrow)
    })
}

fn pair() -> impl Strategy<Value = (Group, Group)> {
    prop_oneof![(a_group(), a_group()), a_group().prop_flat_map(narrower)]
}

fn policy(action: Action, groups: Vec<Group>) -> Policy {
    Policy::new(NamespacedName::new("ns", "p"), Scope::Namespace, action, groups)
}

fn is_allowed(policies: Vec<Policy>, request: &Request<'_>) -> bool {
    let policies = policies.into_iter().map(|policy| Arc::new(policy.into())).collect();
    evaluate(request, &Applicable { policies, ..Applicable::default() }).is_allow()
}

/// What a request is made of.
fn facts() -> impl Strategy<Value = (Option<Identity>, IpAddr, SocketAddr, SystemTime)> {
    // A week by quarters of an hour.
    let moment = (0..672_u64).prop_map(|quarter| UNIX_EPOCH + Duration::from_secs(quarter * 900));
    let destination = (address(), 1..4_u16).prop_map(|(to, port)| SocketAddr::new(to, port));
    (prop::option::of(peer()), address(), destination, moment)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn who_covers_fires_whenever_the_other_does(
        (wide, narrow) in pair(),
        requests in prop::collection::vec(facts(), 20),
        zone in prop::sample::select(vec![Zone::utc(), Zone::named("Asia/Tokyo"), Zone::named("Not/Known")]),
    ) {
        if group(&wide, &narrow) {
            for (peer, source, destination, now) in requests {
                let request = Request { peer: peer.as_ref(), foreign: false, source, destination, now };
                for (action, fired) in [(Action::Allow, true), (Action::Deny, false)] {
                    let fires = |group: &Group| {
                        let policy = Policy { zone: zone.clone(), ..policy(action, vec![group.clone()]) };
                        is_allowed(vec![policy], &request) == fired
                    };
                    prop_assert!(!fires(&narrow) || fires(&wide), "{wide:?} does not cover {narrow:?}: {request:?}");
                }
            }
        }
    }

    #[test]
    fn without_its_unreachable_rules_a_policy_decides_the_same(
        pairs in prop::collection::vec(pair(), 1..3),
        requests in prop::collection::vec(facts(), 10),
        deny in any::<bool>(),
    ) {
        let groups = pairs.into_iter().flat_map(|(wide, narrow)| [wide, narrow]);
        let groups: Vec<_> = (0..).zip(groups).map(|(rule, group)| Group { rule, ..group }).collect();
        let whole = policy(if deny { Action::Deny } else { Action::Allow }, groups);
        let found = unreachable(&whole);
        let mut rest = whole.clone();
        rest.groups.retain(|group| found.iter().all(|(rule, _)| *rule != group.rule));
        prop_assert!(!rest.groups.is_empty(), "somebody is left to cover: {whole:?}");
        for (peer, source, destination, now) in requests {
            let request = Request { peer: peer.as_ref(), foreign: false, source, destination, now };
            prop_assert_eq!(is_allowed(vec![whole.clone()], &request), is_allowed(vec![rest.clone()], &request));
        }
    }
}

#[test]
fn what_is_seen() {
    let yes = |text: &str| Match { principals: vec![StringMatch::parse(text)], ..Match::default() };
    let port = |port| Match { destination_ports: vec![port], ..Match::default() };
    let all = |clauses: Vec<Vec<Match>>| Group {
        rule: 0,
        clauses: clauses.into_iter().map(|matches| Clause { matches }).collect(),
    };
    let check = |wide: Vec<Vec<Match>>, narrow: Vec<Vec<Match>>, expected: bool| {
        assert_eq!(group(&all(wide.clone()), &all(narrow.clone())), expected, "{wide:?} {narrow:?}");
    };
    check(vec![], vec![], true);
    check(vec![], vec![vec![port(80)]], true);
    check(vec![vec![port(80)]], vec![], false);
    check(vec![vec![port(80)]], vec![vec![yes("a")], vec![port(80)]], true);
    check(vec![vec![yes("*")]], vec![vec![yes("a/ns/b/sa/c")]], true);
    check(vec![vec![yes("a/*")]], vec![vec![yes("a/ns/*")]], true);
    check(vec![vec![yes("a/ns/*")]], vec![vec![yes("a/*")]], false);
    check(vec![vec![yes("a"), yes("b")]], vec![vec![yes("b")]], true);
    check(vec![vec![yes("b")]], vec![vec![yes("a"), yes("b")]], false);
    let but = |no: &str| Match { not_principals: vec![StringMatch::parse(no)], ..Match::default() };
    check(vec![vec![but("a")]], vec![vec![yes("b")]], true);
    check(vec![vec![but("a")]], vec![vec![yes("a")]], false);
    check(vec![vec![but("a")]], vec![vec![but("a*")]], true);
    check(vec![vec![but("a")]], vec![vec![port(80)]], false);
    let from = |text: &str| Match { source_ips: vec![text.parse().unwrap()], ..Match::default() };
    check(vec![vec![from("10.0.0.0/8")]], vec![vec![from("10.1.0.0/16")]], true);
    check(vec![vec![from("0.0.0.0/0")]], vec![vec![from("::/0")]], false);
}
