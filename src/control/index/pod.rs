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
        netns: meta.annotations.get(NETNS).map(PodNetns::from),
    }
}
