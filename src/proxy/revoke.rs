//! Live connections under today's policy, and this hour's: what is no longer permitted ends.
//!
//! The mesh may change many times a second, and most changes have nothing to do with a pod of this node: one is judged
//! again only when a policy or its own record changed.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use super::outcome::Failure;
use super::shared::Shared;
use crate::authz::{self, Decision, Reason, Request};
use crate::mesh::{Compiled, Held, View};

/// The longest sleep while policies have time conditions: somebody may set the clock.
const LOOK: Duration = Duration::from_secs(60);

/// Which pods are judged.
#[derive(Clone, Copy)]
enum Pods<'a> {
    /// Those for which something is different since this view, under which all were judged.
    Changed(&'a View),
    /// Those to which a policy with a time condition applies.
    Timed,
}

/// Judges every live connection again whenever the mesh changes or a window of time opens or closes, until `stop`.
pub async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    follow(&shared, stop, SystemTime::now).await;
}

/// As [`run`], with a clock that may be set.
pub(super) async fn follow(shared: &Shared, stop: CancellationToken, clock: impl Fn() -> SystemTime) {
    let mut changes = shared.mesh.changes();
    let mut judged = shared.mesh.view();
    loop {
        let pause = pause(&shared.mesh.view(), clock());
        let window = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            () = stop.cancelled() => return,
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                // Kept from before the judging, so that what changes during it is different from it.
                let now = shared.mesh.view();
                let ended = judge_all(shared, Pods::Changed(&judged), &clock).await;
                judged = now;
                ended
            }
            () = window => judge_all(shared, Pods::Timed, &clock).await,
        };
        if ended > 0 {
            tracing::info!(ended, "connections ended that policy no longer permits");
        }
    }
}

/// How long nothing is to be judged again while the mesh stays as it is; `None` is for ever.
fn pause(view: &View, now: SystemTime) -> Option<Duration> {
    let windows = || view.policies_compiled().filter(|policy| has_window(policy));
    windows().next()?;
    let next = authz::next_change(windows(), now).and_then(|at| at.duration_since(now).ok());
    Some(next.map_or(LOOK, |next| next.min(LOOK)))
}

/// It may end a connection by the clock alone.
fn has_window(policy: &Compiled) -> bool {
    policy.is_timed() && policy.is_enforced()
}

/// True when every connection to a workload is decided as before, but for the time of day.
fn is_as_before(now: &View, workload: &Arc<Held>, before: &View, then: Option<&Arc<Held>>) -> bool {
    now.policies_version() == before.policies_version() && then.is_some_and(|then| Arc::ptr_eq(then, workload))
}

/// Returns how many were ended.
async fn judge_all(shared: &Shared, pods: Pods<'_>, clock: &impl Fn() -> SystemTime) -> usize {
    let mut ended = 0;
    for pod in shared.local.all() {
        let view = shared.mesh.view();
        // A pod that the mesh has forgotten for a moment loses nothing.
        let Some(workload) = pod.workload(&view) else { continue };
        if let Pods::Changed(since) = pods
            && is_as_before(&view, workload, since, pod.workload(since))
        {
            continue;
        }
        let applicable = view.policies_for(workload);
        if matches!(pods, Pods::Timed) && !applicable.policies.iter().any(|policy| has_window(policy)) {
            continue;
        }
        let now = clock();
        for connection in pod.arrived().all() {
            let facts = &connection.facts;
            let request = Request {
                peer: facts.client_identity.as_ref(),
                foreign: facts.client_identity.as_ref().is_some_and(|peer| shared.trust.is_foreign(peer)),
                source: facts.client.ip(),
                destination: facts.destination,
                now,
            };
            // A reference to a policy that has not arrived denies what is new and ends nothing: the
            // answer is not known yet.
            if let Decision::Deny(denial) = authz::evaluate(&request, &applicable)
                && denial.reason() != Reason::MissingPolicy
            {
                connection.end(Failure::Revoked(Box::new(denial)));
                ended += 1;
            }
        }
        // A node with many connections must not hold up its own relays.
        tokio::task::yield_now().await;
    }
    ended
}

#[cfg(test)]
mod tests;
