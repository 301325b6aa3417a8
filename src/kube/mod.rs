//! Kubernetes as a protocol: the shapes of its objects.
//!
//! Owns: the serde types of exactly the fields that the mesh reads. Never: what those fields mean
//! for the mesh (that is `control`), files or directories.

pub mod types;
