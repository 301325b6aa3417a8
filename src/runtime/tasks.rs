//! The tasks of one owner: a pod's connections, a server's clients.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Panics;

/// A bounded set of tasks with one life. Clones are the same set.
#[derive(Clone, Debug)]
pub struct Tasks {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    limit: usize,
    live: AtomicUsize,
    panics: Panics,
    pool: Handle,
    tracker: TaskTracker,
    drain: CancellationToken,
    force: CancellationToken,
}

/// The set has as many tasks as it may: the caller sheds what it was about to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{limit} tasks are running, which is the limit")]
pub struct Full {
    pub limit: usize,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every task ended by itself.
    Clean,
    /// This many were cut at the deadline.
    Forced(usize),
}

/// Counts a task out, however it ends.
#[derive(Debug)]
pub struct Place(Arc<Shared>);

// === impl Tasks ===

impl Tasks {
    /// A set named for logs, of at most `limit` tasks, run in `pool`. Cancelling `drain` asks its tasks to end,
    /// cancelling `force` cuts them; both are watched as parents and never cancelled by the set.
    pub fn new(
        name: impl Into<String>,
        limit: usize,
        pool: Handle,
        panics: Panics,
        drain: &CancellationToken,
        force: &CancellationToken,
    ) -> Self {
        let shared = Shared {
            name: name.into(),
            limit,
            live: AtomicUsize::new(0),
            panics,
            pool,
            tracker: TaskTracker::new(),
            drain: drain.child_token(),
            force: force.child_token(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Starts `work`. It ends by itself, by a panic (caught and counted), or where it waits when the set is cut.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> Result<(), Full> {
        let place = self.place()?;
        let task = async move {
            let Place(shared) = &place;
            tokio::select! {
                biased;
                () = shared.force.cancelled() => {}
                // The panic is already logged and counted; the task has nobody else to tell.
                result = shared.panics.caught(&shared.name, work) => drop(result),
            }
        };
        drop(self.shared.tracker.spawn_on(task, &self.shared.pool));
        Ok(())
    }

    /// A place for what another set runs on this one's account. No drain waits for it.
    pub fn place(&self) -> Result<Place, Full> {
        let shared = Arc::clone(&self.shared);
        if shared.live.fetch_add(1, Ordering::Relaxed) >= shared.limit {
            shared.live.fetch_sub(1, Ordering::Relaxed);
            return Err(Full { limit: shared.limit });
        }
        Ok(Place(shared))
    }

    /// How many are running, and places.
    pub fn len(&self) -> usize {
        self.shared.live.load(Ordering::Relaxed)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Cancelled when the tasks should end by themselves.
    pub fn draining(&self) -> &CancellationToken {
        &self.shared.drain
    }

    /// Asks the tasks to end, waits until `deadline` has passed, cuts what is left and waits for it to be gone.
    /// A deadline of zero cuts at once.
    pub async fn drain(&self, deadline: Duration) -> Drained {
        let Shared { tracker, drain, force, name, .. } = &*self.shared;
        drain.cancel();
        tracker.close();
        tokio::select! {
            () = tracker.wait() => return Drained::Clean,
            () = force.cancelled() => {}
            () = tokio::time::sleep(deadline) => {}
        }
        let left = self.len();
        force.cancel();
        tracker.wait().await;
        if left == 0 {
            return Drained::Clean;
        }
        tracing::warn!(tasks = name, left, "connections were cut at the drain's deadline");
        Drained::Forced(left)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
