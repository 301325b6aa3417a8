//! Rules that never decide anything: covered by another rule, refused by a DENY, or not there.

use std::collections::BTreeMap;

use crate::kube::types::authorization::Action as Written;
use crate::kube::types::meta::StringMap;
use crate::model::policy::{Action, Group, Policy, Scope};

use super::world::{Authored, World};
use super::{Code, Finding, subsume};

/// Rules of one policy that are compared with each other, and with those of one DENY: the time grows
/// with the square. Istio's own objects of this size do not fit into etcd.
const MOST: usize = 500;

pub(super) fn check(world: &World<'_>, findings: &mut Vec<Finding>) {
    let denies: Vec<_> = world
        .policies
        .iter()
        .filter(|p| p.policy.is_some_and(|p| p.action == Action::Deny && p.is_enforced()))
        .collect();
    for authored in &world.policies {
        if authored.object.spec.rules.is_empty() && !authored.has_targets() {
            findings.extend(without_rules(authored));
        }
        let Some(policy) = authored.policy.filter(|policy| policy.groups.len() <= MOST) else { continue };
        findings.extend(unreachable(policy).into_iter().map(|(rule, by)| {
            let what = format!("rule {by} already covers all that rule {rule} does");
            Finding::new(Code::UnreachableRule, authored.name(), format!("spec.rules[{rule}]"), what)
                .why("it changes nothing; rules are alternatives, and their order does not matter")
        }));
        if policy.action == Action::Allow && policy.is_enforced() {
            denied(authored, policy, &denies, findings);
        }
    }
}

fn without_rules(authored: &Authored<'_>) -> Option<Finding> {
    let (code, what, why) = match authored.object.spec.action {
        Written::Allow => (
            Code::DeniesEverybody,
            "an ALLOW policy without rules",
            "nobody may connect to what it covers, unless another ALLOW policy lets them",
        ),
        Written::Deny => (Code::DeniesNobody, "a DENY policy without rules", "it refuses nothing"),
        Written::Audit | Written::Custom => return None,
    };
    Some(Finding::new(code, authored.name(), "spec.rules", what).why(why))
}

/// The groups of each rule.
fn by_rule(policy: &Policy) -> BTreeMap<u32, Vec<&Group>> {
    let mut rules: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for group in &policy.groups {
        rules.entry(group.rule).or_default().push(group);
    }
    rules
}

/// Rules that can be taken out of a policy and change no decision, all of them together, each with
/// the rule that covers (the first of) it. Of two equal ones the later goes.
pub(super) fn unreachable(policy: &Policy) -> Vec<(u32, u32)> {
    let mut left = by_rule(policy);
    let mut found = Vec::new();
    let rules: Vec<u32> = left.keys().rev().copied().collect();
    for rule in rules {
        // Only what is left covers: two that cover each other must not both go.
        let covering = |narrow: &&Group| {
            let others = left.iter().filter(|(other, _)| **other != rule);
            others
                .flat_map(|(other, groups)| groups.iter().map(move |wide| (*other, *wide)))
                .find(|(_, wide)| subsume::group(wide, narrow))
                .map(|(other, _)| other)
        };
        let by: Option<Vec<u32>> = left.get(&rule).and_then(|groups| groups.iter().map(covering).collect());
        if let Some(by) = by.and_then(|by| by.first().copied()) {
            left.remove(&rule);
            found.push((rule, by));
        }
    }
    found.reverse();
    found
}

/// ALLOW rules all of which a DENY policy of equal or wider scope refuses.
fn denied(authored: &Authored<'_>, allow: &Policy, denies: &[&Authored<'_>], findings: &mut Vec<Finding>) {
    for (rule, groups) in by_rule(allow) {
        let comparable = |deny: &Policy| deny.groups.len() <= MOST && (deny.zone == allow.zone || !deny.is_timed());
        let wide = denies.iter().filter(|deny| is_wider(deny, authored));
        let by = wide
            .filter_map(|deny| Some((deny, deny.policy.filter(|deny| comparable(deny))?)))
            .find(|(_, deny)| groups.iter().all(|narrow| deny.groups.iter().any(|wide| subsume::group(wide, narrow))));
        if let Some((deny, _)) = by {
            let what = format!("the DENY policy {} refuses all that rule {rule} lets in", deny.key);
            findings.push(
                Finding::new(Code::DeniedAnyway, authored.name(), format!("spec.rules[{rule}]"), what)
                    .why("DENY policies are judged first, so the rule lets nobody in"),
            );
        }
    }
}

/// True when every workload that `narrow` covers is covered by `wide`.
fn is_wider(wide: &Authored<'_>, narrow: &Authored<'_>) -> bool {
    let (Some(outer), Some(inner)) = (wide.policy, narrow.policy) else { return false };
    let same_namespace = wide.key.namespace == narrow.key.namespace;
    let selects_more =
        |wide: &StringMap, narrow: &StringMap| wide.iter().all(|(key, value)| narrow.get(key) == Some(value));
    match (outer.scope, inner.scope) {
        (Scope::Global, _) => true,
        (Scope::Namespace, Scope::Namespace | Scope::Workload) => same_namespace,
        (Scope::Workload, Scope::Workload) => match (wide.selector(), narrow.selector()) {
            (Some(wide), Some(narrow)) => same_namespace && selects_more(&wide, &narrow),
            _ => false,
        },
        (Scope::Namespace | Scope::Workload, _) => false,
    }
}
