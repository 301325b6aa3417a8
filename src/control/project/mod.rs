//! The mesh model, made of an index: workloads, services, policies, and a status for each object
//! that is not enforced as it was written.
//!
//! Owns: what L4 makes of Kubernetes and Istio objects. Never: I/O, state between two projections.
//! A workload never refers to a policy that the same projection did not emit.

mod aliases;
mod attach;
mod authorization;
mod narrow;
mod notes;
mod owner;
mod peer;
mod service;
mod settings;
mod status;
mod waypoint;
mod workload;

use crate::model::policy::Policy;
use crate::model::service::Service;
use crate::model::workload::Workload;

use super::index::Index;

pub(in crate::control) use aliases::write_out;
pub use peer::{CONVERTED_PREFIX, STATIC_STRICT};
pub use settings::Settings;
pub use status::{Level, Reason, Status};
pub use waypoint::{Binding, Bypass, Why, bypassable, waypoint_address};

/// What a projection makes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Projection {
    pub workloads: Vec<Workload>,
    pub services: Vec<Service>,
    pub policies: Vec<Policy>,
    /// Who goes through a waypoint.
    pub bindings: Vec<Binding>,
    /// At least one for each policy object, and one for whatever else is worth a word; in order of kind and key.
    pub statuses: Vec<Status>,
}

/// Projects everything.
pub fn project(index: &Index, settings: &Settings) -> Projection {
    let mut statuses: Vec<_> = index.conflicts().iter().map(Status::of_conflict).collect();
    let attachments = attach::Attachments::build(index, settings, &mut statuses);
    let services = service::Services::build(index, settings, &mut statuses);
    let workloads = workload::workloads(index, settings, &services, &attachments, &mut statuses);
    let (services, policies) = (services.models(), attachments.into_policies());
    let mut projection = Projection { workloads, services, policies, bindings: Vec::new(), statuses };
    waypoint::apply(index, settings, &mut projection);
    projection.statuses.sort_by(|a, b| (a.kind, &a.key).cmp(&(b.kind, &b.key)));
    projection
}

#[cfg(test)]
mod tests;
