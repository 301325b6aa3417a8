//! One connection's questions to the control plane, before it is decided: in a mesh that holds only what was asked for.

use std::time::Duration;

use tokio::time::Instant;

use super::outcome::Failure;
use super::shared::Shared;
use crate::mesh::demand::{Share, Silence, Sought, Unanswered};

/// Things that the connections of a pod ask for at a time, and as many that the connections to it do. The node asks for
/// a thousand in all.
pub(super) const SHARE: usize = 128;
/// What was asked for leads to more: an address to a waypoint, and that to a gateway. More rounds than this only a mesh
/// needs that changes all the while.
const ROUNDS: usize = 8;

/// What one connection has asked for.
pub(super) struct Asking<'a> {
    shared: &'a Shared,
    share: &'a Share,
    deadline: Instant,
    rounds: usize,
    /// What was answered and is not in the mesh.
    absent: Vec<Sought>,
}

// === impl Asking ===

impl<'a> Asking<'a> {
    /// All of its questions are answered within `limit`, or not at all.
    pub(super) fn new(shared: &'a Shared, share: &'a Share, limit: Duration) -> Self {
        Self { shared, share, deadline: Instant::now() + limit, rounds: 0, absent: Vec::new() }
    }

    /// Asks for what a decision on the view with `version` was made without. True when the mesh has changed: decide anew.
    /// False when that decision counts.
    ///
    /// # Errors
    /// [`Failure::Unsaid`]. It must not be decided.
    pub(super) async fn about(&mut self, mut missing: Vec<Sought>, version: u64) -> Result<bool, Failure> {
        missing.retain(|sought| !self.absent.contains(sought));
        let (Some(demand), Some(first)) = (&self.shared.demand, missing.first()) else { return Ok(false) };
        self.rounds += 1;
        if self.rounds > ROUNDS {
            let why = Silence::Deadline;
            return Err(Failure::Unsaid(Box::new(Unanswered { sought: first.clone(), why })));
        }
        let limit = self.deadline.saturating_duration_since(Instant::now());
        let asked = Box::pin(demand.ask(self.share, missing.clone(), limit)).await;
        asked.map_err(|unanswered| Failure::Unsaid(Box::new(unanswered)))?;
        let view = self.shared.mesh.view();
        self.absent.extend(missing.into_iter().filter(|sought| !sought.is_held(&view)));
        Ok(view.version() != version)
    }
}

#[cfg(test)]
mod tests;
