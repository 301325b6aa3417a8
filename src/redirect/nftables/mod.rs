//! The default back end: nf_tables over netlink, without any program of the host.
//!
//! Owns: the expressions that rules are made of, the rendering of a plan into them, and the table
//! `culvert` of family inet, written whole in one transaction and read back by decoding what the
//! kernel holds. Never: the owner flag, by which the rules would end with this process and leave
//! the pod outside of the mesh.

mod expression;
mod perform;
mod render;
mod table;

pub use perform::Nftables;
#[cfg(test)]
pub(super) use render::render;

/// The name by which a later process knows the table as ours.
pub const TABLE: &str = "culvert";
