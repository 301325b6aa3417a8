//! The certificates of this node's workloads: fetched, kept, renewed at half their life, handed to their pods.
//!
//! Owns: when to renew ([`rotate`]), one certificate per identity however many pods share it ([`certs`]), and the
//! handle that lets a pod's proxy reach its own identity and no other ([`access`]). Never: how a certificate is made
//! (`ca`, or a client of one, behind [`source::CertSource`]), a socket, a file.

pub mod access;
pub mod certs;
pub mod rotate;
pub mod source;
