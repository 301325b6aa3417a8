//! A rule in words: what it fires for.

use std::fmt::Display;

use crate::model::policy::{Clause, Group, Match, ServiceAccountMatch};

/// How many values of a list are told; the rest is counted.
const MOST: usize = 3;

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
        list("from principal", principals),
        list("not from principal", not_principals),
        list("from service account", &accounts(service_accounts)),
        list("not from service account", &accounts(not_service_accounts)),
        list("from namespace", namespaces),
        list("not from namespace", not_namespaces),
        list("from address", source_ips),
        list("not from address", not_source_ips),
        list("to address", destination_ips),
        list("not to address", not_destination_ips),
        list("to port", destination_ports),
        list("not to port", not_destination_ports),
        list("at", times),
        list("not at", not_times),
        list("on", days),
        list("not on", not_days),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" and ")
}

fn accounts(list: &[ServiceAccountMatch]) -> Vec<String> {
    list.iter().map(|account| format!("{}/{}", account.namespace, account.service_account)).collect()
}

fn list<T: Display>(head: &str, values: &[T]) -> Option<String> {
    let mut text = values.iter().take(MOST).map(ToString::to_string).collect::<Vec<_>>().join(" or ");
    if values.len() > MOST {
        text.push_str(&format!(" or {} more", values.len() - MOST));
    }
    (!values.is_empty()).then(|| format!("{head} {text}"))
}
