//! The Pod.

use std::sync::Arc;

use serde::Deserialize;

use super::meta::{ObjectMeta, null_is_empty};

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Pod {
    pub metadata: ObjectMeta,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub spec: PodSpec,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub status: PodStatus,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSpec {
    pub node_name: Option<Arc<str>>,
    pub service_account_name: Option<Arc<str>>,
    #[serde(default)]
    pub host_network: bool,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub containers: Vec<Container>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub init_containers: Vec<Container>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    #[serde(default, deserialize_with = "null_is_empty")]
    pub ports: Vec<ContainerPort>,
    /// `Always` on an init container makes it a sidecar, which runs as long as the pod does.
    pub restart_policy: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerPort {
    pub name: Option<String>,
    pub container_port: u16,
    /// TCP when it is absent.
    pub protocol: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodStatus {
    pub phase: Option<String>,
    /// Kubernetes spells it `podIP`.
    #[serde(rename = "podIP")]
    pub pod_ip: Option<String>,
    #[serde(rename = "podIPs", default, deserialize_with = "null_is_empty")]
    pub pod_ips: Vec<PodIp>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct PodIp {
    pub ip: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Condition {
    #[serde(rename = "type", default)]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    #[serde(default)]
    pub status: String,
}

// === impl PodStatus ===

impl PodStatus {
    /// The addresses as written: `podIPs`, else `podIP`.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        let single = if self.pod_ips.is_empty() { self.pod_ip.as_deref() } else { None };
        self.pod_ips.iter().map(|ip| ip.ip.as_str()).chain(single).filter(|ip| !ip.is_empty())
    }
}
