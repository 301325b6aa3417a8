//! Verification of peers inside the handshake: nothing of ours is sent to a peer that fails here.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::verify_tls13_signature;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore, SignatureScheme,
};

use super::path::{self, Of, Path};
use super::provider::provider;
use super::san::{SanError, identity_of};
use super::trust::{Trust, Verdict, unix};
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

/// What a certificate of ours holds its peers against.
#[derive(Clone)]
pub(super) struct Own {
    pub(super) domain: Arc<str>,
    pub(super) roots: Arc<RootCertStore>,
    pub(super) trust: Trust,
    pub(super) fresh: Arc<Fresh>,
}

/// What the verifiers have found in handshakes that are not over yet: the library does not hand it on, and to find it
/// again costs a signature's check for each certificate.
#[derive(Default)]
pub(super) struct Fresh {
    found: Mutex<VecDeque<Found>>,
}

struct Found {
    of: Of,
    leaf: Vec<u8>,
    /// What was trusted when it was found.
    version: u64,
    peer: Identity,
    path: Path,
}

/// Handshakes of one certificate whose findings are kept at once; beyond it they are found again.
const MAX_FRESH: usize = 64;

/// A server's verifier of clients: one identity of a trust domain that is known, then chain, validity and EKU with that
/// domain's roots, then revocation.
#[derive(Debug)]
pub(super) struct OfClients {
    pub(super) own: Own,
}

/// A client's verifier of servers: an identity of the expected set, then as for clients. Host names mean nothing here;
/// the name that the library asks for is a placeholder.
#[derive(Debug)]
pub(super) struct OfServers {
    pub(super) expected: Arc<[Identity]>,
    pub(super) own: Own,
}

pub(super) fn refuse(reason: Refused) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(reason))))
}

// TLS 1.2 is never negotiated (the configurations name 1.3 alone), so this is not reached.
pub(super) fn no_tls12() -> Error {
    Error::General("TLS 1.2 is not spoken here".to_owned())
}

// === impl Fresh ===

impl Fresh {
    fn put(&self, found: Found) {
        let mut all = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_FRESH {
            all.pop_front();
        }
        all.push_back(found);
    }

    /// What was found for `leaf` while the same was trusted as now.
    fn take(&self, of: Of, leaf: &[u8], version: u64) -> Option<(Identity, Path)> {
        let mut all = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = all.iter().rposition(|f| f.of == of && f.version == version && f.leaf == leaf)?;
        all.remove(newest).map(|found| (found.peer, found.path))
    }
}

// === impl Own ===

impl Own {
    /// Who the client of a handshake that is over is, and its path. A resumed one is verified as if it were new: the
    /// library verified nobody.
    pub(super) fn client_after(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        resumed: bool,
    ) -> Result<(Identity, Path), Error> {
        match self.found(Of::Client, leaf, resumed) {
            Some(found) => Ok(found),
            None => self.client(leaf, intermediates, unix(self.trust.now())),
        }
    }

    /// As [`Self::client_after`], for a server.
    pub(super) fn server_after(
        &self,
        expected: &Arc<[Identity]>,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        resumed: bool,
    ) -> Result<(Identity, Path), Error> {
        match self.found(Of::Server, leaf, resumed) {
            Some((peer, path)) => self.expect(expected, &peer).map(|()| (peer, path)),
            None => self.server(expected, leaf, intermediates, unix(self.trust.now())),
        }
    }

    fn found(&self, of: Of, leaf: &[u8], resumed: bool) -> Option<(Identity, Path)> {
        let found = if resumed { None } else { self.fresh.take(of, leaf, self.trust.version()) };
        found.filter(|(_, path)| path.not_after() > self.trust.now())
    }

    fn keep(&self, of: Of, leaf: &[u8], version: u64, (peer, path): (Identity, Path)) {
        self.fresh.put(Found { of, leaf: leaf.to_vec(), version, peer, path });
    }

    fn expect(&self, expected: &Arc<[Identity]>, got: &Identity) -> Result<(), Error> {
        if expected.iter().any(|identity| self.trust.is_same(&self.domain, identity, got)) {
            return Ok(());
        }
        Err(refuse(Refused::Identity { expected: Arc::clone(expected), got: got.clone() }))
    }

    /// The peer's trust domain, where that is held against a bundle of its own.
    pub(super) fn federated(&self, peer: &Identity) -> Option<Arc<str>> {
        self.trust.federated(&self.domain, peer)
    }

    /// Who a client is, and its path.
    fn client(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(Identity, Path), Error> {
        let got = identity_of(leaf).map_err(|reason| refuse(Refused::San(reason)))?;
        let Some(roots) = self.trust.roots(&self.domain, &self.roots, &got.trust_domain) else {
            // Strangers of our own roots get a better word than those of none.
            self.path(Of::Client, leaf, intermediates, &self.roots, now)?;
            return Err(refuse(Refused::TrustDomain { expected: Arc::clone(&self.domain), got }));
        };
        let path = self.path(Of::Client, leaf, intermediates, &roots, now)?;
        Ok((got, path))
    }

    /// Who a server is, and its path. An expected identity of a trust domain that nothing was said of is held against
    /// our own roots: whoever named it did so knowingly.
    fn server(
        &self,
        expected: &Arc<[Identity]>,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(Identity, Path), Error> {
        let got = identity_of(leaf).map_err(|reason| refuse(Refused::San(reason)))?;
        let roots = self.trust.roots(&self.domain, &self.roots, &got.trust_domain);
        let path = self.path(Of::Server, leaf, intermediates, roots.as_ref().unwrap_or(&self.roots), now)?;
        self.expect(expected, &got)?;
        Ok((got, path))
    }

    fn path(
        &self,
        of: Of,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        roots: &RootCertStore,
        now: UnixTime,
    ) -> Result<Path, Error> {
        path::verify(of, leaf, intermediates, &roots.roots, now, |path| match self.trust.judge(path) {
            Verdict::Good => Ok(()),
            Verdict::Revoked => Err(webpki::Error::CertRevoked),
            Verdict::Unknown => Err(webpki::Error::UnknownRevocationStatus),
        })
    }
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Own").field("domain", &self.domain).finish_non_exhaustive()
    }
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
        // Before anything is judged: a change meanwhile makes the finding an old one.
        let version = self.own.trust.version();
        let found = self.own.client(end_entity, intermediates, now)?;
        self.own.keep(Of::Client, end_entity, version, found);
        Ok(ClientCertVerified::assertion())
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
        verify_tls13_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

// === impl OfServers ===

impl ServerCertVerifier for OfServers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let version = self.own.trust.version();
        let found = self.own.server(&self.expected, end_entity, intermediates, now)?;
        self.own.keep(Of::Server, end_entity, version, found);
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
        verify_tls13_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
