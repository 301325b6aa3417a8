//! The mesh as one node knows it: workloads, services and policies, written by one, read by many.
//!
//! Owns: the indices and their snapshots. Never: where the state comes from, or a decision about a
//! connection. A reader takes a snapshot without waiting for the writer, and a snapshot never changes.
//!
//! A snapshot is a [`View`]: some indices, each a list of shards that it has in common with the snapshots before and
//! after it, but for what changed between them (`index.rs`; what is found under what is in `keys.rs`). So a change costs
//! what it changes. What many records say is in memory once (`held.rs`, `names.rs`); docs/decisions/0018 has the bytes.

mod channel;
mod compiled;
pub mod demand;
mod held;
mod index;
mod keys;
mod names;
mod policies;
mod services;
mod step;
mod view;
mod wait;

pub use channel::{Changes, Reader, State, Writer, channel};
pub use compiled::{Asked, Compiled};
pub use held::{Addresses, Held, Shared};
pub use policies::Applicable;
pub use services::Endpoint;
pub use step::Removed;
pub use view::View;

#[cfg(test)]
mod tests;
