//! Istio's certificate service: leaves for nodes that prove who they are by a token.
//!
//! Owns: whom a caller may ask for ([`grant`]), how long it may live, how often it may ask, the answer's chain. Never:
//! who the caller is (`authenticate`), what a leaf looks like (`authority`), where pods come from.
//!
//! A refusal tells the peer its kind and no more; the log has the reason. An answer's first element is the leaf, then
//! each certificate between it and the roots, and last one text with every root, the ones that are on their way in or out
//! among them.

mod calls;
mod create;
mod denied;
mod grant;
mod rates;

pub use create::Certificates;
pub use denied::Denied;
pub use grant::{Placement, grant};

#[cfg(test)]
mod tests;
