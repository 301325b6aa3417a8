//! Announced pods against what the mesh knows of them: addresses, trust domain, and whose namespace it is.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::enroll::pairing::{Departed, Evidence, Pairing, own, pairing};
use crate::mesh::{self, Held, View};
use crate::model::name::NamespacedName;
use crate::model::pod::Pod;
use crate::proxy::pod::PodProxy;
use crate::proxy::shared::LocalPods;

/// What the mesh says of one pod of this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) addresses: Vec<IpAddr>,
    pub(super) trust_domain: Arc<str>,
}

/// Which records are of this node's pods.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) node: Arc<str>,
    pub(super) cluster: Arc<str>,
}

/// Judges announced pods, and remembers those that have left.
pub(super) struct Pairs {
    mesh: mesh::Reader,
    place: Place,
    known: Mutex<Known>,
    departed: Mutex<Departed>,
    /// Enrolled pods that have to be looked at now, by uid.
    suspects: Mutex<BTreeSet<Arc<str>>>,
    suspected: Notify,
}

/// The records of this node's pods in one view of the mesh.
#[derive(Default)]
struct Known {
    /// By UID, of each name.
    records: HashMap<NamespacedName, BTreeMap<Arc<str>, Arc<Held>>>,
    view: Arc<View>,
}

/// What is known of a pod at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    /// The pod's own addresses: those inside, as far as they can be a pod's.
    pub(super) addresses: Vec<IpAddr>,
    pub(super) pairing: Pairing,
    pub(super) record: Record,
}

/// A look at what changed takes some microseconds and what is enrolled here, but a stream of changes is looked at some times
/// a second only.
const SPACING: Duration = Duration::from_millis(250);

// === impl Place ===

impl Place {
    /// Whether it is the record of a pod of this node. Node names are unique in a cluster only.
    fn is_here(&self, w: &Held) -> bool {
        *w.node == *self.node
            && (self.cluster.is_empty() || w.cluster.is_empty() || w.cluster == self.cluster)
            && !w.host_network
            && w.uid.contains("/Pod/")
    }
}

// === impl Known ===

impl Known {
    /// Takes a newer view, at the cost of what changed since the last one.
    fn take(&mut self, view: Arc<View>, place: &Place) {
        let key = |w: &Held| NamespacedName::new(Arc::clone(&w.namespace), Arc::clone(&w.name));
        let (gone, came) = view.workloads_since(&self.view);
        for workload in gone.into_iter().filter(|w| place.is_here(w)) {
            if let Entry::Occupied(mut named) = self.records.entry(key(workload)) {
                named.get_mut().remove(&workload.uid);
                if named.get().is_empty() {
                    named.remove();
                }
            }
        }
        for workload in came.into_iter().filter(|w| place.is_here(w)) {
            self.records.entry(key(workload)).or_default().insert(Arc::clone(&workload.uid), Arc::clone(workload));
        }
        self.view = view;
    }

    /// What is said of a pod.
    fn record(&self, pod: &NamespacedName) -> Record {
        let mut record = Record::default();
        for workload in self.records.get(pod).into_iter().flat_map(BTreeMap::values) {
            record.addresses.extend(workload.addresses.iter().map(IpAddr::to_canonical));
            record.trust_domain = Arc::clone(&workload.trust_domain);
        }
        record
    }
}

// === impl Pairs ===

impl Pairs {
    pub(super) fn new(mesh: mesh::Reader, place: Place) -> Self {
        Self {
            mesh,
            place,
            known: Mutex::default(),
            departed: Mutex::default(),
            suspects: Mutex::default(),
            suspected: Notify::new(),
        }
    }

    /// Judges a pod in whose namespace all of `inside` are. `proven_by` is the record that proved it since it was enrolled.
    pub(super) fn judge(&self, pod: &Pod, inside: &[IpAddr], proven_by: &[IpAddr]) -> Judged {
        let record = self.look().record(&pod.key);
        let addresses = own(inside);
        let departed = lock(&self.departed).before(&pod.key, &pod.uid);
        let recorded = &record.addresses;
        let pairing = pairing(&Evidence { recorded, inside: &addresses, proven_by, departed: &departed });
        Judged { addresses, pairing, record }
    }

    /// The pod is served no more.
    pub(super) fn departed(&self, pod: &Pod, addresses: &[IpAddr]) {
        lock(&self.departed).note(&pod.key, &pod.uid, addresses);
    }

    /// Waits for pods that have to be looked at. Nothing is lost when the wait is given up.
    pub(super) async fn attention(&self) -> Vec<Arc<str>> {
        loop {
            let suspects = std::mem::take(&mut *lock(&self.suspects));
            if !suspects.is_empty() {
                return suspects.into_iter().collect();
            }
            self.suspected.notified().await;
        }
    }

    /// Looks at every enrolled pod whenever the mesh has changed, until `stop`. What looks wrong is verified in earnest
    /// at once, with the addresses that the namespace has then.
    pub(super) async fn watch(&self, local: &LocalPods, stop: CancellationToken) {
        let mut changes = self.mesh.changes();
        loop {
            let enrolled = local.all();
            let suspects: Vec<_> = enrolled.iter().filter_map(|proxy| self.suspect(proxy)).collect();
            if enrolled.iter().any(|proxy| proxy.pod().is_announced()) || !lock(&self.departed).is_empty() {
                drop(self.look());
            } else {
                // An old view keeps what has gone since in memory.
                *lock(&self.known) = Known::default();
            }
            if !suspects.is_empty() {
                lock(&self.suspects).extend(suspects);
                self.suspected.notify_one();
            }
            let next = async {
                tokio::time::sleep(SPACING).await;
                changes.changed().await
            };
            tokio::select! {
                () = stop.cancelled() => return,
                changed = next => if changed.is_err() { return },
            }
        }
    }

    fn suspect(&self, proxy: &PodProxy) -> Option<Arc<str>> {
        let pod = proxy.pod();
        if !pod.is_announced() || proxy.is_closing() {
            return None;
        }
        let Judged { pairing, record, .. } = self.judge(pod, &proxy.addresses(), &[]);
        let is_other = is_other(&record, &proxy.identity().trust_domain);
        (pairing == Pairing::Foreign || is_other).then(|| Arc::clone(&pod.uid))
    }

    /// What the mesh says now.
    fn look(&self) -> MutexGuard<'_, Known> {
        let mut known = lock(&self.known);
        let view = self.mesh.view();
        if view.version() != known.view.version() {
            known.take(view, &self.place);
            let stands = |key: &NamespacedName, addresses: &[IpAddr]| {
                let recorded = known.record(key).addresses;
                !recorded.is_empty() && recorded.iter().all(|ip| addresses.contains(ip))
            };
            lock(&self.departed).forget_unless(stands);
        }
        known
    }
}

/// The mesh gives the pod another trust domain than the one it was enrolled with.
pub(super) fn is_other(record: &Record, trust_domain: &str) -> bool {
    !record.trust_domain.is_empty() && *record.trust_domain != *trust_domain
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
