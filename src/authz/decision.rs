//! What is answered.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use crate::mesh::Compiled;
use crate::model::name::NamespacedName;
use crate::model::spiffe::Identity;

use super::{Request, explain};

/// The answer to a request.
#[derive(Clone, Debug)]
pub enum Decision {
    Allow(Permit),
    Deny(Denial),
}

/// Proof that policy allowed a connection. Only `evaluate` makes one.
#[derive(Clone, Debug)]
pub struct Permit {
    /// The policy and the place of its group; `None` when no ALLOW policy applies at all.
    by: Option<(Arc<Compiled>, usize)>,
}

/// Why a connection was refused. Making one costs a few reference counts; the words are made when
/// somebody prints it.
#[derive(Clone, Debug)]
pub struct Denial {
    cause: Cause,
    peer: Option<Identity>,
    foreign: bool,
    source: IpAddr,
    destination: SocketAddr,
    now: SystemTime,
}

/// Why, in short: for metrics, response flags and tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A DENY policy fired.
    Denied,
    /// The workload names a policy that is not here. What is new is refused for it; what lives is not ended.
    MissingPolicy,
    /// ALLOW policies apply and none of them fired.
    NoneAllowed,
}

/// What [`Denial`] keeps of the policies.
#[derive(Clone, Debug)]
pub(super) enum Cause {
    Denied {
        policy: Arc<Compiled>,
        group: usize,
    },
    MissingPolicy(NamespacedName),
    /// A converted PeerAuthentication that never came; the peer has no identity.
    UnsentPolicy(NamespacedName),
    /// The ALLOW policies that were tried.
    NoneAllowed(Vec<Arc<Compiled>>),
}

// === impl Decision ===

impl Decision {
    pub const fn is_allow(&self) -> bool {
        matches!(self, Self::Allow(_))
    }
}

// === impl Permit ===

impl Permit {
    pub(super) const fn new(by: Option<(Arc<Compiled>, usize)>) -> Self {
        Self { by }
    }

    /// The policy that allowed it; `None` when nothing forbade it.
    pub fn policy(&self) -> Option<&NamespacedName> {
        self.by.as_ref().map(|(policy, _)| &policy.key)
    }

    /// The rule, by its place in the object that a person wrote.
    pub fn rule(&self) -> Option<u32> {
        self.by.as_ref().and_then(|(policy, group)| Some(policy.groups.get(*group)?.rule))
    }
}

impl fmt::Display for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.policy(), self.rule()) {
            (Some(policy), Some(rule)) => write!(f, "allowed by {policy} rule {rule}"),
            _ => f.write_str("no ALLOW policy applies, and no DENY policy fired"),
        }
    }
}

// === impl Denial ===

impl Denial {
    pub(super) fn new(request: &Request<'_>, cause: Cause) -> Self {
        let Request { peer, foreign, source, destination, now } = *request;
        Self { cause, peer: peer.cloned(), foreign, source, destination, now }
    }

    pub const fn reason(&self) -> Reason {
        match &self.cause {
            Cause::Denied { .. } => Reason::Denied,
            Cause::MissingPolicy(_) | Cause::UnsentPolicy(_) => Reason::MissingPolicy,
            Cause::NoneAllowed(_) => Reason::NoneAllowed,
        }
    }

    /// The policy that fired, or that is missing; when none allowed, the one that came nearest.
    pub fn policy(&self) -> Option<NamespacedName> {
        match &self.cause {
            Cause::Denied { policy, .. } => Some(policy.key.clone()),
            Cause::MissingPolicy(key) | Cause::UnsentPolicy(key) => Some(key.clone()),
            Cause::NoneAllowed(policies) => {
                explain::nearest(&self.request(), policies).map(|near| near.policy.key.clone())
            }
        }
    }

    /// The rule of that policy, by its place in the object that a person wrote.
    pub fn rule(&self) -> Option<u32> {
        match &self.cause {
            Cause::Denied { policy, group } => policy.groups.get(*group).map(|group| group.rule),
            Cause::MissingPolicy(_) | Cause::UnsentPolicy(_) => None,
            Cause::NoneAllowed(policies) => explain::nearest(&self.request(), policies)?.group.map(|group| group.rule),
        }
    }

    fn request(&self) -> Request<'_> {
        let Self { peer, foreign, source, destination, now, .. } = self;
        let (foreign, source, destination, now) = (*foreign, *source, *destination, *now);
        Request { peer: peer.as_ref(), foreign, source, destination, now }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        explain::write(f, &self.request(), &self.cause)
    }
}

// === impl Reason ===

impl Reason {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::MissingPolicy => "missing_policy",
            Self::NoneAllowed => "none_allowed",
        }
    }
}
