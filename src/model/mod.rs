//! The words of the mesh as plain data: names, addresses, identities, workloads, services, policies, pods.
//!
//! Owns: types and the pure rules that belong to one type (parsing, matching a string, membership).
//! Never: I/O, a clock, a wire format (a pod's namespace may be an open handle, which is only carried). Everything here is cheap to clone (`Arc<str>`) and compares by value.

pub mod gateway;
pub mod membership;
pub mod name;
pub mod nearest;
pub mod pod;
pub mod policy;
pub mod ports;
pub mod schedule;
pub mod service;
pub mod spiffe;
pub mod timezone;
pub mod workload;
