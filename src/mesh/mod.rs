//! The mesh as one node knows it: workloads, services and policies, written by one, read by many.
//!
//! Owns: the indices and their snapshots. Never: where the state comes from, or a decision about a
//! connection. A reader takes a snapshot without waiting for the writer, and a snapshot never
//! changes; nothing outside sees the maps, so that they can later be changed piece by piece.

mod channel;
mod compiled;
mod policies;
mod services;
mod view;
mod wait;

pub use channel::{Reader, State, Writer, channel};
pub use compiled::{Asked, Compiled};
pub use policies::Applicable;
pub use services::Endpoint;
pub use view::View;

#[cfg(test)]
mod tests;
