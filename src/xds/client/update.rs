//! What changes in the mesh.

use std::sync::Arc;

use crate::model::name::NamespacedName;
use crate::model::policy::Policy;
use crate::model::service::Service;
use crate::model::workload::Workload;

/// Where the mesh is kept. `apply` is called once a response, in their order, and should take milliseconds: the next
/// response waits for it. Whoever waits for a resource is woken after it. A response of more than 16,384 resources, a
/// first sync, and a kept state are staged in parts of that many, so that they are not in memory twice, and shown when all
/// of it was read.
pub trait Sink: Send {
    /// Takes a part of a step that nobody sees yet.
    fn stage(&mut self, part: Update);
    /// Shows what was staged.
    fn show(&mut self);
    /// Forgets what was staged.
    fn discard(&mut self);

    fn apply(&mut self, update: Update) {
        self.stage(update);
        self.show();
    }
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
    /// Records that come in.
    pub fn incoming(&self) -> usize {
        self.workloads.len() + self.services.len() + self.policies.len()
    }

    pub fn is_empty(&self) -> bool {
        self.incoming() == 0 && self.removed.is_empty()
    }
}
