//! Why a step for a pod failed.

use crate::dns;
use crate::proxy::listeners::ListenError;
use crate::redirect::{RedirectError, Refusal};
use crate::sys::netlink::NetlinkError;
use crate::sys::netns::NetnsError;

/// Why a pod could not be enrolled, verified or withdrawn.
#[derive(Debug, thiserror::Error)]
pub enum PlaneError {
    #[error(transparent)]
    Dns(#[from] dns::ListenError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Namespace(#[from] NetnsError),
    #[error("cannot list or reset the pod's connections")]
    Netlink(#[from] NetlinkError),
    /// Configuration.
    #[error("the pod has no network namespace: give its manifest the annotation culvert.dev/netns")]
    NoNetns,
    /// Us: a blocking step panicked or the runtime is ending.
    #[error("a step was cut off")]
    Cut(#[source] tokio::task::JoinError),
    /// Nobody: that process serves it.
    #[error("the next process of this node has taken over")]
    Retired,
    #[error(transparent)]
    Redirect(#[from] RedirectError),
    #[error("the network namespace is refused")]
    Refused(#[from] Refusal),
    #[error("cannot serve the pod's listeners")]
    Serve(#[source] std::io::Error),
    /// The control plane, or the CA.
    #[error("another node proxy has the pod's ports, and its certificate or the mesh's record of it is not here yet")]
    Unready,
}

// === impl PlaneError ===

impl PlaneError {
    pub(super) fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) | Self::Redirect(RedirectError::Refused { source: refusal, .. }) => Some(refusal),
            _ => None,
        }
    }

    /// Another socket has one of the ports.
    pub(super) fn is_taken(&self) -> bool {
        match self {
            Self::Dns(error) => error.is_taken(),
            Self::Listen(error) => error.is_taken(),
            _ => false,
        }
    }
}
