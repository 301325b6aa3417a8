//! A policy on one line: `<key> <scope> <ACTION>[ dry-run][ <zone>]: <group> | <group>`, a group being
//! its clauses joined by `&`, a clause its matches joined by `|` within braces. UTC is not written.

use culvert::model::policy::{Clause, Group, Match, Policy, Scope};
use culvert::model::timezone::Zone;

pub fn policy(policy: &Policy) -> String {
    let scope = match policy.scope {
        Scope::Global => "global",
        Scope::Namespace => "namespace",
        Scope::Workload => "workload",
    };
    let groups: Vec<_> = policy.groups.iter().map(group).collect();
    let groups = if groups.is_empty() { "never".to_owned() } else { groups.join(" | ") };
    let dry_run = if policy.dry_run { " dry-run" } else { "" };
    let zone = if policy.zone == Zone::utc() { String::new() } else { format!(" {}", policy.zone) };
    format!("{} {scope} {}{dry_run}{zone}: {groups}", policy.key, policy.action.as_str())
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
        ("times", text(&m.times)),
        ("!times", text(&m.not_times)),
        ("days", text(&m.days)),
        ("!days", text(&m.not_days)),
    ];
    let set = fields.into_iter().filter(|(_, values)| !values.is_empty());
    set.map(|(name, values)| format!("{name}={}", values.join(","))).collect::<Vec<_>>().join(" ")
}

fn text<T: ToString>(list: &[T]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}
