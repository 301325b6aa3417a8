//! Policies as the dump has them.

use ipnet::IpNet;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::model::policy::{Action, Clause, Group, Match, Policy, Scope, ServiceAccountMatch, StringMatch};

/// A policy with the dump's keys.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PolicyEntry<'a> {
    name: &'a str,
    namespace: &'a str,
    scope: &'static str,
    action: &'static str,
    rules: Rules<'a>,
    dry_run: bool,
}

struct Rules<'a>(&'a [Group]);
struct Clauses<'a>(&'a [Clause]);
struct Matches<'a>(&'a [Match]);
struct One<'a>(&'a Match);
struct Texts<'a>(&'a [StringMatch]);
struct Text<'a>(&'a StringMatch);
struct Accounts<'a>(&'a [ServiceAccountMatch]);
struct Nets<'a>(&'a [IpNet]);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Account<'a> {
    namespace: &'a str,
    service_account: &'a str,
}

// === impl PolicyEntry ===

impl<'a> PolicyEntry<'a> {
    pub(super) fn new(policy: &'a Policy) -> Self {
        Self {
            name: &policy.key.name,
            namespace: &policy.key.namespace,
            scope: match policy.scope {
                Scope::Global => "Global",
                Scope::Namespace => "Namespace",
                Scope::Workload => "WorkloadSelector",
            },
            action: match policy.action {
                Action::Allow => "Allow",
                Action::Audit => "Audit",
                Action::Deny => "Deny",
            },
            rules: Rules(&policy.groups),
            dry_run: policy.dry_run,
        }
    }
}

impl Serialize for Rules<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.iter().map(|group| Clauses(&group.clauses)))
    }
}

impl Serialize for Clauses<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.iter().map(|clause| Matches(&clause.matches)))
    }
}

impl Serialize for Matches<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.iter().map(One))
    }
}

/// Empty lists are left out.
impl Serialize for One<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
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
        } = self.0;
        fn put<S: SerializeMap, T: Serialize>(map: &mut S, key: &str, empty: bool, value: T) -> Result<(), S::Error> {
            if empty { Ok(()) } else { map.serialize_entry(key, &value) }
        }
        let words = |all: &[crate::model::schedule::TimeRange]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        let names = |all: &[crate::model::schedule::Weekday]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut map = to.serialize_map(None)?;
        put(&mut map, "namespaces", namespaces.is_empty(), Texts(namespaces))?;
        put(&mut map, "notNamespaces", not_namespaces.is_empty(), Texts(not_namespaces))?;
        put(&mut map, "principals", principals.is_empty(), Texts(principals))?;
        put(&mut map, "notPrincipals", not_principals.is_empty(), Texts(not_principals))?;
        put(&mut map, "serviceAccounts", service_accounts.is_empty(), Accounts(service_accounts))?;
        put(&mut map, "notServiceAccounts", not_service_accounts.is_empty(), Accounts(not_service_accounts))?;
        put(&mut map, "sourceIps", source_ips.is_empty(), Nets(source_ips))?;
        put(&mut map, "notSourceIps", not_source_ips.is_empty(), Nets(not_source_ips))?;
        put(&mut map, "destinationIps", destination_ips.is_empty(), Nets(destination_ips))?;
        put(&mut map, "notDestinationIps", not_destination_ips.is_empty(), Nets(not_destination_ips))?;
        put(&mut map, "destinationPorts", destination_ports.is_empty(), destination_ports)?;
        put(&mut map, "notDestinationPorts", not_destination_ports.is_empty(), not_destination_ports)?;
        // Istio's policies know no time; these are of ours.
        put(&mut map, "times", times.is_empty(), words(times))?;
        put(&mut map, "notTimes", not_times.is_empty(), words(not_times))?;
        put(&mut map, "days", days.is_empty(), names(days))?;
        put(&mut map, "notDays", not_days.is_empty(), names(not_days))?;
        map.end()
    }
}

impl Serialize for Texts<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.iter().map(Text))
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            StringMatch::Exact(text) => to.collect_map([("Exact", text)]),
            StringMatch::Prefix(text) => to.collect_map([("Prefix", text)]),
            StringMatch::Presence => to.collect_map([("Presence", <[(); 0]>::default())]),
            StringMatch::Suffix(text) => to.collect_map([("Suffix", text)]),
        }
    }
}

impl Serialize for Accounts<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(
            self.0
                .iter()
                .map(|ServiceAccountMatch { namespace, service_account }| Account { namespace, service_account }),
        )
    }
}

impl Serialize for Nets<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.iter().map(ToString::to_string))
    }
}
