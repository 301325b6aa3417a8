//! Who may ask for certificates, and for the mesh: bearer tokens from a file.
//!
//! ```text
//! # TOKEN NODE, one a line. TOKEN is the token, or sha256: and its digest; several for one node while they are changed.
//! 7c1f…2a node-1
//! sha256:9f86d0… node-2
//! 55ab…01 spiffe://cluster.local/ns/vm/sa/backup
//! ```
//!
//! Owns: reading that file, noticing its changes, comparing tokens. Never: what a caller may do (`service`), the wire.
//! Only digests are kept, and digests are compared; how long that takes says nothing about a token. A file whose tokens
//! others may read is refused; of digests alone there is nothing to steal. A broken file changes nothing.

mod file;
mod tokens;

pub use file::TokensError;
pub use tokens::{Look, TokenFile, Tokens};

#[cfg(test)]
mod tests;
