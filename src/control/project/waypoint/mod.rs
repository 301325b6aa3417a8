//! Waypoints: which Gateways are one, who goes through which, and who may be reached through them alone.
//!
//! Owns: what labels and annotations about waypoints mean, and a status for each that does not do what it says. A
//! waypoint that was named and cannot be used is an address that nobody answers to, so that callers refuse; Istio lets
//! them go round it (`docs/decisions/0017`). Never: the road to a waypoint, which is `route`'s.

mod admission;
mod apply;
mod bind;
mod bypass;
mod declared;
mod enforce;
mod entries;
mod instance;
mod labels;
mod targets;

pub use bypass::{Bypass, Why, bypassable};

pub(super) use apply::apply;

use std::sync::Arc;

use super::Settings;
use crate::control::index::Index;
use crate::model::gateway::GatewayAddress;
use crate::model::name::NamespacedName;
use crate::model::spiffe::Identity;

/// How services and workloads of a projection name the waypoint that `gateway` declares; `None` when it declares none
/// that can be used.
pub fn waypoint_address(index: &Index, settings: &Settings, gateway: &NamespacedName) -> Option<GatewayAddress> {
    let waypoints = declared::Waypoints::build(index, settings, &mut Vec::new());
    waypoints.get(gateway)?.address.clone().ok()
}

/// A workload for which a waypoint was named, by itself, its namespace or a service that it is an endpoint of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// UID of the workload.
    pub workload: Arc<str>,
    /// The Gateways that were named, in order of keys, also those that cannot be used.
    pub waypoints: Vec<NamespacedName>,
    /// Who the usable ones are: the identities of their pods.
    pub identities: Vec<Identity>,
}

#[cfg(test)]
mod tests;
