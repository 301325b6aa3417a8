//! What a person asks about policies, answered from a directory of manifests, without a node.
//!
//! Owns: reading the directory, and how the answer looks. Never: what is said (`control::lint`).

pub mod lint;
mod render;
