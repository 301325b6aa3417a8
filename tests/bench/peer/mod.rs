//! Another proxy in a column of its own, driven as istio-cni and istiod would.
//!
//! Owns: fakes of what is not ours: the socket by which pods are announced ([`zds`]), a certificate authority
//! ([`authority`]), the file of workloads ([`local`]). The redirection in the pods is culvert's own plan, laid by
//! culvert's code, so that both proxies stand behind the same rules. Never: anything that the proxy itself does.

mod authority;
mod local;
mod messages;
mod proxy;
mod zds;

pub(crate) use proxy::Peer;
