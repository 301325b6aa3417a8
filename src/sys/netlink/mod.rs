//! Netlink: one blocking socket, and the route messages that rules and labs need.
//!
//! Owns: sequence numbers, acknowledgements, dumps, and the translation of the kernel's errors.
//! Never: a decision about what the kernel should hold. A socket belongs to the namespace of the
//! thread that opened it and may be used from any thread afterwards.

mod socket;

pub use socket::{Message, NetlinkError, NetlinkSocket, Protocol};
