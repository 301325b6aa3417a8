//! Messages of `ca.proto`, package `istio.v1.auth`.

use super::google::Struct;

/// Asks for a certificate.
#[derive(Clone, PartialEq, prost::Message)]
pub struct IstioCertificateRequest {
    /// PKCS #10, as PEM.
    #[prost(string, tag = "1")]
    pub csr: String,
    /// Seconds.
    #[prost(int64, tag = "3")]
    pub validity_duration: i64,
    /// `ImpersonatedIdentity`: whom it is for, when not for the caller.
    #[prost(message, optional, tag = "4")]
    pub metadata: Option<Struct>,
}

/// The leaf, the certificates between, and last a bundle of roots; each as PEM.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct IstioCertificateResponse {
    #[prost(string, repeated, tag = "1")]
    pub cert_chain: Vec<String>,
}
