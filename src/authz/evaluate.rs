//! The order of policies: missing, DENY, ALLOW.

use std::sync::Arc;

use crate::mesh::{Applicable, Compiled};
use crate::model::policy::Action;

use super::Request;
use super::decision::{Cause, Decision, Denial, Permit};
use super::matcher::Facts;

/// Decides. What names a policy that is not here is refused, because that policy may be the one
/// that refuses. Then any DENY that fires refuses; then, if ALLOW policies apply, one must fire.
/// Policies that are tried out, and AUDIT, take no part. Allowing allocates nothing.
pub fn evaluate(request: &Request<'_>, applicable: &Applicable) -> Decision {
    let deny = |cause| Decision::Deny(Denial::new(request, cause));
    if let Some(key) = applicable.missing.first() {
        return deny(Cause::MissingPolicy(key.clone()));
    }
    let facts = Facts::of(request);
    let enforced = || applicable.policies.iter().filter(|policy| policy.is_enforced());
    let with = |action| enforced().filter(move |policy| policy.action == action);
    let fires = |policy: &Arc<Compiled>| facts.first(policy, request).map(|group| (Arc::clone(policy), group));
    if let Some((policy, group)) = with(Action::Deny).find_map(fires) {
        return deny(Cause::Denied { policy, group });
    }
    if with(Action::Allow).next().is_none() {
        return Decision::Allow(Permit::new(None));
    }
    match with(Action::Allow).find_map(fires) {
        Some(by) => Decision::Allow(Permit::new(Some(by))),
        None => deny(Cause::NoneAllowed(with(Action::Allow).cloned().collect())),
    }
}
