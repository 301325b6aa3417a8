//! Netlink: one blocking socket, and the messages that rules, routes and labs need.
//!
//! Owns: sequence numbers, acknowledgements, dumps, and the translation of the kernel's errors.
//! Never: a decision about what the kernel should hold. A socket belongs to the namespace of the
//! thread that opened it and may be used from any thread afterwards.

pub mod address;
pub mod attribute;
pub mod conntrack;
mod link;
pub mod netfilter;
pub mod route;
mod rtnetlink;
pub mod rule;
mod socket;
mod wire;

pub use link::{LinkError, LinkRoute, Links, VethEnd};
pub use socket::{Message, NetlinkError, NetlinkSocket, Protocol};
