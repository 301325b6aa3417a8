//! The embedded certificate authority: a directory with a root and a signing key, and leaves for workloads.
//!
//! Owns: the directory in Istio's `cacerts` layout, its making on first use, what a leaf looks like. Never: who may ask
//! for which identity (the caller's), the network, when a leaf is renewed (`identity`). Signing keys stay in memory
//! and in the one file.

mod authority;
mod error;
mod pki;
mod store;

pub use authority::{Authority, DEFAULT_TTL, MAX_TTL, Signed};
pub use error::CaError;
pub use store::Root;
