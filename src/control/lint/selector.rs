//! Selectors that select nothing, or everything.

use crate::control::policy::authorization::split_selector;
use crate::kube::types::authorization::Selector;
use crate::kube::types::meta::StringMap;
use crate::model::name::NamespacedName;
use crate::model::nearest::nearest;

use super::membership::stays_out;
use super::world::World;
use super::{Code, Finding, Object};

/// The key, kind and selector of every policy that pods are selected for.
fn selectors<'a>(world: &World<'a>) -> impl Iterator<Item = (Object, &'a NamespacedName, Option<&'a Selector>)> {
    let authorization = world
        .index
        .authorization_policies
        .iter()
        .filter(|(_, object)| object.spec.target_ref.is_none() && object.spec.target_refs.is_none());
    let authorization =
        authorization.map(|(key, o)| (Object::new("AuthorizationPolicy", key), key, o.spec.selector.as_ref()));
    let peers = world.index.peer_authentications.iter();
    authorization.chain(peers.map(|(key, o)| (Object::new("PeerAuthentication", key), key, o.spec.selector.as_ref())))
}

/// A selector without labels, which its author surely took for "none".
pub(super) fn empty(world: &World<'_>, findings: &mut Vec<Finding>) {
    for (object, key, selector) in selectors(world) {
        let (_, true) = split_selector(selector) else { continue };
        let root = key.namespace == world.settings.root_namespace;
        let scope = if root { "the whole mesh".to_owned() } else { format!("all of namespace {}", key.namespace) };
        let what = "the selector has no labels and counts as none".to_owned();
        findings.push(
            Finding::new(Code::EmptySelector, object, "spec.selector", what).why(format!("the policy covers {scope}")),
        );
    }
}

/// What selects no pod, and what is for the whole mesh.
pub(super) fn check(world: &World<'_>, findings: &mut Vec<Finding>) {
    for (object, key, selector) in selectors(world) {
        let (labels, _) = split_selector(selector);
        let is_root = key.namespace == world.settings.root_namespace;
        let is_peer = object.kind == "PeerAuthentication";
        let covered = world.covered(&key.namespace, labels.as_ref());
        if is_root && labels.is_none() && !is_peer {
            let out = covered.iter().filter(|covered| stays_out(covered.membership)).count();
            let outside = if out == 0 { String::new() } else { format!(", {out} of them not in the mesh") };
            let count = covered.len();
            let what =
                format!("it has no selector and stands in the root namespace: it covers {count} workloads{outside}");
            findings
                .push(Finding::new(Code::WholeMesh, object, "spec.selector", what).why("every namespace is under it"));
        } else if covered.is_empty() && !(is_root && is_peer) {
            findings.push(nothing(world, object, key, labels.as_ref()));
        }
    }
}

fn nothing(world: &World<'_>, object: Object, key: &NamespacedName, labels: Option<&StringMap>) -> Finding {
    let namespace = &*key.namespace;
    let finding = |path, what: String| {
        Finding::new(Code::SelectsNothing, object, path, what).why("it does nothing until such a pod comes")
    };
    let Some(labels) = labels.filter(|_| !world.covered(namespace, None).is_empty()) else {
        let finding = finding("metadata.namespace", format!("namespace {namespace} has no pods"));
        let near = nearest(namespace, world.inhabited());
        return match near {
            Some(near) if !world.is_declared(namespace) => finding.mend(format!("did you mean `{near}`?")),
            _ => finding,
        };
    };
    let shown: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let everywhere = key.namespace == world.settings.root_namespace;
    let place = if everywhere { "of the mesh".to_owned() } else { format!("of namespace {namespace}") };
    let finding = finding("spec.selector.matchLabels", format!("no pod {place} has {}", shown.join(", ")));
    match hint(world, namespace, labels) {
        Some(hint) => finding.mend(hint),
        None => finding,
    }
}

/// What the first label that no pod has was likely meant to be.
fn hint(world: &World<'_>, namespace: &str, labels: &StringMap) -> Option<String> {
    let pods = world.covered(namespace, None);
    let theirs = || pods.iter().flat_map(|covered| &covered.pod.object.metadata.labels);
    for (key, value) in labels {
        if theirs().any(|label| label == (key, value)) {
            continue;
        }
        let values = theirs().filter(|(name, _)| *name == key).map(|(_, value)| value.as_str());
        if let Some(near) = nearest(value, values) {
            return Some(format!("did you mean {key}={near}?"));
        }
        let mut values: Vec<_> = theirs().filter(|(name, _)| *name == key).map(|(_, value)| value.as_str()).collect();
        values.sort_unstable();
        values.dedup();
        if !values.is_empty() {
            const MOST: usize = 5;
            let more = if values.len() > MOST { ", …" } else { "" };
            return Some(format!(
                "the pods have {key}={}{more}",
                values[..values.len().min(MOST)].join(&format!(", {key}="))
            ));
        }
        return nearest(key, theirs().map(|(name, _)| name.as_str()))
            .map(|near| format!("did you mean the label {near}?"));
    }
    Some("no one pod has all of these labels: remove one of them".to_owned())
}
