//! What policies that decide nothing have to say: AUDIT, and those that are tried out.

use std::sync::Arc;

use crate::mesh::{Applicable, Compiled};
use crate::model::name::NamespacedName;
use crate::model::policy::Action;

use super::decision::{Decision, Reason};
use super::matcher::Facts;
use super::request::Request;

/// One policy's remark on one connection.
#[derive(Clone, Debug)]
pub struct Observation {
    policy: Arc<Compiled>,
    group: Option<usize>,
    outcome: Outcome,
}

/// What an observed policy would have had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// An AUDIT policy fired.
    Audited,
    /// An ALLOW policy that is tried out fired.
    WouldAllow,
    /// A DENY policy that is tried out fired; or ALLOW policies are tried out where none is enforced, and none of
    /// them fired.
    WouldDeny,
}

/// What AUDIT policies and those that are tried out say of a connection for which `decision` was made. Without such
/// policies nothing is allocated. As in Istio, an ALLOW that is tried out says nothing once a DENY has refused; while
/// a policy is missing, nobody says anything.
pub fn observe(request: &Request<'_>, applicable: &Applicable, decision: &Decision) -> Vec<Observation> {
    let observers = || applicable.policies.iter().filter(|policy| !policy.is_enforced());
    let refused = match decision {
        Decision::Allow(_) => None,
        Decision::Deny(denial) => Some(denial.reason()),
    };
    if refused == Some(Reason::MissingPolicy) || observers().next().is_none() {
        return Vec::new();
    }
    let facts = Facts::of(request);
    let fired = |policy: &Arc<Compiled>| facts.first(policy, request);
    let tried_allow = |policy: &&Arc<Compiled>| policy.action == Action::Allow;
    // Were they enforced, these alone would have to allow it.
    let alone = !applicable.policies.iter().any(|policy| policy.is_enforced() && policy.action == Action::Allow);
    let none_allows = alone && !observers().filter(tried_allow).any(|policy| fired(policy).is_some());
    let of = |policy: &Arc<Compiled>| {
        let group = fired(policy);
        let outcome = match policy.action {
            Action::Audit => group.map(|_| Outcome::Audited),
            Action::Deny => group.map(|_| Outcome::WouldDeny),
            Action::Allow if refused == Some(Reason::Denied) => None,
            Action::Allow if none_allows => Some(Outcome::WouldDeny),
            Action::Allow => group.map(|_| Outcome::WouldAllow),
        }?;
        Some(Observation { policy: Arc::clone(policy), group, outcome })
    };
    observers().filter_map(of).collect()
}

// === impl Observation ===

impl Observation {
    pub fn policy(&self) -> &NamespacedName {
        &self.policy.key
    }

    /// The rule that fired, by its place in the object that a person wrote; `None` when none did.
    pub fn rule(&self) -> Option<u32> {
        Some(self.policy.groups.get(self.group?)?.rule)
    }

    pub fn action(&self) -> Action {
        self.policy.action
    }

    pub const fn outcome(&self) -> Outcome {
        self.outcome
    }
}

// === impl Outcome ===

impl Outcome {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Audited => "audited",
            Self::WouldAllow => "would_allow",
            Self::WouldDeny => "would_deny",
        }
    }
}
