//! The control plane: a directory of manifests as a mesh for nodes on other machines, and their certificates.
//!
//! Owns: which parts it has, in which order they start and end, what the CA is told of pods. Never: a decision about a
//! client (`xds::server`), a certificate (`ca::service`), an object (`control`).

mod files;
mod live;
mod parts;
mod seen;
mod server_certificate;

pub use live::run;

#[cfg(test)]
mod tests;
