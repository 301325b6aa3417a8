//! Names of resources and of their types.

use std::net::IpAddr;

use crate::model::name::NamespacedName;
use crate::model::policy::Policy;
use crate::model::service::Service;
use crate::model::workload::Workload;

use super::outcome::{Checked, Fault};

/// Type URL of workloads and services ("WDS").
pub const ADDRESS: &str = "type.googleapis.com/istio.workload.Address";
/// Type URL of workloads alone: what clients asked for before there was [`ADDRESS`].
pub const WORKLOAD: &str = "type.googleapis.com/istio.workload.Workload";
/// Type URL of policies ("WADS").
pub const AUTHORIZATION: &str = "type.googleapis.com/istio.security.Authorization";

/// A workload's resource name: its uid.
pub fn of_workload(workload: &Workload) -> &str {
    &workload.uid
}

/// A service's resource name: `<namespace>/<hostname>`.
pub fn of_service(service: &Service) -> String {
    service.key().to_string()
}

/// A policy's resource name: `<namespace>/<name>`.
pub fn of_policy(policy: &Policy) -> String {
    policy.key.to_string()
}

/// What a node asks for when it knows no more than an address: `<network>/<ip>`.
pub fn of_address(network: &str, ip: IpAddr) -> String {
    format!("{network}/{}", ip.to_canonical())
}

/// The key in the name of a service or policy. A workload's uid has other slashes, or none.
pub fn parse(text: &str) -> Option<NamespacedName> {
    let (namespace, name) = text.split_once('/')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains('/')).then(|| NamespacedName::new(namespace, name))
}

/// A key that another resource is referred to by.
pub(super) fn key(text: &str) -> Checked<NamespacedName> {
    parse(text).ok_or_else(|| Fault::new(text, "a reference reads <namespace>/<name>"))
}
