//! The fallback back end: iptables by its programs, where nf_tables over netlink does not work.
//!
//! Owns: the same plan as text for iptables-restore, the reading of iptables-save, and which of the
//! installed variants is used. Never: a rule outside of chains named `CULVERT_*`, but for one jump
//! from a built-in chain into each of them.

mod perform;
mod programs;
mod render;
mod save;

pub use perform::Iptables;
pub use programs::Variant;
#[cfg(test)]
pub(super) use render::{Found, render};
#[cfg(test)]
pub(super) use save::Saved;
