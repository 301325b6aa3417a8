//! One connection to the CA and who may still use it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::grpc::{Channel, ConnectError, Endpoint, Trust};

/// A connection that nobody has used for this long, 5 min, is not used again: balancers and firewalls forget silent
/// connections without a word, and a pod that starts would wait for the deadline to learn of it.
const IDLE: Duration = Duration::from_secs(300);

/// A connection, made or in the making. Many requests share it.
pub(super) struct Line {
    /// Requests that came back, with whatever answer.
    answers: AtomicU64,
    /// Nobody new gets it.
    given_up: AtomicBool,
    outcome: watch::Receiver<Outcome>,
    used: Mutex<Instant>,
    /// The roots that it was made with; [`None`] when there were none.
    trust: Option<Trust>,
}

#[derive(Clone)]
enum Outcome {
    Failed(Arc<ConnectError>),
    Made(Channel),
    Pending,
}

/// Why a line cannot be used.
pub(super) enum NoLine {
    /// The attempt ended without an outcome.
    Cut,
    Failed(Arc<ConnectError>),
}

/// A request on a line. When it goes away without an answer, and no other request on the line was answered since it
/// began, the line is given up: nothing says that it still works.
pub(super) struct Call<'a> {
    line: &'a Line,
    answers: u64,
}

/// The lines of one client.
#[derive(Default)]
pub(super) struct Lines {
    /// Attempts in flight; each ends within the endpoint's limits.
    attempts: JoinSet<()>,
    current: Option<Arc<Line>>,
    /// Made with roots that have changed since. Used while no new one can be made, and never connected again.
    previous: Option<Arc<Line>>,
}

// === impl Line ===

impl Line {
    /// The channel, once the attempt is over.
    pub(super) async fn channel(&self) -> Result<Channel, NoLine> {
        let mut outcome = self.outcome.clone();
        let outcome = outcome.wait_for(|outcome| !matches!(outcome, Outcome::Pending)).await;
        match outcome.as_deref() {
            Ok(Outcome::Made(channel)) => Ok(channel.clone()),
            Ok(Outcome::Failed(error)) => Err(NoLine::Failed(Arc::clone(error))),
            Ok(Outcome::Pending) | Err(_) => Err(NoLine::Cut),
        }
    }

    pub(super) fn call(&self) -> Call<'_> {
        *self.used() = Instant::now();
        Call { line: self, answers: self.answers.load(Ordering::Relaxed) }
    }

    fn used(&self) -> std::sync::MutexGuard<'_, Instant> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The channel, when it is made and still good.
    fn made(&self) -> Option<Channel> {
        match &*self.outcome.borrow() {
            Outcome::Made(channel) if !self.given_up.load(Ordering::Relaxed) => Some(channel.clone()),
            _ => None,
        }
    }

    /// Made or in the making, with the roots of now.
    fn usable(&self, trust: &Option<Trust>) -> bool {
        let pending = matches!(*self.outcome.borrow(), Outcome::Pending);
        // The error is a sender that ended without an outcome.
        let pending = pending && self.outcome.has_changed().is_ok();
        let fresh = self.used().elapsed() < IDLE;
        self.trust == *trust && (pending || (fresh && self.made().is_some()))
    }
}

// === impl Call ===

impl Call<'_> {
    /// The CA answered, with a certificate or with a status.
    pub(super) fn answered(self) {
        self.line.answers.fetch_add(1, Ordering::Relaxed);
    }

    /// The connection is gone.
    pub(super) fn lost(self) {
        self.line.given_up.store(true, Ordering::Relaxed);
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if self.line.answers.load(Ordering::Relaxed) == self.answers {
            self.line.given_up.store(true, Ordering::Relaxed);
        }
    }
}

// === impl Lines ===

impl Lines {
    /// The line to use now, and whether it was made before: then it may have been lost without our knowing. A new one
    /// begins to connect here, in a task of its own, so that all who wait for it see one attempt and one failure.
    pub(super) fn current(&mut self, endpoint: &Endpoint, trust: Option<Trust>) -> (Arc<Line>, bool) {
        if let Some(line) = self.current.as_ref().filter(|line| line.usable(&trust)) {
            return (Arc::clone(line), line.made().is_some());
        }
        let changed = |line: &Arc<Line>| line.trust != trust && line.made().is_some();
        if let Some(line) = self.current.take().filter(changed) {
            tracing::info!(ca = %endpoint.address(), "the roots of the CA have changed: connecting anew");
            self.previous = Some(line);
        }
        while self.attempts.try_join_next().is_some() {}
        let (sender, outcome) = watch::channel(Outcome::Pending);
        let endpoint = endpoint.clone();
        self.attempts.spawn(async move {
            sender.send_replace(match endpoint.connect().await {
                Ok(channel) => Outcome::Made(channel),
                Err(error) => Outcome::Failed(Arc::new(error)),
            });
        });
        let used = Mutex::new(Instant::now());
        let line = Line { answers: AtomicU64::new(0), given_up: AtomicBool::new(false), outcome, trust, used };
        let line = Arc::new(line);
        self.current = Some(Arc::clone(&line));
        (line, false)
    }

    /// A new line stands: the one before it has no use any more.
    pub(super) fn settled(&mut self) {
        self.previous = None;
    }

    /// The connection from before the roots changed, while it holds.
    pub(super) fn previous(&mut self) -> Option<(Arc<Line>, Channel)> {
        let found = self.previous.take().and_then(|line| line.made().map(|channel| (line, channel)));
        self.previous = found.as_ref().map(|(line, _)| Arc::clone(line));
        found
    }
}
