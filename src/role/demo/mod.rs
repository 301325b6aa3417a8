//! `culvert demo`: two nodes and their pods in network namespaces, and claims that are tried on them.
//!
//! Owns: the laboratory ([`lab`]), the programs in its pods ([`app`]), how claims and waiting are
//! shown. Never: anything that a node daemon does; the demonstration starts real ones.

pub mod app;
pub mod claims;
pub mod lab;
pub mod mesh;
pub mod progress;
mod run;
mod tries;
pub mod waypoint;

pub use run::run;
