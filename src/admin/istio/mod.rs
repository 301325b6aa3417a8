//! Istio's shapes: the dump that `istioctl ztunnel-config` reads, and the endpoints that change or measure the process.
//!
//! Owns: the dump's keys ([`dump`]), `/logging` and `/quitquitquit` ([`orders`]), the profile's endpoints ([`profile`]).
//! Never: a fact of another feature: the assembly gives plain values.

mod dump;
mod facts;
mod mesh;
mod orders;
mod policy;
mod profile;

pub use dump::Dump;
pub use facts::{Certificate, CertificateState, Connection, Connections, Info, PodEntry, PodState, Protocol, Version};
pub use orders::{logging, quit};
pub use profile::{heap, heap_profiling, profile};
