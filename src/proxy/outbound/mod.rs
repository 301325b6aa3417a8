//! Connections that a pod opens: find the road, take it, relay.
//!
//! Owns: the captured connection, its attempts and its roads. Never: the choice between them (`route`).
//! Nothing is read from the application before the other side is there, so a failure can always be
//! told by a reset, and never by bytes that nobody sent.

mod attempts;
mod beyond;
mod captured;
mod express;
mod plain;
mod tunnel;

pub(in crate::proxy) use captured::handle;
pub use tunnel::{TunnelConfig, Tunnels};
