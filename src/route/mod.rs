//! Which road a connection takes (pure): facts and one view of the mesh in, a plain value out.
//!
//! Owns: the order of the questions. Never: a socket, a clock, a policy (that is `authz`). Chance is an argument.

pub mod balance;
pub mod gateway;
mod hash;
pub mod inbound;
pub mod missing;
pub mod outbound;
pub mod waypoint;
