//! A client of a CA on the network: Istio's certificate service.
//!
//! Owns: the request and its key ([`csr`]), what an answer may look like ([`answer`]), one connection for many requests
//! ([`line`]), what a refusal means to a person ([`error`]), and all of it as a
//! [`CertSource`](super::source::CertSource) ([`client`]). Never: when to ask (`rotate`), whether the answer is the right
//! identity's (`certs`, for every source alike), how a connection is made (`grpc`).

pub mod answer;
pub mod client;
mod csr;
pub mod error;
mod line;

pub use client::{CaClient, Settings};
pub use error::CaError;
