//! ServiceEntry and WorkloadEntry of `networking.istio.io`, v1, v1beta1 and v1alpha3 (the same fields).
//!
//! Ports are wider than 16 bits here, so that a number that is no port is its author's to hear about and costs
//! nothing but itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use super::meta::{ObjectMeta, StringMap, null_is_empty};

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ServiceEntry {
    pub metadata: ObjectMeta,
    #[serde(default)]
    pub spec: ServiceEntrySpec,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub status: ServiceEntryStatus,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceEntrySpec {
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Addresses and CIDRs.
    #[serde(default)]
    pub addresses: Vec<String>,
    #[serde(default)]
    pub ports: Vec<EntryPort>,
    #[serde(default)]
    pub location: Location,
    #[serde(default)]
    pub resolution: Resolution,
    #[serde(default)]
    pub endpoints: Vec<WorkloadEntrySpec>,
    pub workload_selector: Option<WorkloadSelector>,
    #[serde(default)]
    pub export_to: Vec<String>,
    #[serde(default)]
    pub subject_alt_names: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EntryPort {
    pub number: u32,
    #[serde(default)]
    pub protocol: String,
    #[serde(default)]
    pub name: String,
    /// `number` when it is absent or 0.
    pub target_port: Option<u32>,
}

/// Whether it is a part of the mesh. Nothing here depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Location {
    #[default]
    MeshExternal,
    MeshInternal,
}

/// How its endpoints are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Resolution {
    /// A connection goes where it was addressed.
    #[default]
    None,
    Static,
    Dns,
    DnsRoundRobin,
    /// The host of each request; a waypoint's work.
    DynamicDns,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkloadSelector {
    #[serde(default)]
    pub labels: StringMap,
}

/// What Istio's own controller wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct ServiceEntryStatus {
    #[serde(default, deserialize_with = "null_is_empty")]
    pub addresses: Vec<AllocatedAddress>,
}

/// An address that was allocated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct AllocatedAddress {
    #[serde(default)]
    pub value: String,
    /// Empty: every host of the entry has it.
    #[serde(default)]
    pub host: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct WorkloadEntry {
    pub metadata: ObjectMeta,
    #[serde(default)]
    pub spec: WorkloadEntrySpec,
}

/// A WorkloadEntry's `spec`, and an endpoint of a ServiceEntry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkloadEntrySpec {
    /// An address or a host name.
    #[serde(default)]
    pub address: Arc<str>,
    /// Name of a service's port → port here.
    #[serde(default)]
    pub ports: BTreeMap<String, u32>,
    #[serde(default)]
    pub labels: StringMap,
    #[serde(default)]
    pub network: Arc<str>,
    /// `region/zone/subzone`, the later parts optional.
    #[serde(default)]
    pub locality: String,
    /// Its share among endpoints; 0 is as good as absent.
    #[serde(default)]
    pub weight: u32,
    #[serde(default)]
    pub service_account: Arc<str>,
}
