//! The mesh model as Istio's xDS resources, and both ends of the protocol that carries them.
//!
//! Owns: what the model's values are on the wire, both ways, and incremental xDS. Never: the view (`mesh`), objects of
//! Kubernetes (`control`).

pub mod client;
pub mod convert;
pub mod server;
