//! The node agent's socket: istio-cni tells which pods there are and hands over their namespaces.
//!
//! Owns: packets, descriptors, and the order of a conversation. Never: what is done for a pod (`enroll`).
