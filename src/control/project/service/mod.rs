//! Service and ServiceEntry → services, and which workloads are their endpoints.
//!
//! Owns: ports and their protocols, balancing, host names and virtual addresses, who keeps a name or an address that
//! two objects claim, and the addresses that nobody wrote (`allocate`). Never: workloads (`super::workload`),
//! waypoints.

mod allocate;
mod balancing;
mod claims;
mod entry;
mod kubernetes;
mod membership;
mod protocol;
mod services;
mod slices;
mod values;

pub(super) use entry::Entry;
pub(super) use kubernetes::is_tcp;
pub(super) use services::Services;
pub(super) use values::{NamedPorts, host, ip, named_ports};

#[cfg(test)]
mod tests;
