//! Where a node has its mesh, its certificates and its pods from, as the settings say.
//!
//! Owns: the joints between a source and what takes from it. Never: a source itself (`xds`, `identity`, `zds`, `control`).

pub(super) mod agent;
mod certificates;
mod control_plane;
mod large;
mod meshed;
mod remote;
mod tasks;

pub(super) use agent::Agent;
pub(super) use certificates::Certificates;
pub(super) use control_plane::ControlPlane;
pub(super) use meshed::Meshed;
pub(super) use tasks::Sources;
