//! Policies for pods that are not in the mesh: nobody enforces them there.

use crate::control::policy::authorization::split_selector;
use crate::model::membership::{Membership, OutReason};
use crate::model::name::NamespacedName;

use super::world::{Covered, World, is_gateway};
use super::{Code, Finding, Object};

/// How many pods are named.
const MOST: usize = 3;

pub(super) fn check(world: &World<'_>, findings: &mut Vec<Finding>) {
    for policy in world.policies.iter().filter(|policy| !policy.has_targets()) {
        let covered = policy.covered(world);
        findings.extend(finding(world, policy.name(), policy.key, policy.selector().is_some(), &covered));
    }
    for (key, object) in &world.index.peer_authentications {
        let (selector, _) = split_selector(object.spec.selector.as_ref());
        let covered = world.covered(&key.namespace, selector.as_ref());
        let object = Object::new("PeerAuthentication", key);
        findings.extend(finding(world, object, key, selector.is_some(), &covered));
    }
}

fn finding(
    world: &World<'_>,
    object: Object,
    key: &NamespacedName,
    has_selector: bool,
    covered: &[Covered<'_>],
) -> Option<Finding> {
    // A gateway judges for itself.
    let covered: Vec<_> = covered.iter().filter(|c| !is_gateway(c.pod)).collect();
    let out: Vec<_> = covered.iter().filter(|c| stays_out(c.membership)).collect();
    let first = out.first()?;
    let named: Vec<_> = out.iter().take(MOST).map(|c| c.pod.pod.key.to_string()).collect();
    let more = if out.len() > MOST { format!(" and {} more", out.len() - MOST) } else { String::new() };
    let reason = first.membership.to_string();
    let reason = reason.strip_prefix("out: ").unwrap_or(&reason);
    let whole = out.len() == covered.len();
    let code = if whole { Code::NotInMesh } else { Code::PartlyInMesh };
    let what = format!(
        "{} of {} pods that it covers are not in the mesh: {}{more}",
        out.len(),
        covered.len(),
        named.join(", ")
    );
    let path = if has_selector { "spec.selector" } else { "" };
    let finding = Finding::new(code, object, path, what)
        .why(format!("nobody enforces it for them; of {}, {reason}", first.pod.pod.key));
    // Who writes for the whole mesh knows that not everything is in it; `whole-mesh` counts it.
    let for_all = !has_selector && key.namespace == world.settings.root_namespace;
    (whole || !for_all).then_some(finding)
}

/// True when no address and no time will bring it in.
pub(super) const fn stays_out(membership: Membership) -> bool {
    match membership {
        Membership::In(_) | Membership::Out(OutReason::Finished | OutReason::NoAddress) => false,
        Membership::Out(OutReason::HostNetwork | OutReason::NoLabel | OutReason::PodLabelNone | OutReason::Sidecar) => {
            true
        }
    }
}
