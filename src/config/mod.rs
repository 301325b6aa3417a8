//! Settings: from flags, the environment, a YAML file and defaults, in this order of weight.
//!
//! Owns: the table of every setting ([`table`]), the only reading of the process's environment ([`mod@env`]), the
//! values with their origins ([`raw`]), the typed settings of the node ([`node`]; what they say of its surroundings is in
//! [`source`]) and of the control plane ([`control`]), ztunnel's environment as settings ([`ztunnel`]), its file of a mesh ([`local`])
//! and of commands that only look at manifests ([`mesh`]), how they are shown ([`show`]) and named in messages ([`named`]).
//! Never: a part's own configuration (`role` makes it from the settings), a default outside of the table, a
//! setting for tests alone.

pub mod control;
pub mod drop_in;
pub mod env;
pub mod local;
pub mod mesh;
pub mod named;
pub mod node;
pub mod raw;
pub mod secret;
pub mod show;
pub mod source;
pub mod table;
pub mod value;
mod yaml;
pub mod ztunnel;
