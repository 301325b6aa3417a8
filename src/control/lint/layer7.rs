//! Rules with L7 parts, and what is left of them at L4.

use crate::control::policy::authorization::Rule;
use crate::model::policy::Action;

use super::world::{Authored, World};
use super::{Code, Finding, words};

pub(super) fn check(world: &World<'_>, findings: &mut Vec<Finding>) {
    for authored in &world.policies {
        let (Some(parsed), Some(policy)) = (&authored.parsed, authored.policy) else { continue };
        let mut lost = 0;
        for (number, rule) in (0_u32..).zip(&parsed.rules) {
            let fields = fields(rule);
            if fields.is_empty() {
                continue;
            }
            lost += 1;
            let groups: Vec<_> = policy.groups.iter().filter(|group| group.rule == number).collect();
            match policy.action {
                Action::Allow => findings.push(never_matches(authored, number, &fields, "nobody is let in by it")),
                Action::Audit => findings.push(never_matches(authored, number, &fields, "nothing is counted by it")),
                // What is nothing but L7 has a status of its own.
                Action::Deny if groups.is_empty() => {}
                Action::Deny => {
                    let refused: Vec<_> = groups.into_iter().map(words::group).collect();
                    let what = format!("L4 cannot judge {}, so the rule is enforced without", fields.join(", "));
                    let path = format!("spec.rules[{number}]");
                    findings.push(
                        Finding::new(Code::DenyWidened, authored.name(), path, what)
                            .why(format!("it refuses {}, whatever they ask for", refused.join("; and "))),
                    );
                }
            }
        }
        if policy.action == Action::Allow && lost > 0 && policy.groups.is_empty() {
            let what = "every rule has L7 parts, and none of them can match at L4";
            findings.push(
                Finding::new(Code::AllowsNobody, authored.name(), "spec.rules", what)
                    .why("everybody is refused, unless another ALLOW policy lets them in"),
            );
        }
    }
}

fn never_matches(authored: &Authored<'_>, number: u32, fields: &[String], why: &str) -> Finding {
    let what = format!("L4 cannot judge {}, so the rule never matches", fields.join(", "));
    Finding::new(Code::Layer7NeverMatches, authored.name(), format!("spec.rules[{number}]"), what).why(why)
}

/// The L7 fields of a rule, with their places.
fn fields(rule: &Rule) -> Vec<String> {
    let alternatives = rule.clauses.iter().flat_map(|clause| &clause.alternatives);
    let shown = |place: &str, field: &String| {
        // A `when` entry carries its place in the name already.
        if place.starts_with("when") { field.clone() } else { format!("{place}.{field}") }
    };
    alternatives.flat_map(|a| a.l7.iter().map(|field| shown(&a.place, field))).collect()
}
