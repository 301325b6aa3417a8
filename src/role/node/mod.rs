//! The node: enrols the pods of one node and carries their connections.
//!
//! Owns: which parts a node has, in which order they start and end. Never: a decision about a
//! connection, a pod or a policy; those are `route`, `authz` and `enroll`.

mod counted;
pub mod demanded;
mod enrolled;
mod feed;
#[cfg(test)]
mod kernel_tests;
mod live;
mod namespace;
mod older;
mod own_listener;
mod pages;
mod pairs;
mod parts;
pub mod plane;
pub mod redirection;
mod seen;
mod sources;
pub mod takeover;
mod trim;

pub use live::run;
