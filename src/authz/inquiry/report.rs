//! Every policy that is considered, in the order of evaluation, and what it says.

use std::fmt::{self, Formatter};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::authz::explain::{Attribute, actual, attribute, closest, failing_fields, is_set, nearest, wanted};
use crate::authz::matcher::{FIELDS, Facts, Field};
use crate::authz::{Decision, Reason, Request, evaluate};
use crate::mesh::{Applicable, Compiled};
use crate::model::name::NamespacedName;
use crate::model::policy::{Action, Group, Match, Scope};

/// The decision on one connection and everything that it rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub allowed: bool,
    /// A word: `allowed`, `no_allow_policy`, or why not as in [`crate::authz::Reason`].
    pub reason: String,
    /// `namespace/name` of the policy that decided, that is missing, or that came nearest to allowing.
    pub policy: Option<String>,
    /// Its rule, by its place in the object that a person wrote, from 0.
    pub rule: Option<u32>,
    /// One sentence, the same as in the access log.
    pub detail: String,
    /// Policies that the workload names and that have not arrived; with one of them nothing is allowed.
    pub missing: Vec<String>,
    /// Policies that the workload names and that were never sent, though all were: converted PeerAuthentications. With
    /// one of them no peer without identity is allowed.
    #[serde(default)]
    pub unsent: Vec<String>,
    /// DENY first, then ALLOW, each in the order in which they are tried; then those that decide nothing.
    pub policies: Vec<Considered>,
}

/// One policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Considered {
    /// `namespace/name`.
    pub policy: String,
    pub action: String,
    /// How it comes to the workload: `mesh`, `namespace` or `workload`.
    pub scope: String,
    pub standing: Standing,
    /// How many rules it has.
    pub rules: usize,
    /// The rule that fired, or the one that came nearest.
    pub rule: Option<u32>,
    /// Of that rule: what matched when it fired, what failed when it did not. At most [`MAX_FACTS`].
    pub facts: Vec<Fact>,
}

/// What a policy has to do with the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It fired, and that is the decision.
    Decided,
    /// It fires as well, and something before it has decided.
    Fires,
    /// It does not fire; of the ALLOW policies the one that came nearest.
    Nearest,
    /// It fires and decides nothing: AUDIT, or a dry run.
    Observes,
    /// It does not fire.
    Silent,
}

/// One attribute of one clause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fact {
    /// Place of the clause in its rule, from 0: all clauses of a rule must hold. `from`, `to` and each `when` make one.
    pub clause: usize,
    pub holds: bool,
    /// `wants port 80`, `refuses namespace a or b`, or `never matches`.
    pub asks: String,
    /// `the port is 81`; empty when nothing is asked.
    pub found: String,
}

/// A rule has a clause for each `when`, and nobody reads a hundred of them.
const MAX_FACTS: usize = 32;

/// Judges as [`evaluate`] does, and tells what each policy says.
pub fn report(request: &Request<'_>, applicable: &Applicable) -> Report {
    let decision = evaluate(request, applicable);
    let (reason, policy, rule, detail) = match &decision {
        Decision::Allow(permit) => {
            let reason = if permit.policy().is_none() { "no_allow_policy" } else { "allowed" };
            (reason, permit.policy().cloned(), permit.rule(), permit.to_string())
        }
        Decision::Deny(denial) => (denial.reason().as_str(), denial.policy(), denial.rule(), denial.to_string()),
    };
    // One that is missing is not among those that are here.
    let decider = policy.as_ref().filter(|_| reason != Reason::MissingPolicy.as_str());
    let enforced = || applicable.policies.iter().filter(|policy| policy.is_enforced());
    let with = |action| enforced().filter(move |policy| policy.action == action);
    let observers = applicable.policies.iter().filter(|policy| !policy.is_enforced());
    let policies = with(Action::Deny).chain(with(Action::Allow)).chain(observers);
    Report {
        allowed: decision.is_allow(),
        reason: reason.to_owned(),
        rule,
        detail,
        missing: applicable.missing.iter().map(ToString::to_string).collect(),
        unsent: applicable.unsent.iter().map(ToString::to_string).collect(),
        policies: policies.map(|policy| considered(request, policy, decider)).collect(),
        policy: policy.map(|key| key.to_string()),
    }
}

fn considered(request: &Request<'_>, policy: &Arc<Compiled>, decider: Option<&NamespacedName>) -> Considered {
    let facts = Facts::of(request).to(policy, request);
    let fired = facts.first(policy, request).and_then(|place| policy.groups.get(place));
    let decides = decider == Some(&policy.key);
    let near = || nearest(request, std::slice::from_ref(policy)).and_then(|near| near.group);
    let group = fired.or_else(near);
    let mut told = match group {
        Some(group) if fired.is_some() => matched(&facts, policy, group),
        Some(group) => failed(&facts, policy, group),
        None => Vec::new(),
    };
    told.truncate(MAX_FACTS);
    Considered {
        policy: policy.key.to_string(),
        action: match (policy.action, policy.dry_run) {
            (Action::Allow, false) => "ALLOW",
            (Action::Allow, true) => "ALLOW (dry run)",
            (Action::Audit, _) => "AUDIT",
            (Action::Deny, false) => "DENY",
            (Action::Deny, true) => "DENY (dry run)",
        }
        .to_owned(),
        scope: match policy.scope {
            Scope::Global => "mesh",
            Scope::Namespace => "namespace",
            Scope::Workload => "workload",
        }
        .to_owned(),
        standing: match (fired, decides) {
            (Some(_), _) if !policy.is_enforced() => Standing::Observes,
            (Some(_), true) => Standing::Decided,
            (Some(_), false) => Standing::Fires,
            (None, true) => Standing::Nearest,
            (None, false) => Standing::Silent,
        },
        rules: policy.groups.len(),
        rule: group.map(|group| group.rule),
        facts: told,
    }
}

/// Of each clause, what the first match that holds has asked.
fn matched(facts: &Facts<'_>, policy: &Compiled, group: &Group) -> Vec<Fact> {
    let mut told = Vec::new();
    for (clause, m) in group.clauses.iter().enumerate().filter_map(|(i, clause)| {
        let holding = clause.matches.iter().find(|m| facts.matches(m))?;
        Some((i, holding))
    }) {
        let set = FIELDS.into_iter().filter(|field| is_set(*field, m));
        told.extend(set.map(|field| Fact { holds: true, ..fact(facts, policy, clause, field, m) }));
    }
    told
}

/// Of each clause that fails, what its nearest match has asked in vain.
fn failed(facts: &Facts<'_>, policy: &Compiled, group: &Group) -> Vec<Fact> {
    let mut told = Vec::new();
    for (i, clause) in group.clauses.iter().enumerate().filter(|(_, clause)| !facts.clause(clause)) {
        let Some(m) = closest(facts, clause) else { continue };
        told.extend(failing_fields(facts, m).map(|field| fact(facts, policy, i, field, m)));
        if m.is_empty() {
            told.push(Fact { clause: i, holds: false, asks: "never matches".to_owned(), found: String::new() });
        }
    }
    told
}

fn fact(facts: &Facts<'_>, policy: &Compiled, clause: usize, field: Field, m: &Match) -> Fact {
    let (verb, values) = wanted(field, m);
    let found = Actual { attribute: attribute(field), facts, policy }.to_string();
    Fact { clause, holds: false, asks: format!("{verb} {values}"), found }
}

/// Displays what an attribute is.
struct Actual<'a> {
    attribute: Attribute,
    facts: &'a Facts<'a>,
    policy: &'a Compiled,
}

// === impl Actual ===

impl fmt::Display for Actual<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        actual(f, self.attribute, self.facts, self.policy)
    }
}

#[cfg(test)]
mod tests;
