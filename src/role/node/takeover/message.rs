//! What two processes of a node say to each other. JSON, one value a packet: the two may be of different versions, so what one
//! does not know in the other's words is left out.

use serde::{Deserialize, Serialize};

use crate::config::node::NodeSettings;
use crate::sys::netns::NetnsId;
use crate::sys::seqpacket::LONGEST;

/// The version of this language. Another one is refused: the next process then binds when the ports are free.
pub const VERSION: u32 = 1;

/// Whose pods these are. Two nodes on one machine must never take each other's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub name: String,
    pub cluster: String,
}

/// What the new process says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "camelCase")]
pub enum Ask {
    /// First of all. Answered by [`Answer::Welcome`] or [`Answer::Refused`].
    Hello { version: u32, node: Node },
    /// The sockets of a pod, known by its uid and its network namespace. Answered by [`Answer::Sockets`].
    Pod { uid: String, device: u64, inode: u64 },
    /// "I am there, and cannot serve yet." Not answered.
    Wait,
    /// "I serve; stop to accept." Answered by [`Answer::Retired`]. With `pages`, the ports of the pages too.
    Serve { pages: bool },
}

/// What the old process says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "camelCase")]
pub enum Answer {
    Welcome,
    Refused {
        why: String,
    },
    /// With as many descriptors in the same packet; none when the pod is not served here.
    Sockets {
        count: usize,
    },
    Retired,
}

/// The peer: what it said is not of this language.
#[derive(Debug, thiserror::Error)]
pub enum Garbled {
    #[error("a message of another process of this node cannot be read")]
    Json(#[from] serde_json::Error),
    #[error("a message of another process of this node is longer than {LONGEST} bytes")]
    Long,
}

// === impl Node ===

impl Node {
    pub fn of(settings: &NodeSettings) -> Self {
        Self { name: settings.node.clone(), cluster: settings.cluster.clone() }
    }
}

// === impl Ask ===

impl Ask {
    pub fn pod(uid: &str, NetnsId { device, inode }: NetnsId) -> Self {
        Self::Pod { uid: uid.to_owned(), device, inode }
    }
}

/// The bytes of a message.
pub fn encode(message: &impl Serialize) -> Result<Vec<u8>, Garbled> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() <= LONGEST { Ok(bytes) } else { Err(Garbled::Long) }
}

/// A message of bytes.
pub fn decode<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T, Garbled> {
    if bytes.len() <= LONGEST { Ok(serde_json::from_slice(bytes)?) } else { Err(Garbled::Long) }
}

#[cfg(test)]
mod tests;
