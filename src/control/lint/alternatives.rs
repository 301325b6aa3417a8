//! The trap of many guides: `from`, `to` and `when` in items of `rules` of their own. Items are
//! alternatives, so that a rule without a source lets in (or refuses) everybody.

use std::collections::BTreeSet;

use crate::kube::types::authorization::{Action, Rule};

use super::values::{Subject, of_key};
use super::world::World;
use super::{Code, Finding, Level};

/// What a rule asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Aspect {
    Address,
    Destination,
    Identity,
    /// L7 of the request: host, method, path, header.
    Request,
    /// A token.
    Token,
    Port,
    /// Another condition: a time, a name.
    Other,
}

pub(super) fn check(world: &World<'_>, findings: &mut Vec<Finding>) {
    for policy in &world.policies {
        let spec = &policy.object.spec;
        let verb = match spec.action {
            Action::Allow => "lets in",
            Action::Deny => "refuses",
            Action::Audit | Action::Custom => continue,
        };
        for (number, rule) in spec.rules.iter().enumerate() {
            let Some((other, is_split)) = beside(&spec.rules, number) else { continue };
            let only = parts(rule).join(" and ");
            let what =
                format!("rule {number} has only `{only}`, and rule {other} says who calls: the two are alternatives");
            let whom =
                if has_source(rule) { "everybody who fits it" } else { "everybody, with and without an identity," };
            // At L4 the rule is dropped; the trap shuts when a waypoint comes.
            let dropped = policy.policy.is_some_and(|p| p.groups.iter().all(|group| group.rule as usize != number));
            let where_ = if dropped { "once its L7 parts are judged, " } else { "" };
            let finding =
                Finding::new(Code::RulesAreAlternatives, policy.name(), format!("spec.rules[{number}]"), what)
                    .why(format!("{where_}rule {number} {verb} {whom} whatever rule {other} asks for"));
            findings.push(if is_split { finding } else { finding.level(Level::Note) });
        }
    }
}

/// The rule that a rule without `from` may have been torn from, and whether that is all but sure:
/// the two ask about different things, so that together they would make one rule.
fn beside(rules: &[Rule], number: usize) -> Option<(usize, bool)> {
    let rule = &rules[number];
    let own = aspects(rule);
    if rule.from.is_some() || own.is_empty() {
        return None;
    }
    let others = || rules.iter().enumerate().filter(|(other, rule)| *other != number && rule.from.is_some());
    if let Some((other, _)) = others().find(|(_, other)| aspects(other).is_disjoint(&own)) {
        return Some((other, true));
    }
    // It has a source of its own kind: another way to say who calls.
    if has_source(rule) {
        return None;
    }
    others().next().map(|(other, _)| (other, false))
}

fn parts(rule: &Rule) -> Vec<&'static str> {
    let parts = [("from", rule.from.is_some()), ("to", rule.to.is_some()), ("when", rule.when.is_some())];
    parts.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect()
}

fn has_source(rule: &Rule) -> bool {
    aspects(rule).iter().any(|aspect| matches!(aspect, Aspect::Address | Aspect::Identity | Aspect::Token))
}

fn aspects(rule: &Rule) -> BTreeSet<Aspect> {
    let mut aspects = BTreeSet::new();
    let mut add = |aspect, there: bool| {
        if there {
            aspects.insert(aspect);
        }
    };
    for source in rule.from.iter().flatten().filter_map(|from| from.source.as_ref()) {
        let names = [&source.principals, &source.namespaces, &source.service_accounts];
        let not_names = [&source.not_principals, &source.not_namespaces, &source.not_service_accounts];
        add(Aspect::Identity, names.into_iter().chain(not_names).any(Option::is_some));
        let addresses =
            [&source.ip_blocks, &source.not_ip_blocks, &source.remote_ip_blocks, &source.not_remote_ip_blocks];
        add(Aspect::Address, addresses.into_iter().any(Option::is_some));
        add(Aspect::Token, source.request_principals.is_some() || source.not_request_principals.is_some());
    }
    for operation in rule.to.iter().flatten().filter_map(|to| to.operation.as_ref()) {
        add(Aspect::Port, operation.ports.is_some() || operation.not_ports.is_some());
        let request = [&operation.hosts, &operation.methods, &operation.paths];
        let not_request = [&operation.not_hosts, &operation.not_methods, &operation.not_paths];
        add(Aspect::Request, request.into_iter().chain(not_request).any(Option::is_some));
    }
    for condition in rule.when.iter().flatten() {
        add(aspect_of(&condition.key), true);
    }
    aspects
}

fn aspect_of(key: &str) -> Aspect {
    match of_key(key) {
        Some(Subject::Destination) => Aspect::Destination,
        Some(Subject::Namespace | Subject::Principal | Subject::ServiceAccount) => Aspect::Identity,
        Some(Subject::Port) => Aspect::Port,
        Some(Subject::Source) => Aspect::Address,
        None if key == "remote.ip" => Aspect::Address,
        None if key.starts_with("request.auth.") => Aspect::Token,
        None if key.starts_with("request.headers") => Aspect::Request,
        None => Aspect::Other,
    }
}
