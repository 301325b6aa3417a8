//! Narrowing of rules to what L4 can judge, always to the safe side.
//!
//! An ALLOW or AUDIT rule with any L7 part never matches: it is dropped. A DENY rule loses its L7 parts and
//! so denies more. A source, operation or condition that is nothing but L7 would, without it, mean
//! "any": taken alone that would deny everything, which its author did not write. So a rule is read
//! in disjunctive form, one alternative of each clause at a time: what still says something is
//! enforced, and the combination of nothing but L7 is not.
//!
//! With clauses `C1 … Cn`, each `kept_i` (alternatives that still say something) or "any" (when
//! some alternative does not): when some clause has no "any", those clauses alone decide, ANDed,
//! because "any" swallows the other alternatives of its clause. When all have one, the rule is
//! `kept_1 OR … OR kept_n OR (any AND … AND any)`, and the last is not enforced.

use crate::control::policy::authorization::{Alternative, Rule};
use crate::model::policy::{Clause, Group, Match};

/// What is left of the rules of a policy, and what was lost.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Narrowed {
    pub groups: Vec<Group>,
    /// ALLOW and AUDIT rules that never match, with the fields that are to blame.
    pub dropped: Vec<String>,
    /// DENY rules that deny more than was written, with the fields that were lost.
    pub widened: Vec<String>,
    /// Rules or combinations that are not enforced.
    pub lost: Vec<String>,
}

/// Keeps the rules that L4 can judge as they are, for ALLOW and AUDIT.
pub(super) fn whole(rules: &[Rule]) -> Narrowed {
    let mut narrowed = Narrowed::default();
    for (number, rule) in (0_u32..).zip(rules) {
        let fields = layer7(rule);
        if fields.is_empty() {
            let clauses = rule.clauses.iter().map(|c| clause(c.alternatives.iter().map(|a| a.l4.clone()).collect()));
            narrowed.groups.push(Group { rule: number, clauses: clauses.collect() });
        } else {
            narrowed.dropped.push(format!("rule {number} ({})", fields.join(", ")));
        }
    }
    narrowed
}

pub(super) fn deny(rules: &[Rule]) -> Narrowed {
    let mut narrowed = Narrowed::default();
    for (number, rule) in (0_u32..).zip(rules) {
        let fields = layer7(rule);
        let kept: Vec<Vec<Match>> = rule.clauses.iter().map(|c| says_something(&c.alternatives)).collect();
        let whole: Vec<bool> = rule.clauses.iter().map(|c| c.alternatives.iter().all(|a| !a.l4.is_empty())).collect();
        // A rule without clauses matches everything, and its author wrote it so.
        if rule.clauses.is_empty() || whole.contains(&true) {
            let clauses = kept.into_iter().zip(whole).filter(|(_, whole)| *whole).map(|(matches, _)| clause(matches));
            narrowed.groups.push(Group { rule: number, clauses: clauses.collect() });
            if !fields.is_empty() {
                narrowed.widened.push(format!("rule {number} (without {})", fields.join(", ")));
            }
            continue;
        }
        let mut enforced = false;
        for matches in kept.into_iter().filter(|matches| !matches.is_empty()) {
            narrowed.groups.push(Group { rule: number, clauses: vec![clause(matches)] });
            enforced = true;
        }
        if enforced {
            narrowed.widened.push(format!("rule {number} (without {})", fields.join(", ")));
            narrowed.lost.push(format!("rule {number} as far as it is only {}", only_layer7(rule).join(" and ")));
        } else {
            narrowed.lost.push(format!("rule {number} (only {})", fields.join(", ")));
        }
    }
    narrowed
}

fn clause(matches: Vec<Match>) -> Clause {
    Clause { matches }
}

fn says_something(alternatives: &[Alternative]) -> Vec<Match> {
    alternatives.iter().filter(|a| !a.l4.is_empty()).map(|a| a.l4.clone()).collect()
}

/// The L7 fields of a rule, with their places.
fn layer7(rule: &Rule) -> Vec<String> {
    let alternatives = rule.clauses.iter().flat_map(|c| &c.alternatives);
    alternatives.flat_map(|a| a.l7.iter().map(|field| shown(a, field))).collect()
}

/// The places of a rule that are nothing but L7.
fn only_layer7(rule: &Rule) -> Vec<String> {
    let alternatives = rule.clauses.iter().flat_map(|c| &c.alternatives);
    alternatives.filter(|a| a.l4.is_empty()).map(|a| a.place.clone()).collect()
}

fn shown(alternative: &Alternative, field: &str) -> String {
    // A `when` entry carries its place in the name already.
    if alternative.place.starts_with("when") { field.to_owned() } else { format!("{}.{field}", alternative.place) }
}

#[cfg(test)]
mod tests;
