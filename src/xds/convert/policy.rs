//! Policies.

use crate::model::name::NamespacedName;
use crate::model::policy::{Action, Clause, Group, Policy, Scope};
use crate::model::timezone::Zone;
use crate::proto::extension::{Audit, RuleNumbers, TimeZone};
use crate::proto::security as wire;

use super::outcome::{Checked, Decoded, Fault, LeftOut, Refused, message};
use super::{extension, matching};

pub fn encode(policy: &Policy) -> wire::Authorization {
    let Policy { key: NamespacedName { namespace, name }, scope, action, dry_run, zone, groups } = policy;
    let scope = match scope {
        Scope::Global => wire::Scope::Global,
        Scope::Namespace => wire::Scope::Namespace,
        Scope::Workload => wire::Scope::WorkloadSelector,
    };
    let all: Vec<_> = groups.iter().map(|group| encode_group(group, *action)).collect();
    let mut extensions = Vec::new();
    // Whoever does not know AUDIT is to do nothing with it: a DENY that is only tried out, and has nothing to try.
    let (plain_action, dry_run, plain) = match action {
        Action::Allow => (wire::Action::Allow, *dry_run, all),
        Action::Deny => (wire::Action::Deny, *dry_run, all),
        Action::Audit => {
            extensions.push(extension::pack(&Audit { groups: all }));
            (wire::Action::Deny, true, Vec::new())
        }
    };
    let in_order = (0_u32..).zip(groups).all(|(index, group)| group.rule == index);
    if !in_order {
        extensions.push(extension::pack(&RuleNumbers { rules: groups.iter().map(|group| group.rule).collect() }));
    }
    if *zone != Zone::utc() {
        extensions.push(extension::pack(&TimeZone { name: zone.name().to_owned() }));
    }
    wire::Authorization {
        name: name.as_ref().into(),
        namespace: namespace.as_ref().into(),
        scope: scope.into(),
        action: plain_action.into(),
        groups: plain,
        dry_run,
        extensions,
    }
}

/// [`decode`] of bytes.
pub fn read(resource: &str, bytes: &[u8]) -> Result<Decoded<Policy>, Refused> {
    decode(resource, message(resource, bytes)?)
}

/// `resource` is the name that the sender gave it, for messages.
pub fn decode(resource: &str, message: wire::Authorization) -> Result<Decoded<Policy>, Refused> {
    let mut left_out = LeftOut::default();
    let value = checked(message, &mut left_out).map_err(|fault| fault.of(resource))?;
    Ok(Decoded { value, left_out })
}

fn checked(message: wire::Authorization, left_out: &mut LeftOut) -> Checked<Policy> {
    let wire::Authorization { name, namespace, scope, action, groups, dry_run, extensions } = message;
    for (field, text) in [("namespace", &namespace), ("name", &name)] {
        if text.is_empty() || text.contains('/') {
            return Err(Fault::new(text, "it is a part of the policy's key, <namespace>/<name>").within(field));
        }
    }
    let scope = match wire::Scope::try_from(scope) {
        Ok(wire::Scope::Global) => Scope::Global,
        Ok(wire::Scope::Namespace) => Scope::Namespace,
        Ok(wire::Scope::WorkloadSelector) => Scope::Workload,
        Err(_) => return Err(Fault::new(scope, "scopes 0 to 2 are known").within("scope")),
    };
    let action = match wire::Action::try_from(action) {
        Ok(wire::Action::Allow) => Action::Allow,
        Ok(wire::Action::Deny) => Action::Deny,
        Err(_) => return Err(Fault::new(action, "0 (ALLOW) and 1 (DENY) are known").within("action")),
    };
    let (action, dry_run, groups) = match extension::find::<Audit>(&extensions)? {
        Some(audit) => (Action::Audit, false, audit.groups),
        None => (action, dry_run, groups),
    };
    let zone = extension::find::<TimeZone>(&extensions)?.map_or_else(Zone::utc, |zone| Zone::named(&zone.name));
    let numbers = rule_numbers(&extensions, groups.len()).unwrap_or_else(|fault| {
        left_out.add(fault);
        None
    });
    let mut kept = Vec::with_capacity(groups.len());
    for (index, (place, group)) in (0_u32..).zip(groups.into_iter().enumerate()) {
        let rule = numbers.as_ref().and_then(|numbers| numbers.get(place)).copied().unwrap_or(index);
        let within = |fault: Fault| fault.within_item("groups", place);
        match (decode_group(group, action), action) {
            (Ok((clauses, lost)), _) => {
                left_out.append(lost, within);
                kept.push(Group { rule, clauses });
            }
            (Err(fault), Action::Allow | Action::Audit) => left_out.add(within(fault)),
            (Err(fault), Action::Deny) => return Err(within(fault)),
        }
    }
    Ok(Policy { key: NamespacedName::new(namespace, name), scope, action, dry_run, zone, groups: kept })
}

fn encode_group(group: &Group, action: Action) -> wire::Group {
    let clause =
        |clause: &Clause| wire::Rules { matches: clause.matches.iter().map(|m| matching::encode(m, action)).collect() };
    wire::Group { rules: group.clauses.iter().map(clause).collect() }
}

fn decode_group(group: wire::Group, action: Action) -> Checked<(Vec<Clause>, LeftOut)> {
    let mut left_out = LeftOut::default();
    let clauses = (0_usize..).zip(group.rules).map(|(rule, rules)| {
        let matches = (0_usize..).zip(rules.matches).map(|(place, m)| {
            let within = |fault: Fault| fault.within_item("matches", place).within_item("rules", rule);
            let (m, lost) = matching::decode(m, action).map_err(within)?;
            left_out.append(lost, within);
            Ok(m)
        });
        Ok(Clause { matches: matches.collect::<Checked<_>>()? })
    });
    let clauses = clauses.collect::<Checked<_>>()?;
    Ok((clauses, left_out))
}

/// For messages alone, so one that does not fit is no reason to refuse.
fn rule_numbers(extensions: &[crate::proto::workload::Extension], groups: usize) -> Checked<Option<Vec<u32>>> {
    match extension::find::<RuleNumbers>(extensions)? {
        Some(RuleNumbers { rules }) if rules.len() != groups => {
            Err(Fault::new(rules, "one number a group").within("extensions.rules"))
        }
        numbers => Ok(numbers.map(|numbers| numbers.rules)),
    }
}
