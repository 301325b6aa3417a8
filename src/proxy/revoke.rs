//! Live connections under today's policy, and this hour's: what is no longer permitted ends.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use super::outcome::Failure;
use super::shared::Shared;
use crate::authz::{self, Decision, Reason, Request};
use crate::mesh::{Compiled, View};

/// The longest sleep while policies have time conditions: somebody may set the clock.
const LOOK: Duration = Duration::from_secs(60);

/// Which pods are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pods {
    All,
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
    loop {
        let pause = pause(&shared.mesh.view(), clock());
        let window = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        let pods = tokio::select! {
            () = stop.cancelled() => return,
            changed = changes.changed() => match changed {
                Ok(()) => Pods::All,
                Err(_) => return,
            },
            () = window => Pods::Timed,
        };
        let ended = judge_all(shared, pods, &clock).await;
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

/// Returns how many were ended.
async fn judge_all(shared: &Shared, pods: Pods, clock: &impl Fn() -> SystemTime) -> usize {
    let mut ended = 0;
    for pod in shared.local.all() {
        let view = shared.mesh.view();
        // A pod that the mesh has forgotten for a moment loses nothing.
        let Some(workload) = pod.workload(&view) else { continue };
        let applicable = view.policies_for(workload);
        if pods == Pods::Timed && !applicable.policies.iter().any(|policy| has_window(policy)) {
            continue;
        }
        let now = clock();
        for connection in pod.arrived().all() {
            let facts = &connection.facts;
            let request = Request {
                peer: facts.client_identity.as_ref(),
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
