//! What is held of one pod.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::{Phase, Plane};
use crate::model::pod::Pod;

pub(super) struct Entry<P: Plane> {
    pub(super) pod: Arc<Pod>,
    pub(super) phase: Phase,
    pub(super) enrolled: Option<Arc<P::Enrolled>>,
    pub(super) error: Option<Arc<str>>,
    pub(super) failures: u32,
    pub(super) retry_at: Instant,
    pub(super) healed: u64,
    pub(super) drain: Option<AbortHandle>,
}

/// Enrolment is tried again after 0.5 s, doubling up to this.
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// A node agent's pod is tried again at least as often as the agent's own proxy would.
const MAX_ANNOUNCED_BACKOFF: Duration = Duration::from_secs(5);

// === impl Entry ===

impl<P: Plane> Entry<P> {
    pub(super) fn new(pod: Arc<Pod>) -> Self {
        Self {
            pod,
            phase: Phase::Busy,
            enrolled: None,
            error: None,
            failures: 0,
            retry_at: Instant::now(),
            healed: 0,
            drain: None,
        }
    }

    /// Plans the next try.
    pub(super) fn failed(&mut self, error: Arc<str>) {
        let most = if self.pod.is_announced() { MAX_ANNOUNCED_BACKOFF } else { MAX_BACKOFF };
        let wait = Duration::from_millis(500) * 2u32.saturating_pow(self.failures.min(10));
        self.failures += 1;
        self.retry_at = Instant::now() + wait.min(most);
        (self.phase, self.error) = (Phase::Failed { due: false }, Some(error));
    }

    /// The phase as it is judged now. Whoever announces a pod again waits for it: it is tried at once.
    pub(super) fn phase_at(&self, now: Instant, wanted: Option<&Arc<Pod>>) -> Phase {
        let is_renewed = |new: &Arc<Pod>| new.is_announced() && !Arc::ptr_eq(new, &self.pod);
        match self.phase {
            Phase::Failed { .. } => Phase::Failed { due: self.retry_at <= now || wanted.is_some_and(is_renewed) },
            phase => phase,
        }
    }
}
