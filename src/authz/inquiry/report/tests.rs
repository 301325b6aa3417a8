use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;
use crate::authz::Reason;
use crate::authz::tests::{a_policy, address, applicable, peer, policy, request};
use crate::model::policy::StringMatch;
use crate::model::spiffe::Identity;

fn principal(name: &str) -> Match {
    Match { principals: vec![StringMatch::Exact(name.into())], ..Match::default() }
}

fn port(port: u16) -> Match {
    Match { destination_ports: vec![port], ..Match::default() }
}

/// `policy standing rule: fact; fact`, one line a policy.
fn lines(report: &Report) -> Vec<String> {
    let fact = |fact: &Fact| {
        let Fact { clause, holds, asks, found } = fact;
        format!("{clause} {} {asks} | {found}", if *holds { "yes" } else { "no" })
    };
    let line = |considered: &Considered| {
        let facts: Vec<_> = considered.facts.iter().map(fact).collect();
        let Considered { policy, action, standing, rule, .. } = considered;
        format!("{policy} {action} {standing:?} {rule:?}: {}", facts.join("; "))
    };
    report.policies.iter().map(line).collect()
}

#[test]
fn every_policy_says_what_it_asked_and_found() {
    let client = Identity::new("td", "demo", "client");
    let all = applicable(vec![
        // The order of the list is not that of evaluation: DENY comes first.
        policy(
            "other",
            Action::Allow,
            vec![vec![vec![principal("x"), port(1)]], vec![vec![principal("x")], vec![port(1)]]],
        ),
        policy(
            "client",
            Action::Allow,
            vec![vec![vec![principal("y")]], vec![vec![principal("td/ns/demo/sa/client")], vec![port(80)]]],
        ),
        policy("again", Action::Allow, vec![vec![]]),
        policy("never", Action::Deny, vec![vec![vec![Match::default()]]]),
        policy("empty", Action::Deny, vec![]),
    ]);
    let report = report(&request(Some(&client), "10.0.0.1", "10.0.0.2:80"), &all);
    assert_eq!((report.allowed, report.reason.as_str(), report.rule), (true, "allowed", Some(1)));
    assert_eq!((report.policy.as_deref(), report.detail.as_str()), (Some("ns/client"), "allowed by ns/client rule 1"));
    let peer = "the peer is td/ns/demo/sa/client";
    assert_eq!(
        lines(&report),
        [
            "ns/never DENY Silent Some(0): 0 no never matches | ".to_owned(),
            "ns/empty DENY Silent None: ".to_owned(),
            format!("ns/other ALLOW Silent Some(0): 0 no wants principal x | {peer}"),
            format!(
                "ns/client ALLOW Decided Some(1): 0 yes wants principal td/ns/demo/sa/client | {peer}; 1 yes wants port 80 | the port is 80"
            ),
            "ns/again ALLOW Fires Some(0): ".to_owned(),
        ]
    );
}

#[test]
fn refusals_name_what_decided_or_came_nearest() {
    let client = Identity::new("td", "demo", "client");
    let asked = request(Some(&client), "10.0.0.1", "10.0.0.2:80");
    let allow = || policy("allow", Action::Allow, vec![vec![vec![port(80)]]]);
    let deny = policy("deny", Action::Deny, vec![vec![vec![port(81)]], vec![vec![port(80)]]]);
    let denied = report(&asked, &applicable(vec![allow(), deny]));
    assert_eq!((denied.allowed, denied.reason.as_str(), denied.rule), (false, Reason::Denied.as_str(), Some(1)));
    let standings: Vec<_> = denied.policies.iter().map(|p| p.standing).collect();
    assert_eq!(standings, [Standing::Decided, Standing::Fires]);

    let far = policy("far", Action::Allow, vec![vec![vec![principal("x")], vec![port(1)]]]);
    let near = policy("near", Action::Allow, vec![vec![vec![principal("x")], vec![port(80)]]]);
    let none = report(&asked, &applicable(vec![far.clone(), near]));
    assert_eq!((none.reason.as_str(), none.policy.as_deref()), ("none_allowed", Some("ns/near")));
    let standings: Vec<_> = none.policies.iter().map(|p| p.standing).collect();
    assert_eq!(standings, [Standing::Silent, Standing::Nearest]);
    assert_eq!(none.policies[0].facts.len(), 2, "both clauses fail: {none:?}");

    let mut waiting = applicable(vec![allow()]);
    waiting.missing.push(NamespacedName::new("ns", "late"));
    let missing = report(&asked, &waiting);
    assert_eq!(
        (missing.allowed, missing.policy.as_deref(), missing.missing.as_slice()),
        (false, Some("ns/late"), &["ns/late".to_owned()][..])
    );
    assert_eq!(missing.policies[0].standing, Standing::Fires, "it is here and has decided nothing");
    waiting.policies.push(applicable(vec![policy("deny", Action::Deny, vec![vec![]])]).policies.remove(0));
    let certain = report(&asked, &waiting);
    assert_eq!((certain.policy.as_deref(), certain.missing.len()), (Some("ns/deny"), 1));
    assert_eq!(certain.policies[0].standing, Standing::Decided);

    let mut unsent = applicable(vec![allow()]);
    unsent.unsent.push(NamespacedName::new("ns", "converted_peer_authentication_x"));
    assert!(report(&asked, &unsent).allowed, "it could only refuse a peer without identity");
    let told = report(&request(None, "10.0.0.1", "10.0.0.2:80"), &unsent);
    let name = "ns/converted_peer_authentication_x".to_owned();
    assert_eq!((told.allowed, told.policy.as_ref(), &told.unsent), (false, Some(&name), &vec![name.clone()]));
    assert_eq!((told.reason.as_str(), told.policies[0].standing), ("missing_policy", Standing::Fires));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_report_is_the_decision(
        policies in prop::collection::vec(a_policy(0..3), 0..5),
        peer in prop::option::of(peer()),
        source in address(),
        to in address(),
        port in 1..4_u16,
    ) {
        let named = policies.into_iter().enumerate().map(|(i, mut policy)| {
            policy.key = NamespacedName::new("ns", format!("p{i}"));
            policy
        });
        let all = applicable(named.collect());
        let asked = Request { destination: SocketAddr::new(to, port), ..request(peer.as_ref(), "10.0.0.1", "10.0.0.2:80") };
        let asked = Request { source, ..asked };
        let told = report(&asked, &all);
        prop_assert_eq!(told.allowed, evaluate(&asked, &all).is_allow());
        prop_assert_eq!(told.policies.len(), all.policies.len());
        let of = |standing| told.policies.iter().filter(move |p| p.standing == standing);
        // One policy at most is named, and it is the one that the sentence names.
        prop_assert!(of(Standing::Decided).chain(of(Standing::Nearest)).count() <= 1);
        for named in of(Standing::Decided).chain(of(Standing::Nearest)) {
            prop_assert_eq!(Some(&named.policy), told.policy.as_ref());
            prop_assert_eq!(named.rule, told.rule);
        }
        for considered in &told.policies {
            let fired = matches!(considered.standing, Standing::Decided | Standing::Fires | Standing::Observes);
            prop_assert!(considered.facts.iter().all(|fact| fact.holds == fired));
            // What does not fire and has a rule says why.
            prop_assert!(fired || considered.rules == 0 || !considered.facts.is_empty(), "{considered:?}");
        }
        let text = serde_json::to_string(&told).unwrap();
        prop_assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), told);
    }
}
