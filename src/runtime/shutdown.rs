//! The phases of the process's life, and the tokens that carry them to every part.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Where the process is in its life. In the order of time, not of letters: a phase never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Building parts; nothing is promised.
    Starting,
    /// Serving.
    Ready,
    /// Not accepting; connections may end by themselves until the deadline.
    Draining,
    /// The deadline has passed, or a person asked twice: connections are cut.
    Forcing,
    /// Every part has ended.
    Ended,
}

/// A handle on the phase: clones see and move the same one.
#[derive(Clone, Debug)]
pub struct Shutdown {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    phase: watch::Sender<Phase>,
    drain: CancellationToken,
    force: CancellationToken,
}

// === impl Phase ===

impl Phase {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Forcing => "forcing",
            Self::Ended => "ended",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Shutdown ===

impl Shutdown {
    pub fn new() -> Self {
        let (phase, _) = watch::channel(Phase::Starting);
        // Cutting includes draining, so the drain token is the parent's child and not its twin.
        let force = CancellationToken::new();
        let drain = force.child_token();
        Self { shared: Arc::new(Shared { phase, drain, force }) }
    }

    pub fn phase(&self) -> Phase {
        *self.shared.phase.borrow()
    }

    /// Moves to `phase` unless the life is already there or beyond; logs the step. Answers whether it moved.
    pub fn advance(&self, phase: Phase) -> bool {
        let moved = self.shared.phase.send_if_modified(|current| {
            let forward = phase > *current;
            if forward {
                *current = phase;
            }
            forward
        });
        if moved {
            tracing::info!(%phase, "phase");
        }
        if phase >= Phase::Forcing {
            self.shared.force.cancel();
        } else if phase >= Phase::Draining {
            self.shared.drain.cancel();
        }
        moved
    }

    /// Cancelled when the process drains. Children of it belong to parts that may end sooner.
    pub fn drain(&self) -> &CancellationToken {
        &self.shared.drain
    }

    /// Cancelled when connections are cut.
    pub fn force(&self) -> &CancellationToken {
        &self.shared.force
    }

    /// A reader that wakes at every step.
    pub fn watch(&self) -> watch::Receiver<Phase> {
        self.shared.phase.subscribe()
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
