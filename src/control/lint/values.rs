//! The values of a policy's rules, each with its place and with what it speaks of.

use crate::kube::types::authorization::{Action, AuthorizationSpec};

/// What a value speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Destination,
    Namespace,
    Port,
    Principal,
    ServiceAccount,
    Source,
}

/// One entry of one list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value<'a> {
    /// Such as `spec.rules[1].from[0].source.principals[0]`.
    pub path: String,
    pub subject: Subject,
    /// It stands in a list that starts with `not`.
    pub negated: bool,
    pub text: &'a str,
}

type List<'a> = (&'a str, Subject, bool, Option<&'a Vec<String>>);

/// Every value that L4 judges, in the order of the object.
pub(super) fn values(spec: &AuthorizationSpec) -> Vec<Value<'_>> {
    let mut all = Vec::new();
    for (number, rule) in spec.rules.iter().enumerate() {
        let rule_path = format!("spec.rules[{number}]");
        for (i, source) in rule.from.iter().flatten().enumerate() {
            let Some(source) = &source.source else { continue };
            let path = format!("{rule_path}.from[{i}].source");
            for list in [
                ("principals", Subject::Principal, false, source.principals.as_ref()),
                ("notPrincipals", Subject::Principal, true, source.not_principals.as_ref()),
                ("namespaces", Subject::Namespace, false, source.namespaces.as_ref()),
                ("notNamespaces", Subject::Namespace, true, source.not_namespaces.as_ref()),
                ("serviceAccounts", Subject::ServiceAccount, false, source.service_accounts.as_ref()),
                ("notServiceAccounts", Subject::ServiceAccount, true, source.not_service_accounts.as_ref()),
                ("ipBlocks", Subject::Source, false, source.ip_blocks.as_ref()),
                ("notIpBlocks", Subject::Source, true, source.not_ip_blocks.as_ref()),
            ] {
                all.extend(entries(&path, list));
            }
        }
        for (i, to) in rule.to.iter().flatten().enumerate() {
            let Some(operation) = &to.operation else { continue };
            let path = format!("{rule_path}.to[{i}].operation");
            all.extend(entries(&path, ("ports", Subject::Port, false, operation.ports.as_ref())));
            all.extend(entries(&path, ("notPorts", Subject::Port, true, operation.not_ports.as_ref())));
        }
        for (i, condition) in rule.when.iter().flatten().enumerate() {
            let Some(subject) = of_key(&condition.key) else { continue };
            let path = format!("{rule_path}.when[{i}]");
            all.extend(entries(&path, ("values", subject, false, condition.values.as_ref())));
            all.extend(entries(&path, ("notValues", subject, true, condition.not_values.as_ref())));
        }
    }
    all
}

fn entries<'a>(path: &str, (field, subject, negated, list): List<'a>) -> Vec<Value<'a>> {
    let value = |(i, text): (usize, &'a String)| Value { path: format!("{path}.{field}[{i}]"), subject, negated, text };
    list.into_iter().flatten().enumerate().map(value).collect()
}

/// What a `when` key speaks of; `None` for what is not compared with workloads.
pub(super) fn of_key(key: &str) -> Option<Subject> {
    Some(match key {
        "destination.ip" => Subject::Destination,
        "destination.port" => Subject::Port,
        "source.ip" => Subject::Source,
        "source.namespace" => Subject::Namespace,
        "source.principal" => Subject::Principal,
        "source.serviceAccount" => Subject::ServiceAccount,
        _ => return None,
    })
}

/// What becomes of a rule whose value nobody has.
pub(super) const fn consequence(action: Action, negated: bool) -> &'static str {
    match (action, negated) {
        (_, true) => "nobody is excepted by it",
        (Action::Allow, false) => "nobody is let in by it",
        (Action::Deny, false) => "nobody is refused by it",
        (Action::Audit | Action::Custom, false) => "it never applies",
    }
}
