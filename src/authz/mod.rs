//! Whether a connection is allowed (pure), and why not.
//!
//! Owns: matching, the order of DENY and ALLOW, the proof that something was allowed, and the
//! words for what was refused. Never: I/O, a clock, where policies come from. Forwarding needs a
//! [`Permit`], and only [`evaluate()`] makes one.

mod decision;
mod evaluate;
mod explain;
pub mod inquiry;
mod matcher;
mod request;

pub use decision::{Decision, Denial, Permit, Reason};
pub use evaluate::evaluate;
pub use request::Request;

#[cfg(test)]
mod tests;
