//! Pods that a node agent announces, as the manager wants them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::manager::{PodStatus, State, Wanted};
use super::reconcile::is_same;
use crate::model::membership::{InReason, Membership};
use crate::model::name::NamespacedName;
use crate::model::pod::{Pod, PodNetns};
use crate::runtime::ready::Condition;
use crate::sys::netns::Netns;
use crate::zds::client::Pods;
use crate::zds::packet::Who;
use crate::zds::session::MOST_PODS;

/// Says of a namespace whether any pod may have it. Blocks for less than a millisecond.
pub type Admits = Arc<dyn Fn(&Netns) -> Result<(), String> + Send + Sync>;

/// The announced pods of this node.
pub struct Announced {
    admits: Admits,
    /// "The agent has named its pods on a connection that lives."
    named: Condition,
    node: Arc<str>,
    pods: Mutex<BTreeMap<Arc<str>, Arc<Pod>>>,
    statuses: watch::Receiver<Arc<Vec<PodStatus>>>,
    wanted: watch::Sender<Arc<Wanted>>,
}

/// What a withdrawal takes at the most: last words to peers, then the cut.
const VACATES_WITHIN: Duration = Duration::from_secs(2);

// === impl Announced ===

impl Announced {
    /// `wanted` leads the manager that `statuses` are of. `node` is this node's name.
    pub fn new(
        node: Arc<str>,
        wanted: watch::Sender<Arc<Wanted>>,
        statuses: watch::Receiver<Arc<Vec<PodStatus>>>,
        admits: Admits,
        named: Condition,
    ) -> Self {
        Self { admits, named, node, pods: Mutex::default(), statuses, wanted }
    }

    /// Notes the pod as wanted. `Ok` when the same one serves already.
    fn want(&self, uid: Arc<str>, who: Who, netns: Netns) -> Result<Result<(), Arc<Pod>>, String> {
        let mut pods = self.lock();
        let mut pod = Pod {
            key: NamespacedName::new(who.namespace, who.name),
            uid: Arc::clone(&uid),
            service_account: who.service_account,
            node: Arc::clone(&self.node),
            addresses: Vec::new(),
            host_network: false,
            finished: false,
            dataplane_mode: None,
            has_sidecar: false,
            dns_capture: None,
            netns: Some(PodNetns::Handle(netns)),
        };
        match pods.get(&uid).filter(|held| is_same(held, &pod)) {
            Some(held) if self.outcome(held) == Some(Ok(())) => return Ok(Ok(())),
            // One descriptor for a namespace is enough.
            Some(held) => pod.netns.clone_from(&held.netns),
            None if pods.len() >= MOST_PODS && !pods.contains_key(&uid) => {
                return Err(format!("{MOST_PODS} pods are announced already"));
            }
            None => {}
        }
        let pod = Arc::new(pod);
        pods.insert(uid, Arc::clone(&pod));
        self.publish(&pods);
        Ok(Err(pod))
    }

    /// Another pod holds the namespace and is not to stay there.
    fn is_vacating(&self, statuses: &[PodStatus], uid: &str, netns: &Netns) -> bool {
        let asked = Some(PodNetns::Handle(netns.clone()));
        let pods = self.lock();
        let stays = |holder: &Pod| pods.get(&holder.uid).is_some_and(|wanted| wanted.netns == asked);
        statuses.iter().any(|held| *held.pod.uid != *uid && held.pod.netns == asked && !stays(&held.pod))
    }

    /// How the newest step for exactly this announcement ended; `None` while it is under way.
    fn outcome(&self, pod: &Arc<Pod>) -> Option<Result<(), String>> {
        let statuses = Arc::clone(&self.statuses.borrow());
        let status = statuses.iter().find(|status| Arc::ptr_eq(&status.pod, pod)).filter(|status| status.settled)?;
        match &status.state {
            State::Enrolled => Some(Ok(())),
            State::Failed(error) => Some(Err(error.to_string())),
            State::Enrolling | State::Out | State::Withdrawing => None,
        }
    }

    fn publish(&self, pods: &BTreeMap<Arc<str>, Arc<Pod>>) {
        let wanted = pods.values().map(|pod| (Arc::clone(pod), Membership::In(InReason::Announced)));
        self.wanted.send_replace(Arc::new(wanted.collect()));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<Pod>>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pods for Announced {
    async fn add(&self, uid: Arc<str>, who: Who, netns: Netns) -> Result<(), String> {
        // A namespace that no pod can have is refused without a place among those that are tried again.
        let (admits, asked) = (Arc::clone(&self.admits), netns.clone());
        let admitted = tokio::task::spawn_blocking(move || admits(&asked)).await;
        admitted.map_err(|_| "a step was cut off".to_owned())??;
        let mut statuses = self.statuses.clone();
        // A pod that is on its way out of this namespace needs a moment; one that stays has the other refused.
        let vacated = async {
            loop {
                let now = Arc::clone(&statuses.borrow_and_update());
                if !self.is_vacating(&now, &uid, &netns) || statuses.changed().await.is_err() {
                    return;
                }
            }
        };
        drop(tokio::time::timeout(VACATES_WITHIN, vacated).await);
        let Err(pod) = self.want(uid, who, netns)? else { return Ok(()) };
        loop {
            statuses.mark_unchanged();
            if let Some(outcome) = self.outcome(&pod) {
                return outcome;
            }
            if statuses.changed().await.is_err() {
                return Err("this process is ending".into());
            }
        }
    }

    fn del(&self, uid: &str) {
        let mut pods = self.lock();
        if pods.remove(uid).is_some() {
            self.publish(&pods);
        }
    }

    fn keep(&self, uid: &str) {
        if !self.lock().contains_key(uid) {
            tracing::warn!(
                uid,
                "the node agent cannot supply the namespace of a pod, and it is not served yet: it is outside of the mesh or cut off until the agent adds it"
            );
        }
    }

    fn snapshot(&self, named: &BTreeSet<Arc<str>>) {
        let mut pods = self.lock();
        let before = pods.len();
        pods.retain(|uid, _| named.contains(uid));
        if pods.len() < before {
            self.publish(&pods);
        }
        drop(pods);
        self.named.meet();
    }

    fn lost(&self, why: &str) {
        self.named.lose(why);
    }
}

#[cfg(test)]
mod tests;
