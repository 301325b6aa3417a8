use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ipnet::IpNet;
use proptest::prelude::*;

use super::matcher::principal_matches;
use super::*;
use crate::mesh::Applicable;
use crate::model::name::NamespacedName;
use crate::model::policy::{Action, Clause, Group, Match, Policy, Scope, ServiceAccountMatch, StringMatch};
use crate::model::schedule::{TimeRange, WEEK};
use crate::model::spiffe::Identity;
use crate::model::timezone::Zone;

mod naive;

pub(super) fn request<'a>(peer: Option<&'a Identity>, source: &str, destination: &str) -> Request<'a> {
    let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
    Request { peer, foreign: false, source, destination, now: monday(12, 0) }
}

/// 5 January 1970 in UTC.
fn monday(hour: u64, minute: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(4 * 86_400 + hour * 3600 + minute * 60)
}

pub(super) fn applicable(policies: Vec<Policy>) -> Applicable {
    Applicable {
        policies: policies.into_iter().map(|policy| Arc::new(policy.into())).collect(),
        ..Applicable::default()
    }
}

pub(super) fn policy(name: &str, action: Action, groups: Vec<Vec<Vec<Match>>>) -> Policy {
    let clauses = |clauses: Vec<Vec<Match>>| clauses.into_iter().map(|matches| Clause { matches }).collect();
    let groups = (0..).zip(groups).map(|(rule, c)| Group { rule, clauses: clauses(c) }).collect();
    Policy::new(NamespacedName::new("ns", name), Scope::Namespace, action, groups)
}

#[track_caller]
fn check_denied(applicable: &Applicable, request: &Request<'_>, reason: Reason, text: &str) {
    match evaluate(request, applicable) {
        Decision::Allow(permit) => panic!("allowed: {permit}"),
        Decision::Deny(denial) => assert_eq!((denial.reason(), denial.to_string().as_str()), (reason, text)),
    }
}

#[test]
fn a_refusal_says_which_policy_rule_and_attribute() {
    let peer = Identity::new("td", "demo", "intruder");
    let wanted = Match {
        principals: ["a", "b", "c", "d"].iter().map(|s| StringMatch::Exact((*s).into())).collect(),
        destination_ports: vec![443],
        ..Match::default()
    };
    let allow = applicable(vec![policy("a", Action::Allow, vec![vec![vec![wanted]]])]);
    let text = "no ALLOW policy admits it: ns/a rule 0 wants principal a or b or c or 1 more, the peer is \
                td/ns/demo/sa/intruder; it wants port 443, the port is 80";
    check_denied(&allow, &request(Some(&peer), "10.0.0.1", "10.0.0.2:80"), Reason::NoneAllowed, text);

    let fired = Match {
        namespaces: vec![StringMatch::Presence],
        not_destination_ports: vec![1],
        source_ips: vec!["10.0.0.0/8".parse().unwrap()],
        ..Match::default()
    };
    let deny = applicable(vec![policy("d", Action::Deny, vec![vec![vec![Match::default(), fired]]])]);
    let text = "denied by ns/d rule 0: the peer's namespace is demo, the source is 10.0.0.1, the port is 80";
    check_denied(&deny, &request(Some(&peer), "::ffff:10.0.0.1", "10.0.0.2:80"), Reason::Denied, text);

    let never = applicable(vec![policy("e", Action::Allow, vec![vec![vec![Match::default()]]])]);
    let text = "no ALLOW policy admits it: ns/e rule 0 never matches";
    check_denied(&never, &request(None, "10.0.0.1", "10.0.0.2:80"), Reason::NoneAllowed, text);
}

#[test]
fn a_peer_without_identity_matches_no_pattern_of_names() {
    let empty = || vec![StringMatch::Exact("".into()), StringMatch::Prefix("".into()), StringMatch::Suffix("".into())];
    for fields in [
        Match { namespaces: empty(), ..Match::default() },
        Match { principals: empty(), ..Match::default() },
        Match { principals: vec![StringMatch::Presence], ..Match::default() },
        Match {
            service_accounts: vec![ServiceAccountMatch { namespace: "".into(), service_account: "".into() }],
            ..Match::default()
        },
    ] {
        let allow = applicable(vec![policy("a", Action::Allow, vec![vec![vec![fields.clone()]]])]);
        assert!(!evaluate(&request(None, "10.0.0.1", "10.0.0.2:80"), &allow).is_allow(), "{fields:?}");
    }
    let fields = Match { not_namespaces: empty(), not_principals: empty(), ..Match::default() };
    let allow = applicable(vec![policy("a", Action::Allow, vec![vec![vec![fields]]])]);
    assert!(evaluate(&request(None, "10.0.0.1", "10.0.0.2:80"), &allow).is_allow());
}

#[test]
fn a_permit_names_what_allowed() {
    let open = evaluate(&request(None, "10.0.0.1", "10.0.0.2:80"), &Applicable::default());
    assert!(matches!(open, Decision::Allow(permit) if permit.policy().is_none() && permit.rule().is_none()));
    let allow = applicable(vec![policy("a", Action::Allow, vec![vec![vec![Match::default()]], vec![]])]);
    let decision = evaluate(&request(None, "10.0.0.1", "10.0.0.2:80"), &allow);
    assert!(matches!(decision, Decision::Allow(permit) if permit.rule() == Some(1) && permit.policy().is_some()));
}

fn word() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "ab", "ns", "sa"]).prop_map(str::to_owned)
}

pub(super) fn peer() -> impl Strategy<Value = Identity> {
    (word(), word(), word()).prop_map(|(td, ns, sa)| Identity::new(td, ns, sa))
}

fn pattern(exact: impl Strategy<Value = String>) -> impl Strategy<Value = StringMatch> {
    (exact, 0..5_u8, 0..20_usize).prop_map(|(s, kind, cut)| {
        let cut = cut.min(s.len());
        match kind {
            0 => StringMatch::Presence,
            1 => StringMatch::Prefix(s[..cut].into()),
            2 => StringMatch::Suffix(s[cut..].into()),
            _ => StringMatch::Exact(s.into()),
        }
    })
}

pub(super) fn address() -> impl Strategy<Value = IpAddr> {
    prop::sample::select(vec!["10.0.0.1", "10.0.0.2", "::ffff:10.0.0.1", "::ffff:10.1.0.1", "fd00::1", "fd00::2"])
        .prop_map(|s| s.parse().unwrap())
}

fn net() -> impl Strategy<Value = IpNet> {
    prop::sample::select(vec![
        "10.0.0.0/8",
        "10.0.0.1/32",
        "10.0.0.3/31",
        "0.0.0.0/0",
        "::/0",
        "fd00::/16",
        "fd00::1/128",
    ])
    .prop_map(|s| s.parse().unwrap())
}

/// Few values, so that they meet often; short lists, so that matches often hold.
fn a_match() -> impl Strategy<Value = Match> {
    let short = 0..2_usize;
    let principal = || pattern(peer().prop_map(|p| p.principal().to_string()));
    let names = (
        prop::collection::vec(pattern(word()), short.clone()),
        prop::collection::vec(pattern(word()), short.clone()),
        prop::collection::vec(principal(), short.clone()),
        prop::collection::vec(principal(), short.clone()),
        prop::collection::vec(
            (word(), word()).prop_map(|(n, s)| ServiceAccountMatch { namespace: n.into(), service_account: s.into() }),
            short.clone(),
        ),
    );
    let nets = || prop::collection::vec(net(), 0..2_usize);
    let ports = || prop::collection::vec(1..4_u16, 0..2_usize);
    let times = || prop::collection::vec(time_range(), 0..2_usize);
    let days = || prop::collection::vec(prop::sample::select(WEEK.to_vec()), 0..4_usize);
    let when = (times(), times(), days(), days(), any::<u8>());
    (names, nets(), nets(), nets(), nets(), ports(), ports(), any::<u16>(), when).prop_map(
        |(n, s, ns, d, nd, p, np, mask, when)| {
            // Most fields absent: else nearly nothing would ever hold.
            let keep = |bit: u32| mask >> bit & 1 == 1 && mask >> (15 - bit) & 1 == 1;
            let pick = |bit, list: Vec<StringMatch>| if keep(bit) { list } else { Vec::new() };
            let accounts = n.4.clone();
            Match {
                namespaces: pick(0, n.0),
                not_namespaces: pick(1, n.1),
                principals: pick(2, n.2),
                not_principals: pick(3, n.3),
                service_accounts: if keep(4) { n.4 } else { Vec::new() },
                not_service_accounts: if keep(5) { accounts } else { Vec::new() },
                source_ips: if keep(6) { s } else { Vec::new() },
                not_source_ips: if keep(7) { ns } else { Vec::new() },
                destination_ips: if mask & 7 == 1 { d } else { Vec::new() },
                not_destination_ips: if mask & 7 == 2 { nd } else { Vec::new() },
                destination_ports: if mask & 24 == 8 { p } else { Vec::new() },
                not_destination_ports: if mask & 24 == 16 { np } else { Vec::new() },
                times: if when.4 & 7 == 1 { when.0 } else { Vec::new() },
                not_times: if when.4 & 7 == 2 { when.1 } else { Vec::new() },
                days: if when.4 & 24 == 8 { when.2 } else { Vec::new() },
                not_days: if when.4 & 24 == 16 { when.3 } else { Vec::new() },
            }
        },
    )
}

/// Ends at whole quarters, so that a moment is often at one.
fn time_range() -> impl Strategy<Value = TimeRange> {
    let quarters = (0..96_u16, 0..=96_u16);
    quarters.prop_filter_map("two ends", |(from, to)| TimeRange::new(from * 15, to * 15))
}

fn moment() -> impl Strategy<Value = SystemTime> {
    // Two weeks, by quarters of an hour or a second before.
    (1..1344_u64, 0..2_u64).prop_map(|(quarter, before)| UNIX_EPOCH + Duration::from_secs(quarter * 900 - before))
}

pub(super) fn a_policy(groups: std::ops::Range<usize>) -> impl Strategy<Value = Policy> {
    let groups = prop::collection::vec(prop::collection::vec(prop::collection::vec(a_match(), 0..3), 0..3), groups);
    let action = prop::sample::select(vec![Action::Allow, Action::Allow, Action::Audit, Action::Deny]);
    let zone = prop::sample::select(vec!["UTC", "Asia/Kolkata", "Asia/Tokyo", "Not/Known"]);
    (action, any::<u8>(), zone, groups).prop_map(|(action, tried, zone, groups)| Policy {
        dry_run: tried < 80 && action != Action::Audit,
        zone: Zone::named(zone),
        ..policy("p", action, groups)
    })
}

/// As few policies, and as two of which the second is long enough to have an index.
fn policies() -> impl Strategy<Value = Vec<Policy>> {
    let long = (a_policy(0..3), a_policy(33..60)).prop_map(|(a, b)| vec![a, b]);
    prop_oneof![3 => prop::collection::vec(a_policy(0..3), 0..5), 1 => long]
}

/// Every place of a group that decided or remarked, named by its rule.
fn rule(decision: &Decision) -> Option<u32> {
    match decision {
        Decision::Allow(permit) => permit.rule(),
        Decision::Deny(denial) if denial.reason() == Reason::Denied => denial.rule(),
        Decision::Deny(_) => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn evaluates_as_the_naive_reading_does(
        mut policies in policies(),
        peer in prop::option::of(peer()),
        source in address(),
        to in address(),
        port in 1..4_u16,
        now in moment(),
    ) {
        for (place, policy) in policies.iter_mut().enumerate() {
            policy.key = NamespacedName::new("ns", format!("p{place}"));
        }
        let request = Request { peer: peer.as_ref(), foreign: false, source, destination: SocketAddr::new(to, port), now };
        let applicable = applicable(policies.clone());
        let decision = evaluate(&request, &applicable);
        prop_assert_eq!(decision.is_allow(), naive::allowed(&policies, &request));
        // What fired is the first group, whatever the index tried first.
        if let Some(rule) = rule(&decision) {
            let enforced = policies.iter().filter(|p| p.is_enforced() && (p.action == Action::Allow) == decision.is_allow());
            let first = enforced.filter_map(|p| naive::fires(p, &request)).next();
            prop_assert_eq!(Some(rule as usize), first);
        }
        let said: Vec<_> = observe(&request, &applicable, &decision)
            .iter()
            .map(|o| (o.policy().name.to_string(), o.outcome()))
            .collect();
        let wanted: Vec<_> =
            naive::observed(&policies, &request).into_iter().map(|(place, o)| (format!("p{place}"), o)).collect();
        prop_assert_eq!(said, wanted);
        if let Decision::Deny(denial) = decision {
            // Whatever the policies are, there are words for it.
            prop_assert!(denial.to_string().contains("ns/p"), "{denial}");
        }
    }

    #[test]
    fn nothing_changes_before_the_next_change(policies in policies(), peer in peer(), port in 1..4_u16, now in moment(), part in 0..1000_u32) {
        let applicable = applicable(policies);
        let ask = |now| {
            let destination = SocketAddr::new([10, 0, 0, 2].into(), port);
            let request = Request { peer: Some(&peer), foreign: false, source: [10, 0, 0, 1].into(), destination, now };
            let decision = evaluate(&request, &applicable);
            let said: Vec<_> = observe(&request, &applicable, &decision).iter().map(Observation::outcome).collect();
            (decision.is_allow(), rule(&decision), said)
        };
        // Without one, a day stands for ever.
        let next = next_change(&applicable.policies, now).unwrap_or(now + Duration::from_secs(86_400));
        prop_assert!(next > now);
        let before = now + (next.duration_since(now).unwrap() - Duration::from_nanos(1)) * part / 1000;
        prop_assert_eq!(ask(now), ask(before));
    }

    #[test]
    fn what_is_told_to_others_errs_to_the_safe_side(
        policies in policies(),
        peer in prop::option::of(peer()),
        source in address(),
        port in 1..4_u16,
        now in moment(),
    ) {
        let plain: Vec<_> = policies.iter().filter_map(Policy::plain).collect();
        prop_assert!(plain.iter().all(|p| !p.is_timed() && p.action != Action::Audit));
        let destination = SocketAddr::new([10, 0, 0, 2].into(), port);
        let request = Request { peer: peer.as_ref(), foreign: false, source, destination, now };
        let (told, meant) = (naive::allowed(&plain, &request), naive::allowed(&policies, &request));
        prop_assert!(meant || !told);
        if !policies.iter().any(|p| p.is_timed() && p.is_enforced()) {
            prop_assert_eq!(told, meant);
        }
    }

    #[test]
    fn principals_are_compared_as_their_text(p in peer(), m in pattern(peer().prop_map(|p| p.principal().to_string()))) {
        prop_assert_eq!(principal_matches(&m, &p), m.matches(&p.principal().to_string()));
    }
}

#[test]
fn what_is_certain_goes_before_what_is_missing() {
    let peer = Identity::new("td", "demo", "client");
    let everyone = || vec![vec![]];
    let nobody = Vec::new;
    let key = |name: &str| vec![NamespacedName::new("ns", name)];
    let allow = || policy("allow", Action::Allow, everyone());
    let none = || policy("none", Action::Allow, nobody());
    let deny = || policy("deny", Action::Deny, everyone());
    let silent = || policy("silent", Action::Deny, nobody());
    // Policies; whether one is missing, whether one was never sent; what a peer with and one without identity get.
    type Row = (Vec<Policy>, bool, bool, Result<(), Reason>, Result<(), Reason>);
    let missing = || Err(Reason::MissingPolicy);
    let table: Vec<Row> = vec![
        (vec![], false, false, Ok(()), Ok(())),
        (vec![], true, false, missing(), missing()),
        (vec![], false, true, Ok(()), missing()),
        (vec![], true, true, missing(), missing()),
        (vec![allow()], false, true, Ok(()), missing()),
        (vec![allow()], true, false, missing(), missing()),
        (vec![silent(), allow()], false, true, Ok(()), missing()),
        // Certain, whatever comes: these end what lives.
        (vec![deny()], true, true, Err(Reason::Denied), Err(Reason::Denied)),
        (vec![allow(), deny()], true, false, Err(Reason::Denied), Err(Reason::Denied)),
        (vec![none()], false, true, Err(Reason::NoneAllowed), Err(Reason::NoneAllowed)),
        // What is missing may be what allows it.
        (vec![none()], true, false, missing(), missing()),
    ];
    for (policies, late, never, with, without) in table {
        let names: Vec<_> = policies.iter().map(|p| p.key.to_string()).collect();
        let mut all = applicable(policies);
        all.missing = if late { key("late") } else { Vec::new() };
        all.unsent = if never { key("never") } else { Vec::new() };
        for (peer, expect) in [(Some(&peer), with), (None, without)] {
            let found = match evaluate(&request(peer, "10.0.0.1", "10.0.0.2:80"), &all) {
                Decision::Allow(_) => Ok(()),
                Decision::Deny(denial) => Err(denial.reason()),
            };
            assert_eq!(found, expect, "{names:?} missing {late} unsent {never} for {peer:?}");
            assert_eq!(all.is_complete(peer.is_some()), !late && (!never || peer.is_some()));
        }
    }
    let unsent = Applicable { unsent: key("converted_peer_authentication_x"), ..Applicable::default() };
    let text = "the policy ns/converted_peer_authentication_x applies here and was never sent; until it is, no peer \
                without identity is allowed (plaintext)";
    check_denied(&unsent, &request(None, "10.0.0.1", "10.0.0.2:80"), Reason::MissingPolicy, text);
}

/// A namespace or an account of a federated domain is no namespace or account of this mesh, whatever it is called.
#[test]
fn a_federated_peer_is_matched_by_its_principal_and_by_nothing_else() {
    let peer = Identity::new("partner.example", "shop", "cart");
    let ours = request(Some(&peer), "10.0.0.1", "10.0.0.2:80");
    let foreign = Request { foreign: true, ..ours };
    let exact = |text: &str| StringMatch::Exact(text.into());
    let account = || ServiceAccountMatch { namespace: "shop".into(), service_account: "cart".into() };
    for (m, by_name, by_federation) in [
        (Match { namespaces: vec![exact("shop")], ..Match::default() }, true, false),
        (Match { namespaces: vec![StringMatch::Presence], ..Match::default() }, true, false),
        (Match { not_namespaces: vec![exact("shop")], ..Match::default() }, false, true),
        (Match { service_accounts: vec![account()], ..Match::default() }, true, false),
        (Match { not_service_accounts: vec![account()], ..Match::default() }, false, true),
        (Match { principals: vec![exact("partner.example/ns/shop/sa/cart")], ..Match::default() }, true, true),
        (Match { principals: vec![StringMatch::Presence], ..Match::default() }, true, true),
    ] {
        let shown = format!("{m:?}");
        let allow = applicable(vec![policy("a", Action::Allow, vec![vec![vec![m.clone()]]])]);
        let deny = applicable(vec![policy("d", Action::Deny, vec![vec![vec![m]]])]);
        for (request, fires) in [(&ours, by_name), (&foreign, by_federation)] {
            assert_eq!(evaluate(request, &allow).is_allow(), fires, "{shown}");
            assert_eq!(evaluate(request, &deny).is_allow(), !fires, "{shown}");
        }
    }
    let allow = Match { namespaces: vec![exact("shop")], ..Match::default() };
    let allow = applicable(vec![policy("a", Action::Allow, vec![vec![vec![allow]]])]);
    let Decision::Deny(denial) = evaluate(&foreign, &allow) else { panic!("allowed") };
    assert_eq!(denial.policy().map(|key| key.to_string()), Some("ns/a".to_owned()), "it says which came nearest");
}
