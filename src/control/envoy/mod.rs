//! The configuration of an Envoy that is a waypoint: one static file, which a stock Envoy runs.
//!
//! Owns: what a waypoint must know ([`Waypoint`]), the AuthorizationPolicies that it enforces
//! ([`rules`]), and both as Envoy's configuration ([`render`]). Never: files, processes, an xDS
//! stream; whoever runs an Envoy writes the value down as JSON, which Envoy reads as it does YAML.
//!
//! A connection's way through it:
//!
//! ```text
//! node proxy ── mTLS, CONNECT VIP:port or pod:port ──▶ connect_terminate (15008)
//!     ──▶ main_internal: the filter chain of that address and port: L7 rules, then
//!         an endpoint of the service, or the pod that was called
//!     ──▶ connect_originate: mTLS with the waypoint's own certificate, CONNECT endpoint:port ──▶ node proxy
//! ```
//!
//! The caller's address and identity travel from one to the next as filter state; headers of the
//! CONNECT stop at the first.

mod chains;
mod extension;
mod fill;
mod originate;
mod rbac;
mod render;
pub mod rules;
mod terminate;
mod waypoint;

pub use fill::{Refused, fill};
pub use render::render;
pub use waypoint::{Credentials, Direct, Endpoint, Protocol, Served, ServedPort, Waypoint};

#[cfg(test)]
mod tests;
