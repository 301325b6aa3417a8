//! The data path of an enrolled pod: accept, connect, relay.
//!
//! Owns: the connections of each pod, what became of them, and their revocation.
//! Never: a rule in a kernel, a label, a manifest. What may pass is decided by `route` and `authz`.

mod accept;
mod asking;
mod baggage;
pub mod budgets;
pub mod connections;
pub mod dialler;
pub mod flows;
#[doc(hidden)]
pub mod fuzzing;
mod inbound;
pub mod listeners;
pub mod names;
pub mod outbound;
pub mod outcome;
pub mod outlier;
pub mod own;
pub mod pod;
pub mod relay;
pub mod report;
pub mod revoke;
pub mod shared;
