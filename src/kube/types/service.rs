//! The Service and the EndpointSlice.

use std::sync::Arc;

use serde::Deserialize;

use super::meta::{ObjectMeta, StringMap, null_is_empty};

/// The label with which an EndpointSlice names its Service.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Service {
    pub metadata: ObjectMeta,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub spec: ServiceSpec,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSpec {
    /// ClusterIP when it is absent.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    #[serde(rename = "clusterIP")]
    pub cluster_ip: Option<String>,
    #[serde(rename = "clusterIPs", default, deserialize_with = "null_is_empty")]
    pub cluster_ips: Vec<String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub selector: StringMap,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub ports: Vec<ServicePort>,
    /// `IPv4`, `IPv6`.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub ip_families: Vec<String>,
    #[serde(default)]
    pub publish_not_ready_addresses: bool,
    /// `Cluster` (the default) or `Local`.
    pub internal_traffic_policy: Option<String>,
    /// `PreferClose`, `PreferSameZone` or `PreferSameNode`.
    pub traffic_distribution: Option<String>,
    /// `None` (the default) or `ClientIP`.
    pub session_affinity: Option<String>,
    pub session_affinity_config: Option<SessionAffinityConfig>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct SessionAffinityConfig {
    #[serde(rename = "clientIP")]
    pub client_ip: Option<ClientIpConfig>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientIpConfig {
    /// 1 to 86400; 10800 when it is absent.
    pub timeout_seconds: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePort {
    pub name: Option<String>,
    pub port: u16,
    pub target_port: Option<TargetPort>,
    /// TCP when it is absent.
    pub protocol: Option<String>,
    pub app_protocol: Option<String>,
}

/// `targetPort`: a number, or the name of a container's port.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum TargetPort {
    Number(u16),
    Name(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointSlice {
    pub metadata: ObjectMeta,
    #[serde(default)]
    pub address_type: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub endpoints: Vec<Endpoint>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub ports: Vec<EndpointPort>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    #[serde(default, deserialize_with = "null_is_empty")]
    pub addresses: Vec<String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub conditions: EndpointConditions,
    pub target_ref: Option<TargetRef>,
    pub node_name: Option<Arc<str>>,
    pub zone: Option<Arc<str>>,
}

/// What an endpoint can take. Absent means unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct EndpointConditions {
    pub ready: Option<bool>,
    pub serving: Option<bool>,
    pub terminating: Option<bool>,
}

/// What an endpoint stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct TargetRef {
    #[serde(default)]
    pub kind: String,
    #[serde(default)]
    pub namespace: Arc<str>,
    #[serde(default)]
    pub name: Arc<str>,
    pub uid: Option<Arc<str>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct EndpointPort {
    pub name: Option<String>,
    pub port: Option<u16>,
    pub protocol: Option<String>,
}

// === impl ServiceSpec ===

impl ServiceSpec {
    /// The virtual addresses as written; none for a headless service.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        let single = if self.cluster_ips.is_empty() { self.cluster_ip.as_deref() } else { None };
        self.cluster_ips.iter().map(String::as_str).chain(single).filter(|ip| !ip.is_empty() && *ip != "None")
    }
}

// === impl EndpointConditions ===

impl EndpointConditions {
    /// `ready` decides. Where nobody wrote it, an endpoint is ready unless it does not serve or is on its way out, which
    /// is how Kubernetes makes `ready` of the other two.
    pub fn is_ready(self) -> bool {
        self.ready.unwrap_or_else(|| self.serving.unwrap_or(true) && !self.terminating.unwrap_or(false))
    }
}
