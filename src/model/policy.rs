//! L4 policy in the form that is evaluated: groups of clauses of matches, as `istio.security.Authorization`.
//!
//! A policy fires when any group fires; a group when all of its clauses fire (none: always); a
//! clause when any of its matches fires; a match when all of its fields hold. A match without a
//! field never fires.

use std::sync::Arc;

use ipnet::IpNet;

use super::name::NamespacedName;
use super::schedule::{TimeRange, Weekday};
use super::timezone::Zone;

mod plain;

/// One policy, already narrowed to what L4 can judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub key: NamespacedName,
    pub scope: Scope,
    pub action: Action,
    /// Tried out: what it would have done is counted, and no decision changes. An AUDIT policy is never tried out.
    pub dry_run: bool,
    /// For the time conditions. Where the zone is not known they err to the safe side: those of a DENY hold, those
    /// of others do not.
    pub zone: Zone,
    /// No group: never fires. An ALLOW policy without groups therefore denies all that it covers.
    pub groups: Vec<Group>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Every workload of the mesh.
    Global,
    /// Every workload of the policy's namespace.
    Namespace,
    /// The workloads that list it in `Workload::policies`.
    Workload,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Allow,
    /// Counted and logged, and no decision changes.
    Audit,
    Deny,
}

/// One rule of the policy; all clauses must fire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Index of the rule in the object that a person wrote, for messages.
    pub rule: u32,
    pub clauses: Vec<Clause>,
}

/// Alternatives; any match must fire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    pub matches: Vec<Match>,
}

/// Conditions that must all hold. For each field: the positive list is empty or one entry holds,
/// and no entry of the `not_` list holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    pub namespaces: Vec<StringMatch>,
    pub not_namespaces: Vec<StringMatch>,
    /// Against `<trust domain>/ns/<namespace>/sa/<service account>`.
    pub principals: Vec<StringMatch>,
    pub not_principals: Vec<StringMatch>,
    pub service_accounts: Vec<ServiceAccountMatch>,
    pub not_service_accounts: Vec<ServiceAccountMatch>,
    pub source_ips: Vec<IpNet>,
    pub not_source_ips: Vec<IpNet>,
    pub destination_ips: Vec<IpNet>,
    pub not_destination_ips: Vec<IpNet>,
    pub destination_ports: Vec<u16>,
    pub not_destination_ports: Vec<u16>,
    /// The time of day in the policy's zone.
    pub times: Vec<TimeRange>,
    pub not_times: Vec<TimeRange>,
    /// The day of that time; a span across midnight does not keep the day on which it began.
    pub days: Vec<Weekday>,
    pub not_days: Vec<Weekday>,
}

/// A service account of one namespace, in any trust domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccountMatch {
    pub namespace: Arc<str>,
    pub service_account: Arc<str>,
}

/// How a string is compared; always case-sensitive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StringMatch {
    Exact(Arc<str>),
    Prefix(Arc<str>),
    /// Any value that is not empty.
    Presence,
    Suffix(Arc<str>),
}

// === impl Policy ===

impl Policy {
    /// A policy that is enforced, with its times in UTC.
    pub fn new(key: NamespacedName, scope: Scope, action: Action, groups: Vec<Group>) -> Self {
        Self { key, scope, action, dry_run: false, zone: Zone::utc(), groups }
    }

    /// True when it takes part in decisions.
    pub fn is_enforced(&self) -> bool {
        !self.dry_run && self.action != Action::Audit
    }

    /// True when what it says depends on the time.
    pub fn is_timed(&self) -> bool {
        self.matches().any(Match::is_timed)
    }

    /// Every match of every clause.
    pub fn matches(&self) -> impl Iterator<Item = &Match> {
        self.groups.iter().flat_map(|group| &group.clauses).flat_map(|clause| &clause.matches)
    }
}

// === impl Action ===

impl Action {
    /// As it is written in an AuthorizationPolicy.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "ALLOW",
            Self::Audit => "AUDIT",
            Self::Deny => "DENY",
        }
    }
}

// === impl Match ===

impl Match {
    /// True when no field is set; such a match never fires.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// True when it depends on the time.
    pub fn is_timed(&self) -> bool {
        !(self.times.is_empty() && self.not_times.is_empty() && self.days.is_empty() && self.not_days.is_empty())
    }
}

// === impl StringMatch ===

impl StringMatch {
    /// Istio's notation: `*`, `*suffix`, `prefix*`, else exact.
    pub fn parse(text: &str) -> Self {
        match text {
            "*" => Self::Presence,
            _ => match (text.strip_prefix('*'), text.strip_suffix('*')) {
                (Some(suffix), _) => Self::Suffix(suffix.into()),
                (None, Some(prefix)) => Self::Prefix(prefix.into()),
                (None, None) => Self::Exact(text.into()),
            },
        }
    }

    pub fn matches(&self, value: &str) -> bool {
        match self {
            Self::Exact(exact) => value == &**exact,
            Self::Prefix(prefix) => value.starts_with(&**prefix),
            Self::Presence => !value.is_empty(),
            Self::Suffix(suffix) => value.ends_with(&**suffix),
        }
    }
}

impl std::fmt::Display for StringMatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(exact) => f.write_str(exact),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
            Self::Presence => f.write_str("*"),
            Self::Suffix(suffix) => write!(f, "*{suffix}"),
        }
    }
}
