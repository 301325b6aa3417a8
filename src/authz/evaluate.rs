//! The order of policies: DENY, missing, ALLOW, unsent.

use std::sync::Arc;

use crate::mesh::{Applicable, Compiled};
use crate::model::policy::Action;

use super::Request;
use super::decision::{Cause, Decision, Denial, Permit};
use super::matcher::Facts;

/// Decides. Any DENY that fires refuses, whatever else there is. Then what names a policy that is not here is refused,
/// because that policy may be the one that refuses, or the one that allows. Then, if ALLOW policies apply, one must
/// fire. Last, a peer without identity is refused where a converted PeerAuthentication is named and never came, because
/// that is all that it can refuse. So a refusal for a missing policy is one that nothing else has made certain: it does
/// not end what lives. Policies that are tried out, and AUDIT, take no part. Allowing allocates nothing.
pub fn evaluate(request: &Request<'_>, applicable: &Applicable) -> Decision {
    let deny = |cause| Decision::Deny(Denial::new(request, cause));
    let facts = Facts::of(request);
    let enforced = || applicable.policies.iter().filter(|policy| policy.is_enforced());
    let with = |action| enforced().filter(move |policy| policy.action == action);
    let fires = |policy: &Arc<Compiled>| facts.first(policy, request).map(|group| (Arc::clone(policy), group));
    if let Some((policy, group)) = with(Action::Deny).find_map(fires) {
        return deny(Cause::Denied { policy, group });
    }
    if let Some(key) = applicable.missing.first() {
        return deny(Cause::MissingPolicy(key.clone()));
    }
    let by = with(Action::Allow).find_map(fires);
    if by.is_none() && with(Action::Allow).next().is_some() {
        return deny(Cause::NoneAllowed(with(Action::Allow).cloned().collect()));
    }
    match applicable.unsent.first() {
        Some(key) if request.peer.is_none() => deny(Cause::UnsentPolicy(key.clone())),
        _ => Decision::Allow(Permit::new(by)),
    }
}
