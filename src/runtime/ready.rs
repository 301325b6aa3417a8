//! Readiness as a set of named conditions: ready when none is pending.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The conditions of the process. Clones share one set.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    conditions: Arc<Mutex<BTreeMap<&'static str, State>>>,
}

/// A part's own condition. It starts as pending; dropping it leaves it as it is.
#[must_use = "a condition that nobody meets keeps the process from being ready"]
#[derive(Debug)]
pub struct Condition {
    name: &'static str,
    all: Readiness,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Met,
    Pending { reason: Option<String> },
}

// === impl Readiness ===

impl Readiness {
    /// Adds a condition, worded as what holds when it is met: "manifests loaded". Declare every one before the
    /// readiness page is served. A second one of the same name makes the first pending again.
    pub fn condition(&self, name: &'static str) -> Condition {
        self.lock().insert(name, State::Pending { reason: None });
        Condition { name, all: self.clone() }
    }

    /// What is still awaited, sorted, each with its reason when one is known: `pods enrolled (web/a: no address)`.
    pub fn pending(&self) -> Vec<String> {
        let all = self.lock();
        let pending = all.iter().filter_map(|(name, state)| match state {
            State::Met => None,
            State::Pending { reason: None } => Some((*name).to_owned()),
            State::Pending { reason: Some(reason) } => Some(format!("{name} ({reason})")),
        });
        pending.collect()
    }

    /// The names alone of what is still awaited, sorted.
    pub fn pending_names(&self) -> Vec<&'static str> {
        self.lock().iter().filter(|(_, state)| **state != State::Met).map(|(name, _)| *name).collect()
    }

    pub fn is_ready(&self) -> bool {
        self.lock().values().all(|state| *state == State::Met)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, State>> {
        // A map of plain values is whole between two statements, whoever panicked.
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Condition ===

impl Condition {
    pub fn meet(&self) {
        self.set(State::Met);
    }

    /// Takes readiness away again, with a reason that a person can read.
    pub fn lose(&self, reason: impl Into<String>) {
        self.set(State::Pending { reason: Some(reason.into()) });
    }

    fn set(&self, state: State) {
        let before = self.all.lock().insert(self.name, state.clone());
        if before != Some(state.clone()) {
            match state {
                State::Met => tracing::info!(condition = self.name, "ready: met"),
                State::Pending { reason } => tracing::warn!(condition = self.name, reason, "ready: lost"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_every_condition_is_met() {
        let all = Readiness::default();
        let (manifests, pods) = (all.condition("manifests loaded"), all.condition("pods enrolled"));
        assert_eq!(all.pending(), ["manifests loaded", "pods enrolled"]);
        pods.meet();
        assert!(!all.is_ready());
        manifests.meet();
        assert!(all.is_ready());
        pods.lose("web/a: no address");
        assert_eq!(all.pending(), ["pods enrolled (web/a: no address)"]);
        assert_eq!(all.pending_names(), ["pods enrolled"]);
        drop(pods);
        assert!(!all.is_ready(), "a part that is gone does not make the process ready");
    }
}
