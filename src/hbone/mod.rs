//! HBONE: streams of bytes in HTTP/2 CONNECT (RFC 9113 section 8.5) over a verified TLS connection.
//!
//! Owns: the authority and headers of a CONNECT, both ends of a connection, the halves that a relay reads and writes,
//! flow control and its memory, the pool of outgoing connections. Never: a socket, TLS, a decision about who may
//! connect (the server hands over an [`Incoming`](server::Incoming) and its caller answers). No type of the HTTP/2
//! library leaves this folder. Nothing here spawns a task except the pool's own task, into a set that it owns.

pub mod authority;
pub mod client;
mod drive;
pub mod error;
pub mod headers;
pub mod io;
pub mod pool;
pub mod server;
pub mod settings;
pub mod tunnel;
mod unsent;
mod window;

pub use window::Budget;

#[cfg(test)]
pub(crate) mod simulated;
