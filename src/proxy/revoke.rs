//! Live connections under today's policy: what is no longer permitted ends.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::outcome::Failure;
use super::shared::Shared;
use crate::authz::{Decision, Reason, Request};

/// Judges every live connection again whenever the mesh changes, until `stop`.
pub async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut changes = shared.mesh.changes();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
        }
        let ended = judge_all(&shared).await;
        if ended > 0 {
            tracing::info!(ended, "connections ended that policy no longer permits");
        }
    }
}

/// Returns how many were ended.
async fn judge_all(shared: &Shared) -> usize {
    let mut ended = 0;
    for pod in shared.local.all() {
        let view = shared.mesh.view();
        for connection in pod.arrived().all() {
            let facts = &connection.facts;
            let request = Request {
                peer: facts.client_identity.as_ref(),
                source: facts.client.ip(),
                destination: facts.destination,
            };
            // A reference to a policy that has not arrived denies what is new and ends nothing: the
            // answer is not known yet. Nor does a pod that the mesh has forgotten for a moment.
            if let Some(Decision::Deny(denial)) = pod.judge(&view, &request)
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
