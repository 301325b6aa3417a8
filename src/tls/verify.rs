//! Verification of peers inside the handshake: nothing of ours is sent to a peer that fails here.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore, SignatureScheme,
};

use super::san::{SanError, identity_of};
use crate::model::spiffe::Identity;

/// Why our verifiers refuse a certificate whose chain is good. Carried through the TLS library's error.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("another identity than expected: {got}")]
    Identity { expected: Arc<[Identity]>, got: Identity },
    #[error("the certificate is of none of: {}", expected.join(", "))]
    Name { expected: Arc<[String]> },
    #[error("no identity in the certificate")]
    San(#[source] SanError),
    #[error("{got} is not of the trust domain {expected}")]
    TrustDomain { expected: Arc<str>, got: Identity },
}

/// A server's verifier of clients: chain, validity and EKU by the library, then one identity of our trust domain.
#[derive(Debug)]
pub(super) struct OfClients {
    pub(super) chain: Arc<dyn ClientCertVerifier>,
    pub(super) trust_domain: Arc<str>,
}

/// A client's verifier of servers: chain, validity and EKU, then an identity of the expected set. Host names mean
/// nothing here; the name that the library asks for is a placeholder.
#[derive(Clone, Debug)]
pub(super) struct OfServers {
    pub(super) expected: Arc<[Identity]>,
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) roots: Arc<RootCertStore>,
}

pub(super) fn refuse(reason: Refused) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(reason))))
}

// TLS 1.2 is never negotiated (the configurations name 1.3 alone), so this is not reached.
pub(super) fn no_tls12() -> Error {
    Error::General("TLS 1.2 is not spoken here".to_owned())
}

// === impl OfClients ===

impl ClientCertVerifier for OfClients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // A peer has one certificate; a list of roots would only tell strangers who signs here.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        let got = identity_of(end_entity).map_err(|reason| refuse(Refused::San(reason)))?;
        if got.trust_domain != self.trust_domain {
            return Err(refuse(Refused::TrustDomain { expected: Arc::clone(&self.trust_domain), got }));
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

// === impl OfServers ===

impl OfServers {
    /// Chain, validity and EKU serverAuth; no identity.
    pub(super) fn verify_chain(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let leaf = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&leaf, &self.roots, intermediates, now, algorithms)
    }
}

impl ServerCertVerifier for OfServers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify_chain(end_entity, intermediates, now)?;
        let got = identity_of(end_entity).map_err(|reason| refuse(Refused::San(reason)))?;
        if !self.expected.contains(&got) {
            return Err(refuse(Refused::Identity { expected: Arc::clone(&self.expected), got }));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
