//! Whether a connection is allowed (pure), and why not.
//!
//! Owns: matching, the order of DENY and ALLOW, the proof that something was allowed, the words for
//! what was refused, and what AUDIT and tried-out policies remark. Never: I/O, a clock (the time is
//! part of a [`Request`]), where policies come from. Forwarding needs a [`Permit`], and only
//! [`evaluate()`] makes one.

mod decision;
mod evaluate;
mod explain;
pub mod inquiry;
mod matcher;
mod observe;
mod request;
mod schedule;
pub mod values;

pub use decision::{Decision, Denial, Permit, Reason};
pub use evaluate::evaluate;
pub use observe::{Observation, Outcome, observe};
pub use request::Request;
pub use schedule::next_change;

#[cfg(test)]
mod tests;
