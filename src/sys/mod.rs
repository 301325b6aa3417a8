//! The kernel's door: namespaces, sockets, netlink, splice, programs, /proc.
//!
//! Owns: every `unsafe` block, every bind and dial, every entry into a namespace, every program run.
//! Never: a decision about the mesh. Errors name the call and the thing it was made on.

pub mod cgroup;
pub mod child;
pub mod exec;
pub mod handover;
pub mod inhabitants;
pub mod limits;
pub mod memory;
pub mod named_netns;
pub mod netlink;
pub mod netns;
mod nsfs;
pub mod packet;
pub mod plain_tcp;
pub mod profile;
pub mod sched;
pub mod seqpacket;
pub mod sock_diag;
pub mod socket;
pub mod splice;
pub mod stamp;
pub mod sysctl;
pub mod terminal;

#[cfg(test)]
pub(crate) mod kernel_tests;
