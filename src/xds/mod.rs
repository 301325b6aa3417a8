//! The mesh model as Istio's xDS resources.
//!
//! Owns: what the model's values are on the wire, both ways. Never: the view (`mesh`), objects of Kubernetes
//! (`control`).

pub mod convert;
