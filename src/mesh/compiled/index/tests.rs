use std::cell::Cell;
use std::sync::Arc;

use crate::mesh::{Asked, Compiled};
use crate::model::name::NamespacedName;
use crate::model::policy::{Action, Clause, Group, Match, Policy, Scope, ServiceAccountMatch, StringMatch};
use crate::model::spiffe::Identity;

const RULES: u32 = 10_000;

/// How many groups of a long policy are tried for a peer `td/ns/n77/sa/s77` from 10.0.77.1 to port 77, and whether
/// that of rule 77 is among them.
fn tried(group: impl Fn(u32) -> Vec<Clause>) -> (usize, bool) {
    let groups = (0..RULES).map(|rule| Group { rule, clauses: group(rule) }).collect();
    let policy = Policy::new(NamespacedName::new("a", "b"), Scope::Namespace, Action::Allow, groups);
    let compiled = Compiled::new(Arc::new(policy));
    let peer = Identity::new("td", "n77", "s77");
    let asked =
        Asked { peer: Some(&peer), source: "10.0.77.1".parse().unwrap(), destination: "10.1.0.1:77".parse().unwrap() };
    let (count, found) = (Cell::new(0), Cell::new(false));
    compiled.first(&asked, |place| {
        count.set(count.get() + 1);
        found.set(found.get() || place == 77);
        false
    });
    (count.get(), found.get())
}

fn clause(m: Match) -> Clause {
    Clause { matches: vec![m] }
}

fn exact(text: String) -> Vec<StringMatch> {
    vec![StringMatch::Exact(text.into())]
}

fn principal(rule: u32) -> Clause {
    clause(Match { principals: exact(format!("td/ns/n{rule}/sa/s{rule}")), ..Match::default() })
}

fn port(port: u32) -> Clause {
    clause(Match { destination_ports: vec![u16::try_from(port).unwrap()], ..Match::default() })
}

fn source(rule: u32) -> Match {
    let net = format!("10.{}.{}.0/24", rule / 256, rule % 256);
    Match { source_ips: vec![net.parse().unwrap()], ..Match::default() }
}

#[test]
fn of_ten_thousand_rules_few_are_tried() {
    let check = |what: &str, most: usize, group: &dyn Fn(u32) -> Vec<Clause>| {
        let (tried, found) = tried(group);
        assert!(found && tried <= most, "{what}: {tried} tried, at most {most}; found: {found}");
    };
    check("a principal each", 1, &|rule| vec![principal(rule)]);
    check("a principal each, one port for all", 1, &|rule| vec![port(77), principal(rule)]);
    check("one principal for all, a port each", 1, &|rule| vec![principal(77), port(rule)]);
    check("a namespace each", 1, &|rule| {
        vec![clause(Match { namespaces: exact(format!("n{rule}")), ..Match::default() })]
    });
    check("a service account each", 1, &|rule| {
        let (namespace, service_account) = (format!("n{rule}").into(), format!("s{rule}").into());
        let service_accounts = vec![ServiceAccountMatch { namespace, service_account }];
        vec![clause(Match { service_accounts, ..Match::default() })]
    });
    check("a network each", 1, &|rule| vec![clause(source(rule))]);
    check("a prefix each", 1, &|rule| {
        let principals = vec![StringMatch::Prefix(format!("td/ns/n{rule}/").into())];
        vec![clause(Match { principals, ..Match::default() })]
    });
    check("a suffix each", 1, &|rule| {
        let principals = vec![StringMatch::Suffix(format!("/sa/s{rule}").into())];
        vec![clause(Match { principals, ..Match::default() })]
    });
    check("a network or a principal", 2, &|rule| {
        let matches = vec![source(rule), principal(rule).matches.remove(0)];
        vec![Clause { matches }]
    });
    // What every connection of a peer can match is always tried.
    let any = |_| vec![clause(Match { principals: vec![StringMatch::Presence], ..Match::default() })];
    assert_eq!(tried(any), (RULES as usize, true));
    assert_eq!(tried(|_| Vec::new()), (RULES as usize, true));
    // For plaintext alone: whoever has an identity tries none of them.
    let nobody = |rule| {
        let not_principals = [vec![StringMatch::Presence], exact(format!("td/ns/n{rule}/sa/s{rule}"))].concat();
        vec![clause(Match { not_principals, ..Match::default() })]
    };
    assert_eq!(tried(nobody), (0, false));
    // An empty match never fires, so there is nothing to try.
    assert_eq!(tried(|_| vec![clause(Match::default())]), (0, false));
}
