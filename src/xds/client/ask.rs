//! The handle with which others wait for a resource.

use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::demand::{Answer, Key};

/// Demands on their way to the task.
const QUEUE: usize = 1024;
/// Nobody waits longer (30 s): a connection that hangs for more is a failure to its app.
const LONGEST: Duration = Duration::from_secs(30);

/// Asks for single resources. Clones ask the same client.
#[derive(Clone, Debug)]
pub struct Demander {
    asks: mpsc::Sender<Ask>,
}

/// Why it is not known whether the mesh has it. A caller that would send plain text to what is missing refuses instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DemandError {
    /// No answer in time. The control plane's fault.
    #[error("the control plane did not answer in time: look at its log and at the state of the connection to it")]
    Deadline,
    /// The process is ending.
    #[error("the client of the control plane has ended")]
    Ended,
    /// Of the apps: something asks for many addresses or names at once.
    #[error("too many addresses and names are asked for at once: look for a pod that scans")]
    TooMany,
}

pub(super) type Ticket = oneshot::Sender<Result<Answer, DemandError>>;

/// A demand on its way.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) key: Key,
    pub(super) deadline: Instant,
    pub(super) ticket: Ticket,
}

// === impl Demander ===

impl Demander {
    pub(super) fn new() -> (Self, mpsc::Receiver<Ask>) {
        let (asks, receiver) = mpsc::channel(QUEUE);
        (Self { asks }, receiver)
    }

    /// Waits until the control plane has said what it knows of `key`, at most for `limit` (and never more than 30 s).
    /// When this says [`Answer::Found`] the mesh has it. Any number may wait for one key; it is asked for once, and
    /// again after a reconnection.
    ///
    /// # Errors
    /// See [`DemandError`].
    pub async fn demand(&self, key: Key, limit: Duration) -> Result<Answer, DemandError> {
        let deadline = Instant::now() + limit.min(LONGEST);
        let (ticket, answer) = oneshot::channel();
        self.asks.try_send(Ask { key, deadline, ticket }).map_err(|error| match error {
            TrySendError::Full(_) => DemandError::TooMany,
            TrySendError::Closed(_) => DemandError::Ended,
        })?;
        match timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(DemandError::Ended),
            Err(_) => Err(DemandError::Deadline),
        }
    }
}
