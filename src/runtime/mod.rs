//! Where work runs: thread pools, tasks and their owners, shutdown, signals, readiness.
//!
//! Owns: the tokio runtimes, every long-lived task's spawn, the phases of the process's life; how often and when again (`rate`, `retry`).
//! Never: a socket, a setting, a word about pods. A part is given a [`shutdown::Shutdown`] or a
//! [`tasks::Tasks`] and never makes one.
//!
//! A full data plane cannot starve the part that renews certificates, applies manifests and answers a probe, which has a
//! runtime of its own ([`pools::Pools`]), and one pod not another ([`threads::Threads`]). Tasks that live as long as the process are
//! spawned by [`supervise::Supervisor`]; a connection's by the [`tasks::Tasks`] of its owner.

mod busy;
mod panics;
pub mod pools;
pub mod rate;
pub mod ready;
pub mod retry;
pub mod shutdown;
pub mod signal;
pub mod supervise;
pub mod tasks;
pub mod threads;

pub use busy::beat;
pub use panics::{Panic, Panics};
