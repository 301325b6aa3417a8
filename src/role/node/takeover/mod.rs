//! The take-over: a new process of the node serves from the old one's listening sockets, so that no connection is lost
//! between the two.
//!
//! Owns: the conversation of the two, which sockets go, and when the old process stops to accept.
//! Never: what is done to a connection, and live connections: they end where they began.
//!
//! The new process joins the old one at its socket (`taker`), asks for each pod's sockets as it enrols the pod, and lets them
//! lie until it can serve. Then it begins to accept, and tells the old one (`giver`), which stops. Both hold the same
//! sockets, so what is queued is lost by neither's end, and whoever is left serves. `message` is the language, `stands` what
//! can be given.

mod giver;
mod message;
mod relay;
mod stands;
mod taker;

pub(super) use message::Node;
pub(super) use relay::Relay;
pub use stands::{OWN, Stand, Stands};
pub(super) use taker::Predecessor;
pub use taker::{Progress, Taker};

#[cfg(test)]
mod tests;
