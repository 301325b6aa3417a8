//! A mesh from one file in ztunnel's format: workloads, policies, services.
//!
//! Owns: the file's shape ([`shape`]), how it becomes the mesh's state ([`parse`](fn@parse)).
//! Never: watching the file (it is read once), Kubernetes' objects (`control` has them).

mod parse;
pub mod shape;

pub use parse::{LocalError, Settings, echo, parse, read};
