//! Who calls.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::model::spiffe::Identity;

/// A caller whose token is good. Only an [`Authenticate`] makes one outside of tests.
#[derive(Clone, Debug)]
pub struct Caller {
    /// For logs, and for bounds on what one caller may use: a node's name, or an identity.
    pub name: Arc<str>,
    pub who: Who,
    /// Cancelled when the token is withdrawn: long streams end then.
    pub withdrawn: CancellationToken,
}

/// What the token stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// A node's daemon, which speaks for the pods that the node runs.
    Node(Arc<str>),
    /// One workload, which speaks for itself.
    Workload(Identity),
}

/// Why a token is not good. The peer's fault, or of who wrote the tokens; the peer is told nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unauthenticated(pub &'static str);

/// What knows the tokens. It must be quick and must not wait.
pub trait Authenticate: Send + Sync + 'static {
    /// Who the bearer of `token` is.
    ///
    /// # Errors
    /// The token is nobody's.
    fn authenticate(&self, token: &str) -> Result<Caller, Unauthenticated>;
}

// === impl Caller ===

impl Caller {
    pub fn node(name: &str) -> Self {
        Self { name: name.into(), who: Who::Node(name.into()), withdrawn: CancellationToken::new() }
    }

    pub fn workload(identity: Identity) -> Self {
        let name = identity.to_string().into();
        Self { name, who: Who::Workload(identity), withdrawn: CancellationToken::new() }
    }

    /// The node that calls, when it is one.
    pub fn on_node(&self) -> Option<&Arc<str>> {
        match &self.who {
            Who::Node(node) => Some(node),
            Who::Workload(_) => None,
        }
    }
}
