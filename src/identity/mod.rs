//! The certificates of this node's workloads: fetched, kept, renewed at half their life, handed to their pods.
//!
//! Owns: when to renew ([`rotate`]), one certificate per identity however many pods share it ([`certs`]), the
//! handle that lets a pod's proxy reach its own identity and no other ([`access`]), what is told of them ([`held`]), and
//! the client of a CA on the network ([`ca_client`]). Never: how a certificate is signed (`ca`; both are behind
//! [`source::CertSource`]), a socket, a file.

pub mod access;
pub mod ca_client;
pub mod certs;
pub mod held;
pub mod rotate;
pub mod source;
