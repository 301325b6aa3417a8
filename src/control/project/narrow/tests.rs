use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::authz::{Decision, Request, evaluate};
use crate::control::policy::authorization;
use crate::mesh::Applicable;
use crate::model::name::NamespacedName;
use crate::model::policy::{Action, Policy, Scope};

/// An alternative of a port or of none, with or without an L7 part. Ports stand for every L4 field.
fn alternative() -> impl Strategy<Value = Alternative> {
    let parts = (prop::option::of(1..4_u16), any::<bool>());
    parts.prop_filter("it says something", |(port, l7)| port.is_some() || *l7).prop_map(|(port, l7)| Alternative {
        place: "from[0]".to_owned(),
        l4: Match { destination_ports: port.into_iter().collect(), ..Match::default() },
        l7: if l7 { vec!["methods".to_owned()] } else { Vec::new() },
    })
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let clause =
        prop::collection::vec(alternative(), 1..4).prop_map(|alternatives| authorization::Clause { alternatives });
    let rule = prop::collection::vec(clause, 0..4).prop_map(|clauses| Rule { clauses });
    prop::collection::vec(rule, 0..3)
}

/// Every choice of one alternative of each clause.
fn combinations(rule: &Rule) -> Vec<Vec<&Alternative>> {
    rule.clauses.iter().fold(vec![Vec::new()], |chosen, clause| {
        let longer =
            |head: &Vec<_>| clause.alternatives.iter().map(|a| [head.clone(), vec![a]].concat()).collect::<Vec<_>>();
        chosen.iter().flat_map(longer).collect()
    })
}

/// A DENY with every L7 part taken for true, but for the combinations that are nothing but L7.
fn denies(rule: &Rule, port: u16) -> bool {
    combinations(rule).into_iter().any(|chosen| {
        let only_l7 = !chosen.is_empty() && chosen.iter().all(|a| a.l4.is_empty());
        !only_l7 && chosen.iter().all(|a| a.l4.is_empty() || a.l4.destination_ports.contains(&port))
    })
}

/// An ALLOW with every rule that has an L7 part left out.
fn allows(rule: &Rule, port: u16) -> bool {
    let plain = rule.clauses.iter().flat_map(|c| &c.alternatives).all(|a| a.l7.is_empty());
    plain && rule.clauses.iter().all(|c| c.alternatives.iter().any(|a| a.l4.destination_ports.contains(&port)))
}

fn is_allowed(action: Action, groups: Vec<Group>, port: u16) -> bool {
    let policy = Policy::new(NamespacedName::new("a", "b"), Scope::Namespace, action, groups);
    let applicable = Applicable { policies: vec![Arc::new(policy.into())], ..Applicable::default() };
    let address = [10, 0, 0, 1].into();
    let request = Request {
        peer: None,
        foreign: false,
        source: address,
        destination: (address, port).into(),
        now: std::time::UNIX_EPOCH,
    };
    matches!(evaluate(&request, &applicable), Decision::Allow(_))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn narrowing_is_exactly_the_disjunctive_form(rules in rules()) {
        let denied = deny(&rules);
        let allowed = whole(&rules);
        for port in 0..5 {
            let wanted = rules.iter().any(|rule| denies(rule, port));
            prop_assert_eq!(!is_allowed(Action::Deny, denied.groups.clone(), port), wanted, "{} {:?}", port, denied.groups);
            let wanted = rules.iter().any(|rule| allows(rule, port));
            prop_assert_eq!(is_allowed(Action::Allow, allowed.groups.clone(), port), wanted);
        }
        // No match without a field: it would never fire, and make its group inert.
        let clauses = denied.groups.iter().chain(&allowed.groups).flat_map(|g| &g.clauses);
        prop_assert!(clauses.flat_map(|c| &c.matches).all(|m| !m.is_empty()));
        // Whatever is lost is told.
        let lost = |r: &&Rule| !r.clauses.is_empty() && combinations(r).iter().any(|c| c.iter().all(|a| a.l4.is_empty()));
        prop_assert_eq!(denied.lost.len(), rules.iter().filter(lost).count());
    }
}
