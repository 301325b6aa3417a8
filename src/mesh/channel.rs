//! One writer, many readers.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::model::policy::Policy;
use crate::model::service::Service;
use crate::model::workload::Workload;

use super::names::Names;
use super::step::{Removed, Step};
use super::view::View;

/// Everything there is. Of two records with one key the later counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub workloads: Vec<Workload>,
    pub services: Vec<Service>,
    pub policies: Vec<Policy>,
}

/// What is different. Of two records with one key the later counts, and of a key that is removed and given the record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub workloads: Vec<Workload>,
    pub services: Vec<Service>,
    pub policies: Vec<Policy>,
    /// What is not there is nothing to remove.
    pub removed: Vec<Removed>,
}

/// Changes the mesh. There is one; dropping it ends [`Reader::changes`].
pub struct Writer {
    view: Arc<ArcSwap<View>>,
    version: watch::Sender<u64>,
    names: Names,
    /// What was staged and is not shown yet.
    step: Step,
}

/// Reads the mesh; cheap to clone.
#[derive(Clone)]
pub struct Reader {
    view: Arc<ArcSwap<View>>,
    version: watch::Receiver<u64>,
}

/// Makes an empty mesh, at version 0: nothing has arrived yet.
pub fn channel() -> (Writer, Reader) {
    let view = Arc::new(ArcSwap::from_pointee(View::default()));
    let (sender, receiver) = watch::channel(0);
    let writer = Writer { view: Arc::clone(&view), version: sender, names: Names::default(), step: Step::default() };
    (writer, Reader { view, version: receiver })
}

// === impl Writer ===

impl Writer {
    /// Changes the mesh in one step, together with what was staged: no reader sees a part of it. The cost is that of
    /// what changes, and of the lists of endpoints that it is in; readers are woken afterwards, if anything did change.
    pub fn apply(&mut self, changes: Changes) {
        self.stage(changes);
        self.show();
    }

    /// Takes a part of a large step; the next [`Self::apply`] shows it. So what is read in pieces need not be in memory
    /// as it was read: here it takes what it will take in the mesh. Later parts count over earlier ones.
    pub fn stage(&mut self, changes: Changes) {
        let Changes { workloads, services, policies, removed } = changes;
        let view = self.view.load();
        for removed in removed {
            self.step.remove(removed);
        }
        for workload in workloads {
            self.step.workload(workload, &mut self.names, &view);
        }
        for service in services {
            self.step.service(service, &mut self.names, &view);
        }
        for policy in policies {
            self.step.policy(policy, &view);
        }
    }

    /// Forgets what was staged.
    pub fn discard(&mut self) {
        self.step = Step::default();
    }

    /// Replaces everything in one step, and with it what was staged. Records that are as they were stay as they are. The
    /// mesh is whole then.
    pub fn replace(&mut self, state: State) {
        let State { workloads, services, policies } = state;
        self.step = Step { whole: true, ..Step::default() };
        self.step.remove_all(&self.view.load());
        self.apply(Changes { workloads, services, policies, removed: Vec::new() });
    }

    /// Tells readers that every policy there is has been sent once: a converted PeerAuthentication that a workload names
    /// and that is not here may never come. See [`Applicable::unsent`](super::Applicable::unsent) and
    /// [`View::has_policies`]. What was staged stays so.
    pub fn policies_synced(&mut self) {
        self.tell(Step { synced: true, ..Step::default() });
    }

    /// Tells readers that all there is has been sent once. See [`View::is_whole`]. What was staged stays so.
    pub fn whole(&mut self) {
        self.tell(Step { whole: true, ..Step::default() });
    }

    /// What the memory of names takes beside the names.
    #[cfg(test)]
    pub(super) fn names_bytes(&self) -> usize {
        self.names.bytes()
    }

    /// Shows a step by itself.
    fn tell(&mut self, step: Step) {
        let staged = std::mem::replace(&mut self.step, step);
        self.show();
        self.step = staged;
    }

    fn show(&mut self) {
        let mut view = View::clone(&self.view.load());
        let changed = view.change(std::mem::take(&mut self.step));
        if changed.anything {
            let version = view.version();
            self.view.store(Arc::new(view));
            self.version.send_replace(version);
        }
        // After the old view is gone from here, so that what it alone named can be forgotten.
        self.names.aged(changed.gone);
    }
}

// === impl Reader ===

impl Reader {
    /// The mesh as it is now. Two look-ups that must agree are made on one view.
    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// Wakes after every change, with the version of the view. The receiver counts what is there
    /// already as seen, so take it before the view that is to be watched.
    pub fn changes(&self) -> watch::Receiver<u64> {
        let mut changes = self.version.clone();
        changes.mark_unchanged();
        changes
    }
}
