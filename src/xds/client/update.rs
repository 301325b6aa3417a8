//! What changes in the mesh.

use std::sync::Arc;

use crate::model::name::NamespacedName;
use crate::model::policy::Policy;
use crate::model::service::Service;
use crate::model::workload::Workload;

/// Where the mesh is kept. `apply` is called once a response, in their order, and should take milliseconds: the next
/// response waits for it. Whoever waits for a resource is woken after it. A response of more than 16,384 resources, a
/// first sync, comes in parts of that many, so that it is not in memory twice.
pub trait Sink: Send {
    fn apply(&mut self, update: Update);
}

/// A change of the mesh: what comes in, each list in the order in which it was sent, then what goes out. Of two records
/// with one key the later counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    pub workloads: Vec<Workload>,
    pub services: Vec<Service>,
    pub policies: Vec<Policy>,
    /// Only what came in before, in this update or an earlier one. Something may be named twice.
    pub removed: Vec<Removed>,
}

/// The key of what goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// By uid.
    Workload(Arc<str>),
    /// By `<namespace>/<hostname>`.
    Service(NamespacedName),
    Policy(NamespacedName),
}

// === impl Update ===

impl Update {
    pub fn is_empty(&self) -> bool {
        self.workloads.is_empty() && self.services.is_empty() && self.policies.is_empty() && self.removed.is_empty()
    }
}
