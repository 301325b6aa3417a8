//! Pod, WorkloadEntry, ServiceEntry endpoint and EndpointSlice endpoint → workloads.
//!
//! Owns: who a workload is, where it runs, how it is reached, and whether it is ready. Never: which services it belongs
//! to (`super::service`), which policies it refers to (`super::attach`).

mod all;
mod entry;
mod locality;
mod pod;
mod slice;
mod tunnel;

pub(super) use all::{Context, workloads};
pub(super) use pod::is_healthy;

#[cfg(test)]
mod tests;
