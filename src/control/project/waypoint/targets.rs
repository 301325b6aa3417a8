//! AuthorizationPolicies with `targetRefs`: who judges them, or nobody.

use std::sync::Arc;

use crate::control::policy::authorization;
use crate::kube::types::authorization::{AuthorizationSpec, TargetReference};
use crate::model::name::NamespacedName;

use super::super::status::{Level, Reason, Status};
use super::apply::Parties;
use super::declared::Waypoints;
use super::labels;

const KIND: &str = "AuthorizationPolicy";
/// How many waypoints are told by name.
const MAX_NAMES: usize = 3;

/// Who judges a policy at one target, or why nobody does.
type Judge = Result<String, (Reason, String)>;

/// One status for each policy with targets. One that is broken or tried out has its own already.
pub(super) fn statuses(waypoints: &Waypoints<'_>, parties: &Parties<'_>, statuses: &mut Vec<Status>) {
    for (key, object) in &waypoints.index.authorization_policies {
        match authorization::parse(object) {
            Ok(parsed) if parsed.has_targets => {}
            _ => continue,
        }
        let judges: Vec<_> = targets(&object.spec).map(|target| judge(waypoints, parties, key, target)).collect();
        let (level, reason, message) = together(&judges);
        statuses.push(Status { kind: KIND, key: key.clone(), level, reason, message });
    }
}

fn targets(spec: &AuthorizationSpec) -> impl Iterator<Item = &TargetReference> {
    spec.target_ref.iter().chain(spec.target_refs.iter().flatten())
}

/// Istio's rule for several targets: one reason for all of them.
fn together(judges: &[Judge]) -> (Level, Reason, String) {
    const MEND: &str = "or use a selector to have it judged at L4";
    let judged: Vec<_> = judges.iter().filter_map(|judge| judge.as_ref().ok().cloned()).collect();
    let lost: Vec<_> = judges.iter().filter_map(|judge| judge.as_ref().err()).collect();
    let why = lost.iter().map(|(_, why)| why.as_str()).collect::<Vec<_>>().join("; ");
    match (lost.as_slice(), judged.as_slice()) {
        ([], _) => {
            (Level::Info, Reason::WaypointAccepted, format!("judged by {}, and not at L4", judged.join(" and ")))
        }
        ([(reason, why)], []) => (Level::NotEnforced, *reason, format!("nobody judges it: {why}; {MEND}")),
        (_, []) => (Level::NotEnforced, Reason::Invalid, format!("nobody judges it: {why}; {MEND}")),
        (_, judged) => {
            let message = format!("judged by {}, and by nobody elsewhere: {why}", judged.join(" and "));
            (Level::NotEnforced, Reason::PartiallyInvalid, message)
        }
    }
}

fn judge(waypoints: &Waypoints<'_>, parties: &Parties<'_>, policy: &NamespacedName, target: &TargetReference) -> Judge {
    let TargetReference { group, kind, name, namespace } = target;
    let refuse = |reason, why| Err((reason, why));
    let key = NamespacedName::new(Arc::clone(&policy.namespace), name.as_str());
    if !namespace.is_empty() && **namespace != *policy.namespace {
        return refuse(Reason::Invalid, format!("{kind} {namespace}/{name} is of another namespace than the policy"));
    }
    let missing = || (Reason::TargetNotFound, format!("there is no {kind} {key}"));
    match (group.as_str(), kind.as_str()) {
        ("gateway.networking.k8s.io", "Gateway") => {
            let waypoint = waypoints.get(&key).ok_or_else(missing)?;
            match &waypoint.address {
                Ok(_) => Ok(format!("the waypoint {key}")),
                Err(why) => {
                    refuse(Reason::AncestorNotBound, format!("Gateway {key} is no waypoint that is ready: {why}"))
                }
            }
        }
        ("gateway.networking.k8s.io", "GatewayClass") => of_class(waypoints, &policy.namespace, name),
        ("" | "core", "Service") | ("networking.istio.io", "ServiceEntry") => {
            let mut served =
                parties.services.values().filter(|served| served.object.kind == kind && *served.object.key == key);
            let bound = &served.next().ok_or_else(missing)?.bound;
            match (&bound.refusal, bound.usable.as_slice()) {
                (Some(refusal), _) => refuse(
                    Reason::AncestorNotBound,
                    format!("{kind} {key} is refused until its waypoint is mended: {}", refusal.message),
                ),
                (None, []) => refuse(
                    Reason::AncestorNotBound,
                    format!("{kind} {key} has no waypoint; name one with its label {}", labels::USE),
                ),
                (None, usable) => Ok(names(usable)),
            }
        }
        _ => refuse(
            Reason::Invalid,
            format!("`{kind}` of group `{group}` is no target; name a Gateway, GatewayClass, Service or ServiceEntry"),
        ),
    }
}

/// All waypoints of a class: for the whole mesh, so only from the root namespace.
fn of_class(waypoints: &Waypoints<'_>, namespace: &Arc<str>, class: &str) -> Judge {
    let root = &waypoints.settings.root_namespace;
    if namespace != root {
        return Err((Reason::Invalid, format!("a GatewayClass is a target of policies in namespace {root} only")));
    }
    // Istio makes its own class when it starts; a directory need not repeat it.
    match waypoints.index.gateway_classes.get(class) {
        None if class != labels::CLASS => {
            return Err((Reason::TargetNotFound, format!("there is no GatewayClass {class}")));
        }
        Some(object) if object.spec.controller_name != labels::CONTROLLER => {
            let controller = &object.spec.controller_name;
            let why = format!("GatewayClass {class} is of {controller}, and not of {}", labels::CONTROLLER);
            return Err((Reason::Invalid, why));
        }
        _ => {}
    }
    let gateways = waypoints.index.gateways.iter().filter(|(_, object)| object.spec.gateway_class_name == class);
    let ready = gateways.filter(|(key, _)| waypoints.get(key).is_some_and(|waypoint| waypoint.address.is_ok()));
    let ready: Vec<_> = ready.map(|(key, _)| key.clone()).collect();
    if ready.is_empty() {
        return Err((Reason::AncestorNotBound, format!("no waypoint of class {class} is ready")));
    }
    Ok(names(&ready))
}

fn names(keys: &[NamespacedName]) -> String {
    let shown: Vec<_> = keys.iter().take(MAX_NAMES).map(|key| format!("the waypoint {key}")).collect();
    let more = keys.len().saturating_sub(MAX_NAMES);
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(" and ") }
}
