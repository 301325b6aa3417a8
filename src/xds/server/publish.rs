//! From the mesh's model to snapshots that streams wait on.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::debounce::Debounce;
use super::snapshot::Snapshot;
use crate::model::policy::Policy;
use crate::model::service::Service;
use crate::model::workload::Workload;

/// Everything that is served. Of two with one name the later counts.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    pub workloads: Vec<Workload>,
    pub services: Vec<Service>,
    pub policies: Vec<Policy>,
}

/// What is served now. Clones are the same.
#[derive(Clone, Debug)]
pub struct Store(Arc<watch::Sender<Arc<Snapshot>>>);

/// The newest resources that wait to be published; those that wait already are replaced. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Inbox(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Option<Resources>>,
    put: Notify,
}

// === impl Store ===

impl Store {
    /// Serves `first` from the start.
    pub fn new(first: &Resources) -> Self {
        let snapshot = Snapshot::default().next(first).unwrap_or_default();
        Self(Arc::new(watch::Sender::new(Arc::new(snapshot))))
    }

    /// Serves `resources` from now on: encodes and compares them all, some 200 ms for 100,000. Answers whether anything
    /// is different.
    pub fn replace(&self, resources: &Resources) -> bool {
        let current = Arc::clone(&self.0.borrow());
        let next = current.next(resources);
        next.map(|next| self.0.send_replace(Arc::new(next))).is_some()
    }

    /// A reader that wakes at every change.
    pub fn reader(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.0.subscribe()
    }

    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0.borrow())
    }

    /// Publishes what comes into `inbox`, when it is quiet, until `stop`.
    pub async fn follow(self, inbox: Inbox, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = inbox.0.put.notified() => {}
            }
            let mut debounce = Debounce::new(Instant::now());
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = inbox.0.put.notified() => debounce.changed(Instant::now()),
                    () = tokio::time::sleep_until(debounce.due()) => break,
                }
            }
            let Some(resources) = inbox.take() else { continue };
            let store = self.clone();
            let published = tokio::task::spawn_blocking(move || store.replace(&resources)).await;
            if let Err(error) = published {
                tracing::error!(%error, "the mesh could not be published: please report this as a bug");
            }
        }
    }
}

// === impl Inbox ===

impl Inbox {
    pub fn put(&self, resources: Resources) {
        *self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(resources);
        self.0.put.notify_one();
    }

    fn take(&self) -> Option<Resources> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
