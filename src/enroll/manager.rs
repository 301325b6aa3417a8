//! The task that leads every pod of the node to where its labels want it.

mod entry;
mod status;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use self::entry::Entry;
pub use self::status::{PodStatus, State};
use super::reconcile::{Action, Phase, is_same, reconcile};
use crate::model::membership::{Membership, OutReason};
use crate::model::pod::Pod;
use crate::telemetry::cause::chain;

/// What is done to a pod in the kernel and to its connections.
pub trait Plane: Send + Sync + 'static {
    /// An enrolled pod. Dropping it closes its listeners and cuts its connections, and leaves the
    /// rules: fail closed.
    type Enrolled: Send + Sync + 'static;
    type Error: std::error::Error + Send + Sync + 'static;

    /// Listeners, routes, rules, in that order; returns with the rules verified.
    fn enrol(&self, pod: Arc<Pod>) -> impl Future<Output = Result<Self::Enrolled, Self::Error>> + Send;
    /// Reads everything back and puts right what differs.
    fn verify(&self, pod: Arc<Self::Enrolled>) -> impl Future<Output = Result<Verified, Self::Error>> + Send;
    /// Lets new connections go their own way; those that are captured live on.
    fn release(&self, pod: Arc<Self::Enrolled>) -> impl Future<Output = Result<(), Self::Error>> + Send;
    /// Waits until no captured connection is left, at most for the time that the plane is set to.
    fn drained(&self, pod: Arc<Self::Enrolled>) -> impl Future<Output = ()> + Send;
    /// Removes everything, cutting what is still there.
    fn remove(&self, pod: Arc<Self::Enrolled>) -> impl Future<Output = Result<(), Self::Error>> + Send;
    /// Removes what an earlier life left in a pod that is not in the mesh; true when there was something.
    fn sweep(&self, pod: Arc<Pod>) -> impl Future<Output = Result<bool, Self::Error>> + Send;
    /// Waits until enrolled pods have to be verified before their time, and answers their uids. The wait is given up and
    /// begun again at any moment.
    fn attention(&self) -> impl Future<Output = Vec<Arc<str>>> + Send {
        std::future::pending()
    }
}

/// The pods of this node and their membership, as the newest accepted state has them.
pub type Wanted = Vec<(Arc<Pod>, Membership)>;

/// What a verification found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verified {
    /// Something differed and was put right.
    Healed,
    /// The namespace is not the pod's: nothing that was done in its name may live on, and enrolment refuses it.
    Mispaired,
    /// The pod has another namespace or identity than the one that was enrolled: it has to be enrolled anew.
    Replaced,
    Same,
}

/// Receives what a report wants to know of each verification.
pub type OnVerified = Box<dyn Fn(&Pod, Result<Verified, &str>) + Send + Sync>;

/// The end of something that was started for a pod.
enum Done<P: Plane> {
    Drained,
    Enrolled(Result<P::Enrolled, P::Error>),
    Released(Result<(), P::Error>),
    Removed(Result<(), P::Error>),
    Swept(Arc<Pod>, Result<bool, P::Error>),
    Verified(Result<Verified, P::Error>),
}

pub struct Manager<P: Plane> {
    plane: Arc<P>,
    wanted: watch::Receiver<Arc<Wanted>>,
    status: watch::Sender<Arc<Vec<PodStatus>>>,
    verify_every: Duration,
    on_verified: OnVerified,
    entries: BTreeMap<Arc<str>, Entry<P>>,
    swept: BTreeSet<Arc<str>>,
    /// Sweeps that failed; they are tried again with the next verification.
    unswept: BTreeSet<Arc<str>>,
    work: JoinSet<(Arc<str>, Done<P>)>,
    /// A step that panics takes its result with it, so what it was for is written down here.
    steps: HashMap<Id, Arc<str>>,
}

// === impl Manager ===

impl<P: Plane> Manager<P> {
    /// `wanted` must hold a complete state when [`Manager::run`] starts: what it does not name is
    /// withdrawn.
    pub fn build(
        plane: Arc<P>,
        wanted: watch::Receiver<Arc<Wanted>>,
        verify_every: Duration,
        on_verified: OnVerified,
    ) -> (Self, watch::Receiver<Arc<Vec<PodStatus>>>) {
        let (status, statuses) = watch::channel(Arc::new(Vec::new()));
        let (entries, swept, unswept) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        let (work, steps) = (JoinSet::new(), HashMap::new());
        (Self { plane, wanted, status, verify_every, on_verified, entries, swept, unswept, work, steps }, statuses)
    }

    /// Works until `stop`. The rules of enrolled pods stay when it ends. From `retired` on another process looks after all
    /// pods: they are held as they are and nothing more is done to them.
    ///
    /// Comes back with what is enrolled: dropped, the pods are served no more, whatever they still have to bring to an end.
    pub async fn run(mut self, stop: CancellationToken, retired: CancellationToken) -> Self {
        let mut verify = tokio::time::interval_at(Instant::now() + self.verify_every, self.verify_every);
        verify.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let plane = Arc::clone(&self.plane);
        loop {
            self.step();
            let retry =
                self.entries.values().filter(|e| matches!(e.phase, Phase::Failed { .. })).map(|e| e.retry_at).min();
            tokio::select! {
                // Nothing is begun any more once one of the first two has come.
                biased;
                () = stop.cancelled() => break,
                () = retired.cancelled() => {
                    stop.cancelled().await;
                    break;
                }
                changed = self.wanted.changed() => if changed.is_err() { break },
                Some(done) = self.work.join_next_with_id() => match done {
                    Ok((id, (uid, done))) => {
                        self.steps.remove(&id);
                        self.done(&uid, done);
                    }
                    Err(error) => {
                        let uid = self.steps.remove(&error.id());
                        if !error.is_cancelled() {
                            tracing::error!(%error, "a step of enrolment panicked: please report it");
                            uid.iter().for_each(|uid| self.panicked(uid));
                        }
                    }
                },
                uids = plane.attention() => uids.iter().for_each(|uid| self.verify_idle(uid)),
                _ = verify.tick() => self.verify_all(),
                () = async {
                    match retry {
                        Some(at) => tokio::time::sleep_until(at).await,
                        None => std::future::pending().await,
                    }
                } => {}
            }
        }
        self.work.abort_all();
        self
    }

    /// Starts what has to be done now and publishes where everybody stands.
    fn step(&mut self) {
        let all = Arc::clone(&self.wanted.borrow_and_update());
        let wanted: BTreeMap<_, _> = all.iter().filter_map(|(pod, m)| self.wants(pod, *m)).collect();
        let now = Instant::now();
        let held = self
            .entries
            .iter()
            .map(|(uid, entry)| (Arc::clone(uid), (Arc::clone(&entry.pod), entry.phase_at(now, wanted.get(uid)))));
        for action in reconcile(&wanted, &held.collect()) {
            self.start(action);
        }
        // Those that are gone are forgotten.
        if !self.swept.is_empty() || !self.unswept.is_empty() {
            let uids: BTreeSet<_> = all.iter().map(|(pod, _)| &pod.uid).collect();
            self.swept.retain(|uid| uids.contains(uid));
            self.unswept.retain(|uid| uids.contains(uid));
        }
        for (pod, membership) in all.iter() {
            // A pod that is out may still carry the rules of a life that ended while it was in.
            if !membership.is_in() && pod.netns.is_some() && !pod.host_network && !self.entries.contains_key(&pod.uid) {
                if self.swept.insert(Arc::clone(&pod.uid)) {
                    self.sweep(Arc::clone(pod));
                }
            } else {
                self.swept.remove(&pod.uid);
            }
        }
        self.publish(&all);
    }

    /// The pod to hold for this one, if any.
    fn wants(&self, pod: &Arc<Pod>, membership: Membership) -> Option<(Arc<str>, Arc<Pod>)> {
        let held = match membership {
            Membership::In(_) => Some(Arc::clone(pod)),
            // Its labels still want it in; what is not known of it for a moment must not open it.
            Membership::Out(OutReason::NoAddress) => self.entries.get(&pod.uid).map(|entry| Arc::clone(&entry.pod)),
            Membership::Out(_) => None,
        };
        held.map(|held| (Arc::clone(&pod.uid), held))
    }

    fn start(&mut self, action: Action) {
        match action {
            Action::Enrol(pod) => {
                let uid = Arc::clone(&pod.uid);
                let entry = self.entries.entry(Arc::clone(&uid)).or_insert_with(|| Entry::new(Arc::clone(&pod)));
                if !is_same(&entry.pod, &pod) {
                    // The trouble of the pod that this one replaces is not its own.
                    *entry = Entry::new(Arc::clone(&pod));
                }
                (entry.pod, entry.phase) = (Arc::clone(&pod), Phase::Busy);
                let plane = Arc::clone(&self.plane);
                self.spawn(uid, async move { Done::Enrolled(plane.enrol(pod).await) });
            }
            Action::Forget(uid) => drop(self.entries.remove(&uid)),
            Action::Resume(uid) => {
                let Some(entry) = self.entries.get_mut(&uid) else { return };
                entry.drain.take().iter().for_each(AbortHandle::abort);
                entry.phase = Phase::Enrolled;
                tracing::info!(pod = %entry.pod.key, "the pod is wanted again before it had left: redirecting again");
                // Verification finds the redirects missing and lays them.
                self.verify(&uid);
            }
            Action::Withdraw(uid) => {
                let Some((entry, pod)) = self.held(&uid) else { return };
                entry.phase = Phase::Busy;
                tracing::info!(pod = %entry.pod.key, "withdrawing");
                let plane = Arc::clone(&self.plane);
                self.spawn(uid, async move { Done::Released(plane.release(pod).await) });
            }
            Action::WithdrawNow(uid) => self.remove(uid),
        }
    }

    fn remove(&mut self, uid: Arc<str>) {
        let Some((entry, pod)) = self.held(&uid) else { return };
        entry.phase = Phase::Busy;
        entry.drain.take().iter().for_each(AbortHandle::abort);
        let plane = Arc::clone(&self.plane);
        self.spawn(uid, async move { Done::Removed(plane.remove(pod).await) });
    }

    fn held(&mut self, uid: &str) -> Option<(&mut Entry<P>, Arc<P::Enrolled>)> {
        let entry = self.entries.get_mut(uid)?;
        let pod = Arc::clone(entry.enrolled.as_ref()?);
        Some((entry, pod))
    }

    fn verify_all(&mut self) {
        // A pod that is out is swept by the next step when this forgets that it was.
        for uid in std::mem::take(&mut self.unswept) {
            self.swept.remove(&uid);
        }
        let enrolled = self.entries.iter().filter(|(_, e)| e.phase == Phase::Enrolled);
        let uids: Vec<_> = enrolled.map(|(uid, _)| Arc::clone(uid)).collect();
        uids.iter().for_each(|uid| self.verify(uid));
    }

    fn verify_idle(&mut self, uid: &Arc<str>) {
        if self.entries.get(uid).is_some_and(|entry| entry.phase == Phase::Enrolled) {
            self.verify(uid);
        }
    }

    fn verify(&mut self, uid: &Arc<str>) {
        let Some((entry, pod)) = self.held(uid) else { return };
        entry.phase = Phase::Busy;
        let (plane, uid) = (Arc::clone(&self.plane), Arc::clone(uid));
        self.spawn(uid, async move { Done::Verified(plane.verify(pod).await) });
    }

    fn sweep(&mut self, pod: Arc<Pod>) {
        let (plane, uid) = (Arc::clone(&self.plane), Arc::clone(&pod.uid));
        self.spawn(uid, async move {
            let result = plane.sweep(Arc::clone(&pod)).await;
            Done::Swept(pod, result)
        });
    }

    fn spawn(&mut self, uid: Arc<str>, step: impl Future<Output = Done<P>> + Send + 'static) -> AbortHandle {
        let of = Arc::clone(&uid);
        let handle = self.work.spawn(async move { (of, step.await) });
        self.steps.insert(handle.id(), uid);
        handle
    }

    /// Nobody knows how far the step came: what is held is let go, which leaves the rules, and enrolled anew.
    fn panicked(&mut self, uid: &str) {
        if let Some(entry) = self.entries.get_mut(uid) {
            entry.enrolled = None;
            entry.failed("a step of its enrolment panicked".into());
        }
    }

    fn done(&mut self, uid: &Arc<str>, done: Done<P>) {
        if let Done::Swept(pod, result) = &done {
            match result {
                Ok(true) => {
                    tracing::info!(pod = %pod.key, "removed what an earlier life had left in a pod that is out")
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(pod = %pod.key, error = %chain(error), "could not look for leftovers");
                    self.unswept.insert(Arc::clone(uid));
                }
            }
        }
        let Some(entry) = self.entries.get_mut(uid) else { return };
        let key = entry.pod.key.clone();
        match done {
            Done::Swept(..) => {}
            // Wanted again, or removed for another reason, in the moment in which the last connection ended.
            Done::Drained if entry.phase != Phase::Withdrawing => {}
            Done::Drained => self.remove(Arc::clone(uid)),
            Done::Enrolled(Ok(enrolled)) => {
                tracing::info!(pod = %key, account = %entry.pod.service_account, "enrolled");
                entry.enrolled = Some(Arc::new(enrolled));
                (entry.phase, entry.error, entry.failures) = (Phase::Enrolled, None, 0);
            }
            Done::Enrolled(Err(error)) => {
                let text: Arc<str> = chain(&error).into();
                tracing::warn!(pod = %key, error = %text, "the pod belongs to the mesh and could not be enrolled; it is tried again");
                entry.failed(text);
            }
            Done::Released(result) => {
                entry.phase = Phase::Withdrawing;
                if let Err(error) = result {
                    tracing::warn!(pod = %key, error = %chain(&error), "the redirects could not be taken out; removing everything");
                    return self.remove(Arc::clone(uid));
                }
                let Some(pod) = entry.enrolled.clone() else { return };
                let (plane, uid) = (Arc::clone(&self.plane), Arc::clone(uid));
                let drain = self.spawn(Arc::clone(&uid), async move {
                    plane.drained(pod).await;
                    Done::Drained
                });
                if let Some(entry) = self.entries.get_mut(&uid) {
                    entry.drain = Some(drain);
                }
            }
            Done::Removed(result) => {
                match result {
                    Ok(()) => tracing::info!(pod = %key, "withdrawn"),
                    // The namespace goes with the pod, as a rule; the sweep looks after the rest.
                    Err(error) => {
                        tracing::warn!(pod = %key, error = %chain(&error), "withdrawn, but something was left behind")
                    }
                }
                self.entries.remove(uid);
            }
            Done::Verified(result) => {
                entry.phase = Phase::Enrolled;
                match result {
                    Ok(found) => {
                        entry.healed += u64::from(found == Verified::Healed);
                        entry.error = None;
                        (self.on_verified)(&entry.pod, Ok(found));
                        match found {
                            Verified::Replaced => {
                                tracing::warn!(pod = %key, "the pod is another one now: enrolling it anew");
                                self.remove(Arc::clone(uid));
                            }
                            Verified::Mispaired => self.remove(Arc::clone(uid)),
                            Verified::Healed | Verified::Same => {}
                        }
                    }
                    Err(error) => {
                        let text: Arc<str> = chain(&error).into();
                        tracing::warn!(pod = %key, error = %text, "the pod could not be verified");
                        (self.on_verified)(&entry.pod, Err(&text));
                        entry.error = Some(text);
                    }
                }
            }
        }
    }

    fn publish(&self, all: &Wanted) {
        self.status.send_replace(Arc::new(status::statuses(all, &self.entries)));
    }
}

#[cfg(test)]
mod tests;
