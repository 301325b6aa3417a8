//! A process's two turns: it takes from the one before it, and gives to the one after it.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::giver::Giver;
use super::message::Node;
use super::taker::{Predecessor, Progress};
use crate::config::node::NodeSettings;
use crate::enroll::manager::{PodStatus, State};
use crate::role::node::plane::Plane;
use crate::runtime::ready::Readiness;
use crate::runtime::supervise::TaskError;
use crate::sys::handover::Meeting;
use crate::telemetry::cause::chain;

/// What the task of the take-over needs.
pub struct Relay {
    node: Node,
    path: Option<PathBuf>,
    plane: Arc<Plane>,
    predecessor: Option<Predecessor>,
    /// The predecessor has the ports of this process's pages.
    pages: bool,
    /// Cancelled when the predecessor has no more to do with this process.
    alone: CancellationToken,
    /// Cancelled when the next process needs the ports of the pages.
    released: CancellationToken,
}

// === impl Relay ===

impl Relay {
    pub fn new(settings: &NodeSettings, predecessor: Option<Predecessor>, plane: &Arc<Plane>, pages: bool) -> Self {
        Self {
            node: Node::of(settings),
            path: settings.takeover_socket.clone(),
            plane: Arc::clone(plane),
            predecessor,
            pages,
            alone: CancellationToken::new(),
            released: CancellationToken::new(),
        }
    }

    pub fn alone(&self) -> &CancellationToken {
        &self.alone
    }

    pub fn released(&self) -> &CancellationToken {
        &self.released
    }

    /// Until `stop`, or until the next process has taken over.
    pub async fn run(
        self,
        statuses: watch::Receiver<Arc<Vec<PodStatus>>>,
        readiness: Readiness,
        stop: CancellationToken,
    ) -> Result<(), TaskError> {
        let Self { node, path, plane, predecessor, pages, alone, released } = self;
        if let Some(predecessor) = predecessor {
            let of = Arc::clone(&plane);
            let progress = move || progress(&statuses, &readiness, of.progress());
            let unsure = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                unsure = predecessor.run(progress, pages) => unsure,
            };
            alone.cancel();
            if let Some(unsure) = unsure {
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    () = unsure.wait() => {}
                }
            }
        }
        alone.cancel();
        let Some(path) = path else { return Ok(()) };
        let meeting = match Meeting::hold(&path) {
            Ok(meeting) => meeting,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "the next process cannot take over: an upgrade will refuse connections for a moment");
                return Ok(());
            }
        };
        let stands = Arc::clone(plane.stands());
        Giver { node, stands, pages: released }.run(meeting, stop).await;
        Ok(())
    }
}

/// How far this process is, by its pods, by its readiness, and by the pods that came from the one before it.
fn progress(statuses: &watch::Receiver<Arc<Vec<PodStatus>>>, readiness: &Readiness, taken: Progress) -> Progress {
    // A receiver that never looks has news for ever once enrolment has begun. Before, nobody knows the pods.
    if !statuses.has_changed().unwrap_or(true) {
        return Progress::Unable;
    }
    let waits = |status: &PodStatus| matches!(status.state, State::Enrolling | State::Failed(_));
    let all = readiness.is_ready() && !statuses.borrow().iter().any(waits);
    match taken {
        Progress::Able if !all => Progress::Partly,
        taken => taken,
    }
}
