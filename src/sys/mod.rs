//! The kernel's door: namespaces, sockets, netlink, splice, programs, /proc.
//!
//! Owns: every `unsafe` block, every bind and dial, every entry into a namespace, every program run.
//! Never: a decision about the mesh. Errors name the call and the thing it was made on.

pub mod cgroup;
pub mod exec;
pub mod limits;
pub mod netlink;
pub mod netns;
mod nsfs;
pub mod sock_diag;
pub mod socket;
pub mod splice;
