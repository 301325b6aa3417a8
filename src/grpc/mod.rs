//! gRPC over TLS to and from a control plane.
//!
//! Owns: how a channel is made (roots that are read again, names that are accepted, tokens, headers, deadlines) and how
//! a server takes connections. Never: what is said on it (`xds`, `identity`, `ca`).
//!
//! The client's side is an [`Endpoint`]: [`Settings`] that were found good, [`Endpoint::connect`] for one connection,
//! [`Endpoint::metadata`] for the headers of one request. A [`Channel`] is one connection and never dials again by
//! itself, so that whoever holds it knows when it is gone, and every new one has today's roots, token and addresses.
//! The wire's facts are those of Istio's node proxy towards istiod, by which both ends know each other.

mod address;
mod endpoint;
mod headers;
mod network;
pub mod server;
#[cfg(test)]
pub(crate) mod simulated;
mod token;
mod trust;

pub use address::{Address, AddressError};
pub use endpoint::{Channel, ConnectError, ConnectFailure, Endpoint, EndpointError, Settings, lost};
pub use headers::HeaderError;
pub use network::{Dial, DialError, Network, Transport};
pub use token::{TokenError, TokenSource};
pub use trust::{RootSource, Trust, TrustError};
