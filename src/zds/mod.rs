//! The node agent's socket (ZDS): istio-cni tells which pods there are and hands over their network namespaces.
//!
//! Owns: packets and their descriptors, the order of a conversation, connecting again. Never: what is done for a pod;
//! `role` gives a [`Pods`](client::Pods) for that. What the agent gets wrong ends a conversation or costs one pod, never
//! the process, and pods that run are left alone.

pub mod client;
#[cfg(test)]
pub(crate) mod fake_agent;
pub mod packet;
pub mod session;
