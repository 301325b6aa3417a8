//! What has to be done for each pod (pure): what is wanted against what is held.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::pod::Pod;

/// Where a pod stands that this node holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Something is being done for it; it is judged again afterwards.
    Busy,
    Enrolled,
    /// Enrolment failed and is due to be tried again (`true`) or waits for its time (`false`).
    Failed {
        due: bool,
    },
    /// Its redirects are gone; its captured connections may still live.
    Withdrawing,
}

/// One step for one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Enrol(Arc<Pod>),
    /// Forget a pod that was never enrolled.
    Forget(Arc<str>),
    /// It is wanted again before it was gone: lay the redirects again.
    Resume(Arc<str>),
    Withdraw(Arc<str>),
    /// Its object is another one under the same uid (address, account or namespace changed): what
    /// is held belongs to an identity that is gone, so nothing of it may live on. Or its agent says that it is gone.
    WithdrawNow(Arc<str>),
}

/// The steps that lead from `held` to `wanted`, both by pod uid.
pub fn reconcile(wanted: &BTreeMap<Arc<str>, Arc<Pod>>, held: &BTreeMap<Arc<str>, (Arc<Pod>, Phase)>) -> Vec<Action> {
    let mut actions = Vec::new();
    for (uid, (pod, phase)) in held {
        let same = wanted.get(uid).is_some_and(|new| is_same(new, pod));
        match (phase, wanted.get(uid)) {
            (Phase::Busy, _) => {}
            (Phase::Failed { .. }, Some(new)) if !same => actions.push(Action::Enrol(Arc::clone(new))),
            (Phase::Failed { due: true }, Some(new)) => actions.push(Action::Enrol(Arc::clone(new))),
            (Phase::Failed { .. }, Some(_)) => {}
            (Phase::Failed { .. }, None) => actions.push(Action::Forget(Arc::clone(uid))),
            (Phase::Enrolled | Phase::Withdrawing, Some(_)) if !same => {
                actions.push(Action::WithdrawNow(Arc::clone(uid)));
            }
            // The agent has decided it, and its rules go or stay as the agent likes: there is nothing to wait for.
            (Phase::Enrolled | Phase::Withdrawing, None) if pod.is_announced() => {
                actions.push(Action::WithdrawNow(Arc::clone(uid)));
            }
            (Phase::Enrolled, Some(_)) | (Phase::Withdrawing, None) => {}
            (Phase::Enrolled, None) => actions.push(Action::Withdraw(Arc::clone(uid))),
            (Phase::Withdrawing, Some(_)) => actions.push(Action::Resume(Arc::clone(uid))),
        }
    }
    let new = wanted.iter().filter(|(uid, _)| !held.contains_key(*uid));
    actions.extend(new.map(|(_, pod)| Action::Enrol(Arc::clone(pod))));
    actions
}

/// True when nothing that an enrolment stands on has changed.
pub(super) fn is_same(a: &Pod, b: &Pod) -> bool {
    let of = |pod: &Pod| {
        let mut addresses = pod.addresses.clone();
        addresses.sort();
        (pod.key.clone(), Arc::clone(&pod.service_account), addresses, pod.netns.clone())
    };
    of(a) == of(b)
}

#[cfg(test)]
mod tests;
