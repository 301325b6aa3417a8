//! The meaning of policy objects: checked values, with what L4 can judge apart from what it cannot.
//!
//! Owns: the validation of AuthorizationPolicy and PeerAuthentication, value by value, with a mend
//! for each refusal. Never: which pods a policy is for, or what becomes of its L7 parts (`project`).

pub mod authorization;
pub mod peer;
mod values;

use std::fmt;

/// What is wrong at one place of an object, and what would mend it. The fault of who wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where in the object, such as `spec.rules[0].from[1].source.ipBlocks[0]`.
    pub path: String,
    pub reason: String,
    pub mend: String,
}

// === impl Problem ===

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.path, self.reason, self.mend)
    }
}

#[cfg(test)]
mod tests;
