//! What the process tells: log lines, access-log lines, metrics.
//!
//! Owns: the log's format and its writer thread, the shape of an access-log line, every metric's declaration
//! and the bounded storage of its series.
//! Never: a decision, a socket (`admin` serves the metrics), a global metric. A value that a peer chose is
//! escaped before it reaches a line, and counted against a budget before it becomes a series.

pub mod access;
pub mod build_info;
pub mod cause;
mod escape;
pub mod log;
pub mod metrics;
pub mod seldom;
