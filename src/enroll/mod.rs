//! Which pods of this node are in the mesh, and their life there: enrol, verify, heal, withdraw. Whether a namespace that
//! a node agent handed over is its pod's.
//!
//! Owns: the state of each pod and what is done next. Never: how rules are laid or connections are
//! carried; a [`Plane`](manager::Plane) does that, which `role` builds from `redirect` and `proxy`.

pub mod announced;
pub mod manager;
pub mod pairing;
pub mod reconcile;
