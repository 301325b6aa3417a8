//! The ports that the mesh keeps for itself. Fixed by Istio's wire format: peers dial 15008.

/// Captured outbound connections of a pod, inside its namespace.
pub const OUTBOUND: u16 = 15001;
/// Captured inbound plaintext connections of a pod, inside its namespace.
pub const INBOUND_PLAINTEXT: u16 = 15006;
/// HBONE: HTTP/2 CONNECT over mutual TLS, inside the pod's namespace.
pub const HBONE: u16 = 15008;
/// DNS over UDP and TCP, on loopback inside the pod's namespace.
pub const DNS: u16 = 15053;
/// Admin page and JSON dump, loopback of the daemon's namespace.
pub const ADMIN: u16 = 15000;
/// Prometheus metrics, the daemon's namespace.
pub const METRICS: u16 = 15020;
/// Readiness, the daemon's namespace.
pub const READY: u16 = 15021;

/// True for a port of ours inside a pod. A connection whose real destination is one of them would
/// loop through the daemon for ever, so it is refused.
pub const fn is_ours(port: u16) -> bool {
    matches!(port, OUTBOUND | INBOUND_PLAINTEXT | HBONE)
}
