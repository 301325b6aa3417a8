//! The one spawner of tasks that live as long as the process.

use std::error::Error;
use std::future::Future;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::Panics;
use super::shutdown::{Phase, Shutdown};
use crate::telemetry::cause::chain;

/// What a long-lived task may fail with.
pub type TaskError = Box<dyn Error + Send + Sync>;

/// Whether the process can do its work without the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Its end before the drain ends the process.
    Essential,
    /// Its failure is logged, and the process goes on.
    Useful,
}

/// Why an essential task ended before it should.
#[derive(Debug, thiserror::Error)]
pub enum TaskEnd {
    /// The task's own error. Its source says whose fault.
    #[error("the task {task} failed")]
    Failed {
        task: &'static str,
        #[source]
        source: TaskError,
    },
    /// A bug of ours.
    #[error("the task {task} panicked: please report this as a bug")]
    Panicked {
        task: &'static str,
        #[source]
        source: super::Panic,
    },
    /// A bug of ours: it returned while the process was serving.
    #[error("the task {task} ended while it was needed: please report this as a bug")]
    Returned { task: &'static str },
}

/// Spawns, watches and awaits the long-lived tasks. Clones share the tasks.
#[derive(Clone, Debug)]
pub struct Supervisor {
    shutdown: Shutdown,
    panics: Panics,
    tracker: TaskTracker,
    ends: mpsc::Sender<TaskEnd>,
}

/// Where essential tasks' ends arrive. The process selects on it beside its signals.
#[must_use = "an essential task's end that nobody hears leaves a process that does half its work"]
#[derive(Debug)]
pub struct Ends(mpsc::Receiver<TaskEnd>);

// === impl Supervisor ===

impl Supervisor {
    pub fn new(shutdown: Shutdown, panics: Panics) -> (Self, Ends) {
        // One end is enough to end the process; later ones are logged by their own task.
        let (ends, receive) = mpsc::channel(1);
        (Self { shutdown, panics, tracker: TaskTracker::new(), ends }, Ends(receive))
    }

    /// Starts `work` in `pool` under a name that logs and errors carry.
    pub fn spawn<F>(&self, pool: &Handle, task: &'static str, need: Need, work: F)
    where
        F: Future<Output = Result<(), TaskError>> + Send + 'static,
    {
        let Self { shutdown, panics, ends, .. } = self.clone();
        let watched = async move {
            let end = match panics.caught(task, work).await {
                Ok(Ok(())) if need == Need::Useful => return,
                Ok(Ok(())) => TaskEnd::Returned { task },
                Ok(Err(source)) => TaskEnd::Failed { task, source },
                Err(source) => TaskEnd::Panicked { task, source },
            };
            let leaving = shutdown.phase() >= Phase::Draining;
            match (&end, leaving, need) {
                (TaskEnd::Returned { .. }, true, _) => {}
                (_, true, _) | (_, _, Need::Useful) => tracing::warn!(task, error = chain(&end), "a task ended"),
                (_, false, Need::Essential) => {
                    tracing::error!(task, error = chain(&end), "an essential task ended");
                    // A full channel already holds the end that stops the process.
                    drop(ends.try_send(end));
                }
            }
        };
        drop(self.tracker.spawn_on(watched, pool));
    }

    /// Waits until every task has ended. Call it after the drain began; cutting is the tasks' own matter.
    pub async fn ended(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

// === impl Ends ===

impl Ends {
    /// The first essential end; waits forever when there is none.
    pub async fn first(&mut self) -> TaskEnd {
        match self.0.recv().await {
            Some(end) => end,
            // Every supervisor is gone, and with it every task that could end.
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests;
