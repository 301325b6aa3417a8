//! A rule in words: what it fires for.

use std::fmt::Display;

use crate::authz::values::{accounts, list};
use crate::model::policy::{Clause, Group, Match};

/// `every connection`, or `connections from namespace a, to port 80`.
pub(super) fn group(group: &Group) -> String {
    let told: Vec<_> = group.clauses.iter().filter(|c| !c.matches.is_empty()).map(clause).collect();
    if told.is_empty() { "every connection".to_owned() } else { format!("connections {}", told.join(", ")) }
}

fn clause(clause: &Clause) -> String {
    clause.matches.iter().map(one).collect::<Vec<_>>().join(" or ")
}

fn one(m: &Match) -> String {
    // Without a rest: a field that is new here must be told too.
    let Match {
        namespaces,
        not_namespaces,
        principals,
        not_principals,
        service_accounts,
        not_service_accounts,
        source_ips,
        not_source_ips,
        destination_ips,
        not_destination_ips,
        destination_ports,
        not_destination_ports,
        times,
        not_times,
        days,
        not_days,
    } = m;
    let parts = [
        some("from principal", principals),
        some("not from principal", not_principals),
        (!service_accounts.is_empty()).then(|| format!("from service account {}", accounts(service_accounts))),
        (!not_service_accounts.is_empty())
            .then(|| format!("not from service account {}", accounts(not_service_accounts))),
        some("from namespace", namespaces),
        some("not from namespace", not_namespaces),
        some("from address", source_ips),
        some("not from address", not_source_ips),
        some("to address", destination_ips),
        some("not to address", not_destination_ips),
        some("to port", destination_ports),
        some("not to port", not_destination_ports),
        some("at", times),
        some("not at", not_times),
        some("on", days),
        some("not on", not_days),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" and ")
}

fn some<T: Display>(head: &str, values: &[T]) -> Option<String> {
    (!values.is_empty()).then(|| format!("{head} {}", list(values)))
}
