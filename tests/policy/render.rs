//! A policy on one line: `<key> <scope> <ACTION>: <group> | <group>`, a group being its clauses
//! joined by `&`, a clause its matches joined by `|` within braces.

use culvert::model::policy::{Action, Clause, Group, Match, Policy, Scope};

pub fn policy(policy: &Policy) -> String {
    let scope = match policy.scope {
        Scope::Global => "global",
        Scope::Namespace => "namespace",
        Scope::Workload => "workload",
    };
    let action = match policy.action {
        Action::Allow => "ALLOW",
        Action::Deny => "DENY",
    };
    let groups: Vec<_> = policy.groups.iter().map(group).collect();
    let groups = if groups.is_empty() { "never".to_owned() } else { groups.join(" | ") };
    format!("{} {scope} {action}: {groups}", policy.key)
}

fn group(group: &Group) -> String {
    let clauses: Vec<_> = group.clauses.iter().map(clause).collect();
    if clauses.is_empty() { "always".to_owned() } else { clauses.join(" & ") }
}

fn clause(clause: &Clause) -> String {
    let matches: Vec<_> = clause.matches.iter().map(fields).collect();
    format!("{{{}}}", matches.join(" | "))
}

fn fields(m: &Match) -> String {
    let accounts = |list: &[culvert::model::policy::ServiceAccountMatch]| {
        list.iter().map(|a| format!("{}/{}", a.namespace, a.service_account)).collect::<Vec<_>>()
    };
    let fields = [
        ("ports", text(&m.destination_ports)),
        ("!ports", text(&m.not_destination_ports)),
        ("principals", text(&m.principals)),
        ("!principals", text(&m.not_principals)),
        ("accounts", accounts(&m.service_accounts)),
        ("!accounts", accounts(&m.not_service_accounts)),
        ("namespaces", text(&m.namespaces)),
        ("!namespaces", text(&m.not_namespaces)),
        ("from", text(&m.source_ips)),
        ("!from", text(&m.not_source_ips)),
        ("to", text(&m.destination_ips)),
        ("!to", text(&m.not_destination_ips)),
    ];
    let set = fields.into_iter().filter(|(_, values)| !values.is_empty());
    set.map(|(name, values)| format!("{name}={}", values.join(","))).collect::<Vec<_>>().join(" ")
}

fn text<T: ToString>(list: &[T]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}
