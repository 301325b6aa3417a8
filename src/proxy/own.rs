//! The records of this node's own pods, in a mesh that holds only what was asked for. A control plane need not send them
//! by itself, and without its record a pod is called by nobody.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::pod::PodProxy;
use super::shared::Shared;
use crate::mesh::demand::{OnDemand, Sought};

/// How often it is looked whether a record is missing.
const LOOK: Duration = Duration::from_millis(500);
/// A pod whose record there is none of is asked for again after 500 ms, then after twice as long each time.
const LONGEST: Duration = Duration::from_secs(30);

/// When a pod is asked for next, and how long after that again.
struct Due {
    at: Instant,
    wait: Duration,
}

/// Asks for the records of enrolled pods until the mesh has them. Runs until `stop`; with the whole mesh there is nothing
/// to do.
pub async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let Some(demand) = &shared.demand else { return stop.cancelled().await };
    let mut due = HashMap::new();
    loop {
        demand.forget_held();
        look(&shared, demand, &mut due, Instant::now());
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(LOOK) => {}
        }
    }
}

fn look(shared: &Shared, demand: &OnDemand, due: &mut HashMap<Arc<str>, Due>, now: Instant) {
    let view = shared.mesh.view();
    let mut pods = shared.local.all();
    pods.retain(|pod| !pod.is_closing() && pod.workload(&view).is_none());
    let missing: HashSet<_> = pods.iter().map(|pod| &pod.pod.uid).collect();
    due.retain(|uid, _| missing.contains(uid));
    for pod in &pods {
        let Due { at, wait } = due.entry(Arc::clone(&pod.pod.uid)).or_insert(Due { at: now, wait: LOOK });
        if *at <= now {
            ask(shared, demand, pod);
            *at = now + *wait;
            *wait = wait.saturating_mul(2).min(LONGEST);
        }
    }
}

/// Asks for a pod's record by its addresses.
pub(super) fn ask(shared: &Shared, demand: &OnDemand, pod: &PodProxy) {
    let network = &shared.config.network;
    let addresses = pod.addresses();
    let sought = addresses.iter().filter_map(|ip| Sought::address(Arc::clone(network), *ip));
    sought.for_each(|sought| demand.nudge(sought, LOOK));
}

#[cfg(test)]
mod tests;
