//! A Kubernetes Pod in the mesh's own form.

use std::net::IpAddr;
use std::sync::Arc;

use crate::control::manifests::NETNS;
use crate::kube::types::{ObjectMeta, Pod};
use crate::model::membership::DATAPLANE_MODE;
use crate::model::name::NamespacedName;
use crate::model::pod::{self, PodNetns};

/// Any value of this annotation says that a sidecar was injected.
const SIDECAR: &str = "sidecar.istio.io/status";
/// Overrides the mesh's setting in either direction.
const DNS_CAPTURE: &str = "ambient.istio.io/dns-capture";

pub(super) fn key(meta: &ObjectMeta) -> NamespacedName {
    NamespacedName::new(Arc::clone(&meta.namespace), Arc::clone(&meta.name))
}

/// The mesh's form. With one address that cannot be read it has none: half an identity of a pod
/// would be enforced on half of its traffic.
pub(super) fn model(object: &Pod) -> pod::Pod {
    let meta = &object.metadata;
    let addresses: Result<Vec<IpAddr>, _> = object.status.addresses().map(str::parse).collect();
    let mut unique: Vec<IpAddr> = Vec::new();
    for address in addresses.unwrap_or_default().iter().map(IpAddr::to_canonical) {
        if !unique.contains(&address) {
            unique.push(address);
        }
    }
    let uid = if meta.uid.is_empty() {
        format!("static:{}/{}", meta.namespace, meta.name).into()
    } else {
        Arc::clone(&meta.uid)
    };
    pod::Pod {
        key: key(meta),
        uid,
        service_account: match &object.spec.service_account_name {
            Some(name) if !name.is_empty() => Arc::clone(name),
            _ => "default".into(),
        },
        node: object.spec.node_name.clone().unwrap_or_default(),
        addresses: unique,
        host_network: object.spec.host_network,
        finished: matches!(object.status.phase.as_deref(), Some("Failed" | "Succeeded")),
        dataplane_mode: meta.labels.get(DATAPLANE_MODE).map(|mode| mode.as_str().into()),
        has_sidecar: meta.annotations.contains_key(SIDECAR),
        dns_capture: meta.annotations.get(DNS_CAPTURE).and_then(|text| boolean(text)),
        netns: meta.annotations.get(NETNS).map(PodNetns::from),
    }
}

/// A boolean as Go reads one (`strconv.ParseBool`), which is how Istio reads its annotations. What says neither is as if
/// it were not there.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::boolean;

    #[test]
    fn booleans_are_read_as_go_reads_them() {
        for (text, expect) in [
            ("true", Some(true)),
            ("T", Some(true)),
            ("1", Some(true)),
            ("False", Some(false)),
            ("0", Some(false)),
            ("", None),
            ("yes", None),
            (" true", None),
            ("tRUE", None),
        ] {
            assert_eq!(boolean(text), expect, "{text:?}");
        }
    }
}
