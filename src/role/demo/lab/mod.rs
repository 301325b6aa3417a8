//! A laboratory: nodes, pods and the fabric between them, as network namespaces.
//!
//! Owns: the namespaces, links, addresses and routes that it made, the manifests that describe them,
//! and taking all of it away again: after use, after a failure half way, and after a run that was
//! killed. Never: a namespace that it did not make, a rule, a daemon.
//!
//! ```text
//!   <prefix>-fabric    br0 ── port of each node        10.88.0.0/24   fd88::/64
//!   <prefix>-NODE      eth0 on the fabric               10.88.0.N      fd88::N
//!                      one link a pod                   169.254.1.1    fe80::1
//!   <prefix>-POD       eth0, routed through its node    10.88.N.10+    fd88:0:0:N::10+
//! ```
//!
//! Pods have a /32 and a /128 and no neighbours, as with Calico. Two labs may use the same addresses:
//! nothing connects them with each other or with the machine.

mod build;
mod claim;
mod manifests;
mod topology;

pub use build::{Lab, LabError, LabNode, LabPod};
pub use claim::{ClaimError, Kept, sweep};
pub use manifests::{ManifestError, Manifests};
pub use topology::{KubeNamespace, NodePlan, Plan, PodPlan, PodSpec, Topology, TopologyError, WAYPOINT};

#[cfg(test)]
mod tests;
