//! The order of policies: missing, DENY, ALLOW.

use std::sync::Arc;

use crate::mesh::Applicable;
use crate::model::policy::{Action, Policy};

use super::Request;
use super::decision::{Cause, Decision, Denial, Permit};
use super::matcher::Facts;

/// Decides. What names a policy that is not here is refused, because that policy may be the one
/// that refuses. Then any DENY that fires refuses; then, if ALLOW policies apply, one must fire.
/// Allowing allocates nothing.
pub fn evaluate(request: &Request<'_>, applicable: &Applicable) -> Decision {
    let deny = |cause| Decision::Deny(Denial::new(request, cause));
    if let Some(key) = applicable.missing.first() {
        return deny(Cause::MissingPolicy(key.clone()));
    }
    let facts = Facts::of(request);
    let with = |action| applicable.policies.iter().filter(move |policy| policy.action == action);
    if let Some((policy, group)) = with(Action::Deny).find_map(|policy| fires(&facts, policy)) {
        return deny(Cause::Denied { policy: Arc::clone(policy), group });
    }
    if with(Action::Allow).next().is_none() {
        return Decision::Allow(Permit::new(None));
    }
    match with(Action::Allow).find_map(|policy| fires(&facts, policy)) {
        Some((policy, group)) => Decision::Allow(Permit::new(Some((Arc::clone(policy), group)))),
        None => deny(Cause::NoneAllowed(with(Action::Allow).cloned().collect())),
    }
}

/// The first group of a policy that fires.
fn fires<'a>(facts: &Facts<'_>, policy: &'a Arc<Policy>) -> Option<(&'a Arc<Policy>, usize)> {
    policy.groups.iter().position(|group| facts.group(group)).map(|group| (policy, group))
}
