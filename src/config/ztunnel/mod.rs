//! ztunnel's environment: what Istio's DaemonSet says to the node proxy in its image, as our settings.
//!
//! Owns: the table of every variable that ztunnel reads ([`variables`]), their grammars ([`duration`], [`quantity`],
//! [`levels`]), the mesh configuration beside them ([`proxy_config`]), and how all of it becomes settings ([`read`], under those of ours: [`resolve`]).
//! Never: a file or a variable read by itself (both are given), a setting that `culvert node` could not have: what only
//! this mode can say is in [`DropIn`](super::node::DropIn).

pub mod duration;
mod error;
pub mod levels;
pub mod proxy_config;
pub mod quantity;
mod read;
mod reference;
mod resolve;
pub mod variables;

pub use error::ZtunnelError;
pub use read::{Found, Host, read};
pub use reference::reference;
pub use resolve::resolve;

/// The mode whose defaults these are.
const MODE: &str = "culvert proxy ztunnel";
