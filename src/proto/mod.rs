//! Protobuf messages of the mesh as Rust types.
//!
//! Owns: the `.proto` files beside this page, and types with the same names, numbers and kinds, which a test compares
//! with them field by field (why they are written by hand: `docs/decisions/0015-messages-by-hand.md`). Never: a
//! judgement of a value. An enum arrives as a number and an address as bytes; `xds::convert` reads them.

pub mod ca;
pub mod discovery;
pub mod extension;
pub mod google;
pub mod security;
pub mod workload;
pub mod zds;

#[cfg(test)]
mod tests;
