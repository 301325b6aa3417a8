//! The objects that the mesh reads, with the fields that it reads.
//!
//! Owns: shapes and field names. Never: defaults that change meaning, validation, identity.
//! Core kinds ignore fields that they do not know, because Kubernetes adds fields all the time.
//! AuthorizationPolicy and PeerAuthentication refuse unknown fields in `spec`: a misspelt field
//! would silently make a policy wider than its author meant. So do ServiceEntry and WorkloadEntry,
//! where it would silently send connections elsewhere.

pub mod authorization;
pub mod entry;
pub mod gateway;
pub mod meta;
pub mod peer;
pub mod pod;
pub mod service;

pub use authorization::AuthorizationPolicy;
pub use entry::{ServiceEntry, WorkloadEntry};
pub use gateway::{Gateway, GatewayClass};
pub use meta::{Namespace, Node, ObjectMeta};
pub use peer::PeerAuthentication;
pub use pod::Pod;
pub use service::{EndpointSlice, Service};

#[cfg(test)]
mod tests;
