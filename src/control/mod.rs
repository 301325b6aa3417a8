//! Control: from Kubernetes objects to the mesh model.
//!
//! Owns: reading a directory of manifests (`manifests`), the meaning of policy objects (`policy`),
//! look-ups between objects (`index`) and the mesh model made of them (`project`), with a status
//! for everything that is not enforced as written; and what its author will not expect (`lint`).
//! Never: sockets, tasks, the mesh's own state.
//! Everything but `manifests::load`, `manifests::survey` and `manifests::watch` is pure.

pub mod envoy;
pub mod index;
pub mod lint;
pub mod manifests;
mod names;
pub mod policy;
pub mod project;
