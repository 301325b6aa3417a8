//! gRPC over TLS to and from a control plane.
//!
//! Owns: how a channel is made (roots that are read again, names that are accepted, tokens, headers, deadlines) and how
//! a server takes connections. Never: what is said on it (`xds`, `identity`, `ca`).
