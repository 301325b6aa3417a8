//! The embedded certificate authority: a directory with a root and a signing key, and leaves for workloads.
//!
//! Owns: the directory in Istio's `cacerts` layout, its making on first use, what a leaf looks like. Never: a socket,
//! when a leaf is renewed (`identity`). Signing keys stay in memory and in the one file.
//!
//! For other nodes: Istio's certificate service ([`service`]) and who may call it ([`authenticate`]); which node runs
//! which identity is given ([`service::Placement`]). The directory is looked at while the process runs ([`reload`]).

pub mod authenticate;
mod authority;
mod error;
mod pki;
pub mod reload;
mod revoked;
pub mod service;
mod store;

pub use authority::{Authority, DEFAULT_TTL, MAX_TTL, Signed};
pub use error::CaError;
pub use revoked::CRL;
pub use store::Root;
