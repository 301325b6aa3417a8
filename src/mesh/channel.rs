//! One writer, many readers.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::model::policy::Policy;
use crate::model::service::Service;
use crate::model::workload::Workload;

use super::view::View;

/// Everything there is. Of two records with one key the later counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub workloads: Vec<Workload>,
    pub services: Vec<Service>,
    pub policies: Vec<Policy>,
}

/// Changes the mesh. There is one; dropping it ends [`Reader::changes`].
pub struct Writer {
    view: Arc<ArcSwap<View>>,
    version: watch::Sender<u64>,
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
    (Writer { view: Arc::clone(&view), version: sender }, Reader { view, version: receiver })
}

// === impl Writer ===

impl Writer {
    /// Replaces everything in one step: no reader sees half of it. The cost is that of building the
    /// indices; readers are woken afterwards.
    pub fn replace(&mut self, state: State) {
        let version = *self.version.borrow() + 1;
        let view = View::build(version, state, &self.view.load());
        self.view.store(Arc::new(view));
        self.version.send_replace(version);
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
