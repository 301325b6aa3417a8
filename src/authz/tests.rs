use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use proptest::prelude::*;

use super::matcher::principal_matches;
use super::*;
use crate::mesh::Applicable;
use crate::model::name::NamespacedName;
use crate::model::policy::{Action, Clause, Group, Match, Policy, Scope, ServiceAccountMatch, StringMatch};
use crate::model::spiffe::Identity;

pub(super) fn request<'a>(peer: Option<&'a Identity>, source: &str, destination: &str) -> Request<'a> {
    Request { peer, source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

pub(super) fn applicable(policies: Vec<Policy>) -> Applicable {
    Applicable { policies: policies.into_iter().map(Arc::new).collect(), missing: Vec::new() }
}

pub(super) fn policy(name: &str, action: Action, groups: Vec<Vec<Vec<Match>>>) -> Policy {
    let clauses = |clauses: Vec<Vec<Match>>| clauses.into_iter().map(|matches| Clause { matches }).collect();
    let groups = (0..).zip(groups).map(|(rule, c)| Group { rule, clauses: clauses(c) }).collect();
    Policy { key: NamespacedName::new("ns", name), scope: Scope::Namespace, action, groups }
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

/// What matching means, written as directly as it can be.
mod naive {
    use super::*;

    fn text(peer: Option<&Identity>) -> Option<String> {
        peer.map(|p| format!("{}/ns/{}/sa/{}", p.trust_domain, p.namespace, p.service_account))
    }

    fn string(m: &StringMatch, value: &Option<String>) -> bool {
        let Some(value) = value else { return false };
        match m {
            StringMatch::Exact(s) => value == &**s,
            StringMatch::Prefix(s) => value.starts_with(&**s),
            StringMatch::Presence => !value.is_empty(),
            StringMatch::Suffix(s) => value.ends_with(&**s),
        }
    }

    fn in_net(net: &IpNet, ip: IpAddr) -> bool {
        let bits = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => (4, u128::from(u32::from(ip)) << 96),
            IpAddr::V6(ip) => (6, u128::from(ip)),
        };
        let ((family, have), (wanted_family, want)) = (bits(ip), bits(net.addr()));
        let mask = u128::MAX.checked_shl(128 - u32::from(net.prefix_len())).unwrap_or(0);
        family == wanted_family && have & mask == want & mask
    }

    fn plain(ip: IpAddr) -> IpAddr {
        match ip {
            IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
            IpAddr::V4(_) => ip,
        }
    }

    fn one(m: &Match, r: &Request<'_>) -> bool {
        if *m == Match::default() {
            return false;
        }
        let principal = text(r.peer);
        let namespace = r.peer.map(|p| p.namespace.to_string());
        let account = |s: &ServiceAccountMatch| {
            r.peer.is_some_and(|p| p.namespace == s.namespace && p.service_account == s.service_account)
        };
        let (source, to, port) = (plain(r.source), plain(r.destination.ip()), r.destination.port());
        let holds = [
            m.principals.is_empty() || m.principals.iter().any(|s| string(s, &principal)),
            m.not_principals.iter().all(|s| !string(s, &principal)),
            m.namespaces.is_empty() || m.namespaces.iter().any(|s| string(s, &namespace)),
            m.not_namespaces.iter().all(|s| !string(s, &namespace)),
            m.service_accounts.is_empty() || m.service_accounts.iter().any(account),
            !m.not_service_accounts.iter().any(account),
            m.source_ips.is_empty() || m.source_ips.iter().any(|n| in_net(n, source)),
            m.not_source_ips.iter().all(|n| !in_net(n, source)),
            m.destination_ips.is_empty() || m.destination_ips.iter().any(|n| in_net(n, to)),
            m.not_destination_ips.iter().all(|n| !in_net(n, to)),
            m.destination_ports.is_empty() || m.destination_ports.contains(&port),
            !m.not_destination_ports.contains(&port),
        ];
        holds.into_iter().all(|h| h)
    }

    fn fires(p: &Policy, r: &Request<'_>) -> bool {
        p.groups.iter().any(|g| g.clauses.iter().all(|c| c.matches.is_empty() || c.matches.iter().any(|m| one(m, r))))
    }

    pub fn allowed(policies: &[Policy], r: &Request<'_>) -> bool {
        let mut with_allow = false;
        let mut admitted = false;
        for p in policies {
            match p.action {
                Action::Deny if fires(p, r) => return false,
                Action::Deny => {}
                Action::Allow => {
                    with_allow = true;
                    admitted |= fires(p, r);
                }
            }
        }
        admitted || !with_allow
    }
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
    (names, nets(), nets(), nets(), nets(), ports(), ports(), any::<u16>()).prop_map(
        |(n, s, ns, d, nd, p, np, mask)| {
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
            }
        },
    )
}

pub(super) fn a_policy() -> impl Strategy<Value = Policy> {
    let groups = prop::collection::vec(prop::collection::vec(prop::collection::vec(a_match(), 0..3), 0..3), 0..3);
    (prop::bool::ANY, groups)
        .prop_map(|(allow, groups)| policy("p", if allow { Action::Allow } else { Action::Deny }, groups))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn evaluates_as_the_naive_reading_does(
        policies in prop::collection::vec(a_policy(), 0..4),
        peer in prop::option::of(peer()),
        source in address(),
        to in address(),
        port in 1..4_u16,
    ) {
        let request = Request { peer: peer.as_ref(), source, destination: SocketAddr::new(to, port) };
        let decision = evaluate(&request, &applicable(policies.clone()));
        prop_assert_eq!(decision.is_allow(), naive::allowed(&policies, &request));
        if let Decision::Deny(denial) = decision {
            // Whatever the policies are, there are words for it.
            prop_assert!(denial.to_string().contains("ns/p"), "{denial}");
        }
    }

    #[test]
    fn principals_are_compared_as_their_text(p in peer(), m in pattern(peer().prop_map(|p| p.principal().to_string()))) {
        prop_assert_eq!(principal_matches(&m, &p), m.matches(&p.principal().to_string()));
    }
}
