//! The node: enrols the pods of one node and carries their connections.
//!
//! Owns: which parts a node has, in which order they start and end. Never: a decision about a
//! connection, a pod or a policy; those are `route`, `authz` and `enroll`.

mod feed;
mod live;
mod parts;
mod plane;
mod seen;
mod trim;

pub use live::run;
