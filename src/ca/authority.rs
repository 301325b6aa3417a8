//! Signing of leaves.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, Issuer, KeyPair, PublicKeyData, SubjectPublicKeyInfo};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use super::error::CaError;
use super::pki;
use crate::identity::source::{CertSource, SourceError};
use crate::model::spiffe::Identity;
use crate::tls::{Issued, PrivateKey};

/// Life of a leaf when nobody asks for another, 24 h as Istio's.
pub const DEFAULT_TTL: Duration = Duration::from_secs(24 * 3600);
/// Longest life of a leaf, 90 days as Istio's.
pub const MAX_TTL: Duration = Duration::from_secs(90 * 24 * 3600);
/// Largest certificate request, 16 KiB: an RSA-4096 one has 2.
const MAX_CSR: usize = 16 << 10;

/// A signing certificate with its key. Cheap to clone.
#[derive(Clone)]
pub struct Authority(Arc<Parts>);

pub(super) struct Parts {
    pub(super) issuer: Issuer<'static, KeyPair>,
    /// What goes between leaf and root: the signing certificate and those above it, roots left out. DER.
    pub(super) intermediates: Vec<Vec<u8>>,
    pub(super) roots: Vec<Vec<u8>>,
    pub(super) not_after: SystemTime,
    pub(super) roots_not_after: SystemTime,
    pub(super) ttl: Duration,
    pub(super) trust_domain: Arc<str>,
}

/// A signed leaf for somebody else's key.
#[derive(Clone, Debug)]
pub struct Signed {
    /// Leaf first; DER.
    pub chain: Vec<Vec<u8>>,
    pub roots: Vec<Vec<u8>>,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
}

// === impl Authority ===

impl Authority {
    pub(super) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// The trust domain that the directory was opened for.
    pub fn trust_domain(&self) -> &Arc<str> {
        &self.0.trust_domain
    }

    /// When the signing certificate ends; no leaf lives longer.
    pub fn not_after(&self) -> SystemTime {
        self.0.not_after
    }

    /// When the first of the roots ends.
    pub fn roots_not_after(&self) -> SystemTime {
        self.0.roots_not_after
    }

    /// The certificates between a leaf and the roots, the signer's first; DER. Empty for a self-signed root.
    pub fn intermediates(&self) -> &[Vec<u8>] {
        &self.0.intermediates
    }

    /// The roots, DER.
    pub fn roots(&self) -> &[Vec<u8>] {
        &self.0.roots
    }

    /// A leaf for `identity` with a new ECDSA P-256 key. Its life begins two minutes before `now` and ends `ttl` after
    /// it (at most [`MAX_TTL`]) or with the signer's, whichever is first.
    ///
    /// # Errors
    /// The signer has expired, or no key could be made.
    pub fn issue(&self, identity: &Identity, ttl: Duration, now: SystemTime) -> Result<Issued, CaError> {
        let key = pki::key()?;
        let Signed { chain, roots, not_before, not_after } = self.sign(identity, &key, ttl, now)?;
        Ok(Issued { chain, key: PrivateKey::from_pkcs8(key.serialize_der()), roots, not_before, not_after })
    }

    /// A certificate for a server of these names (DNS names and addresses), with a new key; as long as a leaf.
    ///
    /// # Errors
    /// As [`Self::issue`], and a name that is not ASCII.
    pub fn issue_server(&self, names: &[String], ttl: Duration, now: SystemTime) -> Result<Issued, CaError> {
        let key = pki::key()?;
        let Signed { chain, roots, not_before, not_after } =
            self.sign_as(&key, ttl, now, |not_before, not_after| pki::server(names, not_before, not_after))?;
        Ok(Issued { chain, key: PrivateKey::from_pkcs8(key.serialize_der()), roots, not_before, not_after })
    }

    /// A leaf for `identity` and the key of a PKCS#10 request in DER. The request's signature proves that its sender
    /// has the key; everything else in it, its names above all, is ignored.
    ///
    /// # Errors
    /// As [`Self::issue`], and a request that is refused.
    pub fn issue_csr(
        &self,
        csr: &[u8],
        identity: &Identity,
        ttl: Duration,
        now: SystemTime,
    ) -> Result<Signed, CaError> {
        if csr.len() > MAX_CSR {
            return Err(CaError::Csr("it is larger than 16 KiB"));
        }
        let (rest, request) =
            X509CertificationRequest::from_der(csr).map_err(|_| CaError::Csr("it is not PKCS#10 in DER"))?;
        if !rest.is_empty() {
            return Err(CaError::Csr("there are bytes after it"));
        }
        request.verify_signature().map_err(|_| CaError::Csr("its signature is not by its key"))?;
        let key = SubjectPublicKeyInfo::from_der(request.certification_request_info.subject_pki.raw)
            .map_err(|_| CaError::Csr("its key is neither EC nor RSA nor Ed25519"))?;
        self.sign(identity, &key, ttl, now)
    }

    fn sign(
        &self,
        identity: &Identity,
        key: &impl PublicKeyData,
        ttl: Duration,
        now: SystemTime,
    ) -> Result<Signed, CaError> {
        self.sign_as(key, ttl, now, |not_before, not_after| pki::leaf(identity, not_before, not_after))
    }

    fn sign_as(
        &self,
        key: &impl PublicKeyData,
        ttl: Duration,
        now: SystemTime,
        params: impl FnOnce(SystemTime, SystemTime) -> Result<CertificateParams, CaError>,
    ) -> Result<Signed, CaError> {
        let parts = &*self.0;
        if parts.not_after <= now {
            return Err(CaError::Sign("the signing certificate has expired: put a new one into the CA's directory"));
        }
        let not_before = pki::whole(now - pki::BACKDATE);
        let not_after = pki::whole(now + ttl.min(MAX_TTL)).min(parts.not_after);
        let leaf = params(not_before, not_after)?
            .signed_by(key, &parts.issuer)
            .map_err(|_| CaError::Sign("the signing key did not sign"))?;
        let chain = std::iter::once(leaf.der().to_vec()).chain(parts.intermediates.iter().cloned()).collect();
        Ok(Signed { chain, roots: parts.roots.clone(), not_before, not_after })
    }
}

impl CertSource for Authority {
    /// Issues from memory; a signature takes well under a millisecond, so it is made in place.
    async fn fetch(&self, identity: &Identity) -> Result<Issued, SourceError> {
        self.issue(identity, self.0.ttl, SystemTime::now()).map_err(|error| SourceError::Refused(error.into()))
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("trust_domain", &self.0.trust_domain).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
