//! AuthorizationPolicy, checked: rules of clauses of alternatives, L4 fields typed, L7 fields named.
//!
//! Refuses what Istio's validation refuses (empty lists, mixed service accounts, both a selector
//! and targets) and what can never match as written. All problems of an object are found at once.

use crate::kube::types::authorization as types;
use crate::kube::types::meta::StringMap;
use crate::model::policy::{Match, StringMatch};
use crate::model::timezone::Zone;

use super::Problem;
use super::values::{self, Checked, Key};

pub use crate::kube::types::authorization::Action;

/// Istio's annotation that asks for a policy to be tried out without being enforced.
pub const DRY_RUN: &str = "istio.io/dry-run";
/// Our annotation for the time zone of `custom.time_of_day` and `custom.day_of_week`; UTC without it.
pub const TIMEZONE: &str = "culvert.dev/timezone";

/// A policy whose every value is sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    pub action: Action,
    /// `None` also for a selector without labels, which counts as none.
    pub selector: Option<StringMap>,
    pub selector_is_empty: bool,
    /// It is attached to a Gateway or Service, so a waypoint judges it.
    pub has_targets: bool,
    pub dry_run: bool,
    /// For the time conditions; maybe one that is not known here.
    pub zone: Zone,
    pub rules: Vec<Rule>,
    /// Things that are legal and surely not meant; each names its place.
    pub doubts: Vec<String>,
}

/// All clauses must hold; none is "always".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `to`, then `from`, then each `when`.
    pub clauses: Vec<Clause>,
}

/// One of the alternatives must hold. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    pub alternatives: Vec<Alternative>,
}

/// A source, an operation or a `when` entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alternative {
    /// Its place in the object, such as `from[1]`.
    pub place: String,
    pub l4: Match,
    /// Names of the fields that L4 cannot judge, as written.
    pub l7: Vec<String>,
}

/// Reads a policy.
///
/// # Errors
/// All problems that were found in it.
pub fn parse(policy: &crate::kube::types::AuthorizationPolicy) -> Result<Authorization, Vec<Problem>> {
    let spec = &policy.spec;
    let mut reader = Reader { namespace: &policy.metadata.namespace, problems: Vec::new(), doubts: Vec::new() };
    reader.targets(spec);
    if let Some(selector) = &spec.selector {
        reader.selector(selector);
    }
    let rules = spec.rules.iter().enumerate().map(|(i, rule)| reader.rule(&format!("spec.rules[{i}]"), rule)).collect();
    if !reader.problems.is_empty() {
        return Err(reader.problems);
    }
    let (selector, selector_is_empty) = split_selector(spec.selector.as_ref());
    Ok(Authorization {
        action: spec.action,
        selector,
        selector_is_empty,
        has_targets: has_targets(spec),
        dry_run: is_dry_run(policy),
        zone: zone(policy),
        rules,
        doubts: reader.doubts,
    })
}

/// Whether a policy is only tried out. An annotation that cannot be read is false, so that the policy is enforced.
pub fn is_dry_run(policy: &crate::kube::types::AuthorizationPolicy) -> bool {
    dry_run(policy) == Some(true)
}

/// The annotation's text when it is neither true nor false.
pub fn unreadable_dry_run(policy: &crate::kube::types::AuthorizationPolicy) -> Option<&str> {
    let text = policy.metadata.annotations.get(DRY_RUN)?;
    dry_run(policy).is_none().then_some(text)
}

fn dry_run(policy: &crate::kube::types::AuthorizationPolicy) -> Option<bool> {
    // Go's `strconv.ParseBool`, which Istio reads the annotation with.
    match policy.metadata.annotations.get(DRY_RUN)?.as_str() {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// It is attached to a Gateway or Service.
pub fn has_targets(spec: &types::AuthorizationSpec) -> bool {
    spec.target_ref.is_some() || spec.target_refs.is_some()
}

fn zone(policy: &crate::kube::types::AuthorizationPolicy) -> Zone {
    policy.metadata.annotations.get(TIMEZONE).map_or_else(Zone::utc, |name| Zone::named(name))
}

/// The mistake in the annotation [`TIMEZONE`]. Apart from [`parse`], because a policy with it can still be judged,
/// to the safe side.
pub fn check_zone(policy: &crate::kube::types::AuthorizationPolicy) -> Option<Problem> {
    let zone = zone(policy);
    (!zone.is_known()).then(|| Problem {
        path: format!("metadata.annotations[{TIMEZONE}]"),
        reason: format!("`{zone}` is not a time zone"),
        mend: "write a name of the IANA database, such as Europe/Vienna".to_owned(),
    })
}

/// The labels of a selector, and whether it is there without any.
pub fn split_selector(selector: Option<&types::Selector>) -> (Option<StringMap>, bool) {
    match selector {
        Some(selector) if selector.match_labels.is_empty() => (None, true),
        Some(selector) => (Some(selector.match_labels.clone()), false),
        None => (None, false),
    }
}

/// Collects problems while it reads.
struct Reader<'a> {
    namespace: &'a str,
    problems: Vec<Problem>,
    doubts: Vec<String>,
}

// === impl Reader ===

impl Reader<'_> {
    fn problem(&mut self, path: impl Into<String>, reason: impl Into<String>, mend: impl Into<String>) {
        self.problems.push(Problem { path: path.into(), reason: reason.into(), mend: mend.into() });
    }

    fn targets(&mut self, spec: &types::AuthorizationSpec) {
        if spec.target_ref.is_some() && spec.target_refs.is_some() {
            self.problem("spec.targetRef", "stands beside `targetRefs`", "keep `targetRefs` alone");
        }
        if spec.target_refs.as_ref().is_some_and(Vec::is_empty) {
            self.problem("spec.targetRefs", "is an empty list", "name a target or remove the field");
        }
        if spec.selector.is_some() && has_targets(spec) {
            self.problem("spec.selector", "stands beside `targetRefs`", "keep one of the two");
        }
        if spec.provider.is_some() && spec.action != Action::Custom {
            self.problem("spec.provider", "belongs to action CUSTOM only", "remove it, or set `action: CUSTOM`");
        }
        if spec.provider.is_none() && spec.action == Action::Custom {
            self.problem("spec.provider", "is missing for action CUSTOM", "name the provider");
        }
    }

    fn selector(&mut self, selector: &types::Selector) {
        self.problems.extend(check_selector(selector));
    }

    fn rule(&mut self, path: &str, rule: &types::Rule) -> Rule {
        let mut clauses = Vec::new();
        for (field, length) in [
            ("from", rule.from.as_ref().map(Vec::len)),
            ("to", rule.to.as_ref().map(Vec::len)),
            ("when", rule.when.as_ref().map(Vec::len)),
        ] {
            if length == Some(0) {
                self.problem(format!("{path}.{field}"), "is an empty list", "fill it, or remove it to mean any");
            }
        }
        let operations: Vec<_> = rule.to.iter().flatten().enumerate().map(|(i, to)| self.to(path, i, to)).collect();
        let sources: Vec<_> =
            rule.from.iter().flatten().enumerate().map(|(i, from)| self.from(path, i, from)).collect();
        for alternatives in [operations, sources] {
            if !alternatives.is_empty() {
                clauses.push(Clause { alternatives });
            }
        }
        for (i, condition) in rule.when.iter().flatten().enumerate() {
            clauses.push(Clause { alternatives: vec![self.when(path, i, condition)] });
        }
        Rule { clauses }
    }

    fn to(&mut self, rule: &str, index: usize, to: &types::To) -> Alternative {
        let place = format!("to[{index}]");
        let path = format!("{rule}.{place}.operation");
        let operation = to.operation.clone().unwrap_or_default();
        if operation == types::Operation::default() {
            self.problem(&path, "is empty", "name a port, or remove the entry to mean any operation");
        }
        let l4 = Match {
            destination_ports: self.list(&path, "ports", operation.ports.as_ref(), values::port),
            not_destination_ports: self.list(&path, "notPorts", operation.not_ports.as_ref(), values::port),
            ..Match::default()
        };
        let l7 = [
            ("hosts", &operation.hosts),
            ("notHosts", &operation.not_hosts),
            ("methods", &operation.methods),
            ("notMethods", &operation.not_methods),
            ("paths", &operation.paths),
            ("notPaths", &operation.not_paths),
        ];
        let l7 = self.layer7(&path, &l7);
        Alternative { place, l4, l7 }
    }

    fn from(&mut self, rule: &str, index: usize, from: &types::From) -> Alternative {
        let place = format!("from[{index}]");
        let path = format!("{rule}.{place}.source");
        let source = from.source.clone().unwrap_or_default();
        if source == types::Source::default() {
            self.problem(&path, "is empty", "name a peer, or remove the entry to mean any source");
        }
        let accounts = source.service_accounts.is_some() || source.not_service_accounts.is_some();
        let others = [&source.principals, &source.not_principals, &source.namespaces, &source.not_namespaces];
        if accounts && others.iter().any(|field| field.is_some()) {
            self.problem(
                format!("{path}.serviceAccounts"),
                "stands beside principals or namespaces, which Istio forbids in one source",
                "write `<namespace>/<service account>`, or use principals alone",
            );
        }
        let namespace = self.namespace;
        let account = |text: &str| values::service_account(text, namespace);
        let l4 = Match {
            namespaces: self.list(&path, "namespaces", source.namespaces.as_ref(), values::namespace),
            not_namespaces: self.list(&path, "notNamespaces", source.not_namespaces.as_ref(), values::namespace),
            principals: self.principals(&path, "principals", source.principals.as_ref()),
            not_principals: self.principals(&path, "notPrincipals", source.not_principals.as_ref()),
            service_accounts: self.list(&path, "serviceAccounts", source.service_accounts.as_ref(), account),
            not_service_accounts: self.list(&path, "notServiceAccounts", source.not_service_accounts.as_ref(), account),
            source_ips: self.list(&path, "ipBlocks", source.ip_blocks.as_ref(), values::cidr),
            not_source_ips: self.list(&path, "notIpBlocks", source.not_ip_blocks.as_ref(), values::cidr),
            ..Match::default()
        };
        // What the original client's address was is known only to who reads X-Forwarded-For.
        let _ = self.list(&path, "remoteIpBlocks", source.remote_ip_blocks.as_ref(), values::cidr);
        let _ = self.list(&path, "notRemoteIpBlocks", source.not_remote_ip_blocks.as_ref(), values::cidr);
        let l7 = [
            ("remoteIpBlocks", &source.remote_ip_blocks),
            ("notRemoteIpBlocks", &source.not_remote_ip_blocks),
            ("requestPrincipals", &source.request_principals),
            ("notRequestPrincipals", &source.not_request_principals),
        ];
        let l7 = self.layer7(&path, &l7);
        Alternative { place, l4, l7 }
    }

    fn when(&mut self, rule: &str, index: usize, condition: &types::Condition) -> Alternative {
        let place = format!("when[{index}]");
        let path = format!("{rule}.{place}");
        let (yes, no) = (condition.values.as_ref(), condition.not_values.as_ref());
        if yes.is_none() && no.is_none() {
            self.problem(&path, "has neither values nor notValues", "give one of them");
        }
        let key = match values::key(&condition.key) {
            Ok(key) => key,
            Err(refusal) => {
                self.problem(format!("{path}.key"), refusal.reason, refusal.mend);
                Key::Layer7
            }
        };
        let mut l4 = Match::default();
        let mut l7 = Vec::new();
        match key {
            Key::DayOfWeek => {
                l4.days = self.list(&path, "values", yes, values::days).concat();
                l4.not_days = self.list(&path, "notValues", no, values::days).concat();
            }
            Key::DestinationIp => {
                l4.destination_ips = self.list(&path, "values", yes, values::cidr);
                l4.not_destination_ips = self.list(&path, "notValues", no, values::cidr);
            }
            Key::DestinationPort => {
                l4.destination_ports = self.list(&path, "values", yes, values::port);
                l4.not_destination_ports = self.list(&path, "notValues", no, values::port);
            }
            Key::Layer7 => {
                l7 = self.layer7(&path, &[("values", &condition.values), ("notValues", &condition.not_values)]);
                l7 = if l7.is_empty() { l7 } else { vec![format!("{place} {}", condition.key)] };
            }
            Key::SourceIp => {
                l4.source_ips = self.list(&path, "values", yes, values::cidr);
                l4.not_source_ips = self.list(&path, "notValues", no, values::cidr);
            }
            Key::SourceNamespace => {
                l4.namespaces = self.list(&path, "values", yes, values::namespace);
                l4.not_namespaces = self.list(&path, "notValues", no, values::namespace);
            }
            Key::SourcePrincipal => {
                l4.principals = self.principals(&path, "values", yes);
                l4.not_principals = self.principals(&path, "notValues", no);
            }
            Key::SourceServiceAccount => {
                let namespace = self.namespace;
                let account = |text: &str| values::service_account(text, namespace);
                l4.service_accounts = self.list(&path, "values", yes, account);
                l4.not_service_accounts = self.list(&path, "notValues", no, account);
            }
            Key::TimeOfDay => {
                l4.times = self.list(&path, "values", yes, values::time_range);
                l4.not_times = self.list(&path, "notValues", no, values::time_range);
            }
        }
        Alternative { place, l4, l7 }
    }

    fn list<T>(
        &mut self,
        path: &str,
        field: &str,
        list: Option<&Vec<String>>,
        read: impl Fn(&str) -> Checked<T>,
    ) -> Vec<T> {
        if list.is_some_and(Vec::is_empty) {
            self.problem(format!("{path}.{field}"), "is an empty list", "fill it, or remove it to mean any");
        }
        let mut typed = Vec::new();
        for (i, text) in list.into_iter().flatten().enumerate() {
            match read(text) {
                Ok(value) => typed.push(value),
                Err(refusal) => self.problem(format!("{path}.{field}[{i}]"), refusal.reason, refusal.mend),
            }
        }
        typed
    }

    fn principals(&mut self, path: &str, field: &str, list: Option<&Vec<String>>) -> Vec<StringMatch> {
        let typed = self.list(path, field, list, values::principal);
        for matcher in typed.iter().filter(|matcher| values::never_a_principal(matcher)) {
            self.doubts.push(format!(
                "{path}.{field}: `{matcher}` can never match; write <trust domain>/ns/<namespace>/sa/<service account>"
            ));
        }
        typed
    }

    fn layer7(&mut self, path: &str, fields: &[(&str, &Option<Vec<String>>)]) -> Vec<String> {
        let mut names = Vec::new();
        for (field, list) in fields {
            match list {
                Some(list) if list.is_empty() => {
                    self.problem(format!("{path}.{field}"), "is an empty list", "fill it, or remove it to mean any");
                }
                Some(_) => names.push((*field).to_owned()),
                None => {}
            }
        }
        names
    }
}

/// Istio's rules for a selector: exact labels, with a key.
pub(super) fn check_selector(selector: &types::Selector) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (key, value) in &selector.match_labels {
        let reason = if key.is_empty() {
            "has a label without a key"
        } else if key.contains('*') || value.contains('*') {
            "has a label with `*`, and labels are compared exactly"
        } else {
            continue;
        };
        problems.push(Problem {
            path: format!("spec.selector.matchLabels[{key}]"),
            reason: reason.to_owned(),
            mend: "write the label as the pods have it".to_owned(),
        });
    }
    problems
}
