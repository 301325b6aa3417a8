//! The roles a culvert process can play: each builds its parts and runs them.
//!
//! Owns: which parts exist, in which order they start and end. Never: a decision about a
//! connection, a pod or a policy.

mod admin_client;
pub mod cleanup;
pub mod control;
pub mod demo;
pub mod explain;
mod manifests;
pub mod node;
pub mod policy;
mod signer;
mod statuses;
pub mod strict_report;
