//! Where each pod stands, for people and for those who wait for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::entry::Entry;
use super::{Phase, Plane, Wanted};
use crate::enroll::reconcile::is_same;
use crate::model::membership::{Membership, OutReason};
use crate::model::pod::Pod;

/// Where a pod stands.
#[derive(Clone, Debug)]
pub struct PodStatus {
    pub pod: Arc<Pod>,
    pub membership: Membership,
    pub state: State,
    /// Nothing is being done for it at the moment: the state is the end of the newest step.
    pub settled: bool,
    /// Verifications that found and mended a difference.
    pub healed: u64,
}

/// A pod's state as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Enrolled,
    Enrolling,
    /// The newest error; it is tried again.
    Failed(Arc<str>),
    Out,
    Withdrawing,
}

/// One status for each pod that is wanted or held.
pub(super) fn statuses<P: Plane>(all: &Wanted, entries: &BTreeMap<Arc<str>, Entry<P>>) -> Vec<PodStatus> {
    let status = |pod: &Arc<Pod>, membership| {
        let entry = entries.get(&pod.uid);
        PodStatus {
            pod: Arc::clone(pod),
            membership,
            state: entry.map_or(State::Out, |entry| state(entry, pod)),
            settled: entry.is_none_or(|entry| entry.phase != Phase::Busy && !is_replaced(entry, pod)),
            healed: entry.map_or(0, |entry| entry.healed),
        }
    };
    let mut statuses: Vec<_> = all.iter().map(|(pod, membership)| status(pod, *membership)).collect();
    // A pod whose object is gone is still here while its connections end.
    let gone = entries.values().filter(|e| !all.iter().any(|(pod, _)| pod.uid == e.pod.uid));
    statuses.extend(gone.map(|entry| status(&entry.pod, Membership::Out(OutReason::Finished))));
    statuses
}

fn state<P: Plane>(entry: &Entry<P>, pod: &Pod) -> State {
    match (entry.phase, &entry.error, &entry.enrolled) {
        // What is held is of a pod that this one replaces, and on its way out.
        (Phase::Busy | Phase::Enrolled, ..) if is_replaced(entry, pod) => State::Enrolling,
        (_, Some(error), _) => State::Failed(Arc::clone(error)),
        (Phase::Withdrawing, ..) => State::Withdrawing,
        (Phase::Enrolled, ..) | (Phase::Busy, _, Some(_)) => State::Enrolled,
        _ => State::Enrolling,
    }
}

/// An agent waits for the pod that it announced, not for the one that was there before.
fn is_replaced<P: Plane>(entry: &Entry<P>, pod: &Pod) -> bool {
    pod.is_announced() && !is_same(&entry.pod, pod)
}
