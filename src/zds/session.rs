//! One conversation with the agent as a state machine (pure): what may be asked when, and what is owed.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::packet::{self, BadPacket, BadPod, Request, Who};

/// The conversation on one connection. Each starts with a snapshot: everything that exists is named, then `SnapshotSent`.
#[derive(Debug, Default)]
pub struct Session {
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// What has been named so far.
    Snapshot(BTreeSet<Arc<str>>),
    Following,
}

/// What has to be done for one request.
#[derive(Debug)]
pub enum Step {
    Add {
        uid: Arc<str>,
        who: Result<Who, BadPod>,
        netns: OwnedFd,
    },
    Del {
        uid: Arc<str>,
    },
    Keep {
        uid: Arc<str>,
    },
    /// Everything that exists, by uid: what is not named is gone.
    Snapshot(BTreeSet<Arc<str>>),
}

/// The one answer that a request is owed. The next request is taken after it was given.
#[must_use = "the agent waits for an answer to each request"]
#[derive(Debug)]
pub struct Owed(());

/// Ends the conversation. The agent's fault.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    #[error(transparent)]
    Packet(#[from] BadPacket),
    #[error("a pod is kept after the snapshot")]
    LateKeep,
    #[error("a second snapshot is ended on one connection")]
    SecondSnapshot,
    #[error("the snapshot names more than {MOST_PODS} pods")]
    ManyPods,
}

/// Pods of a snapshot. Kubelets run a few hundred at the most.
pub const MOST_PODS: usize = 10_000;

impl Default for Phase {
    fn default() -> Self {
        Self::Snapshot(BTreeSet::new())
    }
}

// === impl Session ===

impl Session {
    /// Begins a conversation with its first packet.
    pub fn begin() -> (Self, Vec<u8>) {
        (Self::default(), packet::hello())
    }

    /// The snapshot is complete.
    pub fn is_following(&self) -> bool {
        matches!(self.phase, Phase::Following)
    }

    /// Takes the next packet.
    pub fn take(&mut self, bytes: &[u8], descriptors: Vec<OwnedFd>) -> Result<(Step, Owed), Violation> {
        let step = match packet::request(bytes, descriptors)? {
            Request::Add { uid, who, netns } => {
                // Also one that cannot be served exists, and keeps what is held of it.
                self.named(&uid)?;
                Step::Add { uid, who, netns }
            }
            Request::Keep { uid } if !self.is_following() => {
                self.named(&uid)?;
                Step::Keep { uid }
            }
            Request::Keep { .. } => return Err(Violation::LateKeep),
            Request::Del { uid } => {
                if let Phase::Snapshot(named) = &mut self.phase {
                    named.remove(&uid);
                }
                Step::Del { uid }
            }
            Request::SnapshotSent => match std::mem::replace(&mut self.phase, Phase::Following) {
                Phase::Snapshot(named) => Step::Snapshot(named),
                Phase::Following => return Err(Violation::SecondSnapshot),
            },
        };
        Ok((step, Owed(())))
    }

    fn named(&mut self, uid: &Arc<str>) -> Result<(), Violation> {
        if let Phase::Snapshot(named) = &mut self.phase {
            named.insert(Arc::clone(uid));
            if named.len() > MOST_PODS {
                return Err(Violation::ManyPods);
            }
        }
        Ok(())
    }
}

// === impl Owed ===

impl Owed {
    /// The packet that answers.
    pub fn answer(self, result: Result<(), &str>) -> Vec<u8> {
        packet::answer(result)
    }
}

#[cfg(test)]
mod tests;
