//! Labels and annotations that only look as if they did something: of Istio's domain and unknown to
//! it, or known and in the wrong place.

use crate::kube::types::ObjectMeta;
use crate::model::membership::DATAPLANE_MODE;
use crate::model::nearest::nearest;

use super::world::World;
use super::{Code, Finding, Level, Object};

/// Labels of Istio's, as its reference lists them, that say something in an ambient mesh.
const LABELS: &[&str] = &[
    "gateway.istio.io/managed",
    "istio.io/dataplane-mode",
    "istio.io/global",
    "istio.io/ingress-use-waypoint",
    "istio.io/rev",
    "istio.io/tag",
    "istio.io/use-waypoint",
    "istio.io/use-waypoint-canary",
    "istio.io/use-waypoint-canary-namespace",
    "istio.io/use-waypoint-namespace",
    "istio.io/waypoint-for",
    "networking.istio.io/enable-autoallocate-ip",
    "networking.istio.io/enableAutoallocateIp",
    "networking.istio.io/gatewayPort",
    "networking.istio.io/tunnel",
    "security.istio.io/tlsMode",
    "service.istio.io/canonical-name",
    "service.istio.io/canonical-revision",
    "service.istio.io/workload-name",
    "sidecar.istio.io/inject",
    "topology.istio.io/cluster",
    "topology.istio.io/network",
    "topology.istio.io/subzone",
];

/// Annotations of Istio's that say something in an ambient mesh, or that its own parts write.
const ANNOTATIONS: &[&str] = &[
    "ambient.istio.io/bypass-inbound-capture",
    "ambient.istio.io/dns-capture",
    "ambient.istio.io/redirection",
    "ambient.istio.io/waypoint-inbound-binding",
    "gateway.istio.io/controller-version",
    "gateway.istio.io/name-override",
    "gateway.istio.io/service-account",
    "inject.istio.io/templates",
    "istio.io/dry-run",
    "istio.io/reroute-virtual-interfaces",
    "istio.io/rev",
    "istio.io/use-waypoint-canary-weight",
    "networking.istio.io/address-type",
    "networking.istio.io/exportTo",
    "networking.istio.io/service-type",
    "networking.istio.io/traffic-distribution",
    "prometheus.istio.io/merge-metrics",
    "proxy.istio.io/config",
    "sidecar.istio.io/inject",
    "sidecar.istio.io/status",
    "topology.istio.io/controlPlaneClusters",
];

/// Keys that guides invent → the label that does what they promise.
const INVENTED: &[(&str, &str)] = &[
    ("ambient.istio.io/redirection-mode", "istio.io/use-waypoint=NAME"),
    ("ambient.istio.io/waypoint", "istio.io/use-waypoint=NAME"),
    ("gateway.istio.io/waypoint", "istio.io/use-waypoint=NAME"),
    ("istio.io/ambient", "istio.io/dataplane-mode=ambient"),
    ("istio.io/waypoint", "istio.io/use-waypoint=NAME"),
    ("security.istio.io/ambient-enabled", "istio.io/dataplane-mode=ambient"),
];

pub(super) fn check(world: &World<'_>, findings: &mut Vec<Finding>) {
    let index = world.index;
    for (name, namespace) in &index.namespaces {
        let object = Object { kind: "Namespace".to_owned(), name: name.to_string() };
        let meta = &namespace.metadata;
        metadata(&object, meta, findings);
        findings.extend(mode(&object, meta, &["ambient", "none"]));
        findings.extend(injection(&object, meta, world.index.namespace_mode(name)));
    }
    for (key, pod) in &index.pods {
        let (object, meta) = (Object::new("Pod", key), &pod.object.metadata);
        metadata(&object, meta, findings);
        findings.extend(mode(&object, meta, &["ambient", "none"]));
        let mode = meta.labels.get(DATAPLANE_MODE).map(String::as_str);
        findings.extend(injection(&object, meta, mode.or_else(|| index.namespace_mode(&key.namespace))));
    }
    for (key, service) in &index.services {
        metadata(&Object::new("Service", key), &service.metadata, findings);
    }
    for (key, entry) in &index.service_entries {
        metadata(&Object::new("ServiceEntry", key), &entry.metadata, findings);
    }
    for (key, entry) in &index.workload_entries {
        metadata(&Object::new("WorkloadEntry", key), &entry.metadata, findings);
    }
    for (key, gateway) in &index.gateways {
        metadata(&Object::new("Gateway", key), &gateway.metadata, findings);
    }
    for (key, policy) in &index.authorization_policies {
        metadata(&Object::new("AuthorizationPolicy", key), &policy.metadata, findings);
    }
    for (key, policy) in &index.peer_authentications {
        metadata(&Object::new("PeerAuthentication", key), &policy.metadata, findings);
    }
}

fn metadata(object: &Object, meta: &ObjectMeta, findings: &mut Vec<Finding>) {
    for key in meta.labels.keys().filter(|key| is_istios(key) && !LABELS.contains(&key.as_str())) {
        findings.push(unknown(object, "label", key, LABELS, ANNOTATIONS));
    }
    for key in meta.annotations.keys().filter(|key| is_istios(key) && !ANNOTATIONS.contains(&key.as_str())) {
        findings.push(unknown(object, "annotation", key, ANNOTATIONS, LABELS));
    }
}

/// True for a key of `istio.io` and the domains below it.
fn is_istios(key: &str) -> bool {
    key.split_once('/').is_some_and(|(domain, _)| domain == "istio.io" || domain.ends_with(".istio.io"))
}

/// `there` are the keys that mean something in this place, `elsewhere` those of the other.
fn unknown(object: &Object, place: &str, key: &str, there: &[&str], elsewhere: &[&str]) -> Finding {
    let path = format!("metadata.{place}s[{key}]");
    let finding = |what: String| Finding::new(Code::DoesNothing, object.clone(), path.clone(), what);
    let other = if place == "label" { "annotation" } else { "label" };
    if elsewhere.contains(&key) {
        return finding(format!("as {} {key} does nothing", with_article(place)))
            .why(format!("it is read as {} only", with_article(other)))
            .mend(format!("move it to metadata.{other}s"));
    }
    if let Some((_, label)) = INVENTED.iter().find(|(invented, _)| *invented == key) {
        return finding(format!("{key} does nothing: nobody reads it"))
            .why("what it promises is done by a label")
            .mend(format!("write the label {label}"));
    }
    match nearest(key, there.iter().copied()) {
        Some(near) => finding(format!("{key} does nothing: nobody reads it"))
            .why("it is one spelling away from one that is read")
            .mend(format!("did you mean {near}?")),
        None => finding(format!("{key} does nothing: nobody reads it"))
            .level(Level::Note)
            .why("it tells people something, and no part of a mesh")
            .mend("write what only informs people under a domain of your own"),
    }
}

fn with_article(place: &str) -> String {
    if place == "annotation" { "an annotation".to_owned() } else { format!("a {place}") }
}

/// A value of the label that opts in or out, which means neither.
fn mode(object: &Object, meta: &ObjectMeta, known: &[&str]) -> Option<Finding> {
    let value = meta.labels.get(DATAPLANE_MODE).filter(|value| !known.contains(&value.as_str()))?;
    let path = format!("metadata.labels[{DATAPLANE_MODE}]");
    let what = format!("{DATAPLANE_MODE}={value} means nothing");
    Some(Finding::new(Code::UnknownMode, object.clone(), path, what).why("it counts as if the label were not there"))
}

/// Sidecars asked for where pods are to be ambient.
fn injection(object: &Object, meta: &ObjectMeta, mode: Option<&str>) -> Option<Finding> {
    let asks =
        |key: &str, value: &str| meta.labels.get(key).or_else(|| meta.annotations.get(key)).is_some_and(|v| v == value);
    let asked = if asks("istio-injection", "enabled") {
        "istio-injection=enabled"
    } else if asks("sidecar.istio.io/inject", "true") {
        "sidecar.istio.io/inject=true"
    } else {
        return None;
    };
    (mode == Some("ambient")).then(|| {
        let what = format!("{asked} stands where pods are to be ambient");
        Finding::new(Code::SidecarInjection, object.clone(), "metadata", what)
            .why("a pod that gets a sidecar stays out of the mesh that this node makes")
    })
}
