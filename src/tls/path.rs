//! The path from a certificate to a root: its verification, and what is kept of it while a connection lives.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use rustls::{CertificateError, Error, OtherError};
use webpki::{Cert, EndEntityCert, KeyUsage, VerifiedPath};

use super::crl::Lists;
use super::describe::not_after;
use super::provider::provider;

/// What the certificate's holder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Client,
    Server,
}

/// A verified path, leaf first: which issuer signed which certificate with which key. About 200 bytes a certificate.
#[derive(Clone)]
pub(super) struct Path {
    links: Box<[Link]>,
    /// The first end of validity among its certificates.
    not_after: SystemTime,
}

#[derive(Clone)]
struct Link {
    /// The content of the issuer's name.
    issuer: Box<[u8]>,
    /// The issuer's `SubjectPublicKeyInfo`, DER.
    key: Box<[u8]>,
    serial: Box<[u8]>,
}

/// Verifies the chain for its use and at `now`. `accept` is asked about each path that verifies: it may refuse one, and
/// another may be found.
pub(super) fn verify(
    of: Of,
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    roots: &[TrustAnchor<'static>],
    now: UnixTime,
    accept: impl Fn(&Path) -> Result<(), webpki::Error>,
) -> Result<Path, Error> {
    let usage = match of {
        Of::Client => KeyUsage::client_auth(),
        Of::Server => KeyUsage::server_auth(),
    };
    let algorithms = provider().signature_verification_algorithms.all;
    let accept = |path: &VerifiedPath<'_>| accept(&Path::of(path)?);
    let leaf = EndEntityCert::try_from(leaf).map_err(refused)?;
    let path = leaf.verify_for_usage(algorithms, roots, intermediates, now, usage, None, Some(&accept));
    path.and_then(|path| Path::of(&path)).map_err(refused)
}

/// In the words of the TLS library, which makes an alert of them.
fn refused(error: webpki::Error) -> Error {
    use webpki::Error as E;
    Error::InvalidCertificate(match error {
        E::CertExpired { .. } => CertificateError::Expired,
        E::CertNotValidYet { .. } => CertificateError::NotValidYet,
        E::CertRevoked => CertificateError::Revoked,
        E::InvalidSignatureForPublicKey
        | E::UnsupportedSignatureAlgorithmContext(_)
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => CertificateError::BadSignature,
        E::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
        E::UnknownIssuer => CertificateError::UnknownIssuer,
        E::UnknownRevocationStatus => CertificateError::UnknownRevocationStatus,
        other => CertificateError::Other(OtherError(Arc::new(other))),
    })
}

/// Puts the head of a DER SEQUENCE (X.690 section 8.9) before its content: a root is kept without it.
fn sequence(content: &[u8]) -> Box<[u8]> {
    let length = content.len().to_be_bytes();
    let length = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let mut der = vec![0x30];
    match (content.len(), u8::try_from(length.len())) {
        (0..=127, _) | (_, Err(_)) => der.push(content.len().to_le_bytes()[0]),
        (_, Ok(bytes)) => {
            der.push(0x80 | bytes);
            der.extend(length);
        }
    }
    der.extend(content);
    der.into()
}

// === impl Path ===

impl Path {
    fn of(path: &VerifiedPath<'_>) -> Result<Self, webpki::Error> {
        let end: &Cert<'_> = path.end_entity();
        let certificates: Vec<&Cert<'_>> = std::iter::once(end).chain(path.intermediate_certificates()).collect();
        let mut first: Option<SystemTime> = None;
        let mut links = Vec::with_capacity(certificates.len());
        for (place, certificate) in certificates.iter().enumerate() {
            let key = match certificates.get(place + 1) {
                Some(issuer) => issuer.subject_public_key_info().as_ref().into(),
                None => sequence(&path.anchor().subject_public_key_info),
            };
            links.push(Link { issuer: certificate.issuer().into(), key, serial: certificate.serial().into() });
            let end = not_after(&certificate.der()).ok_or(webpki::Error::BadDer)?;
            first = Some(first.map_or(end, |first| first.min(end)));
        }
        Ok(Self { links: links.into(), not_after: first.ok_or(webpki::Error::BadDer)? })
    }

    pub(super) const fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// The leaf's number.
    #[cfg(test)]
    pub(super) fn serial(&self) -> &[u8] {
        &self.links[0].serial
    }

    /// True when it leads to one of `roots`.
    pub(super) fn is_under(&self, roots: &[TrustAnchor<'static>]) -> bool {
        let is_it = |root: &TrustAnchor<'_>, last: &Link| {
            *root.subject == *last.issuer && sequence(&root.subject_public_key_info) == last.key
        };
        self.links.last().is_some_and(|last| roots.iter().any(|root| is_it(root, last)))
    }

    /// True when one of its certificates, the leaf or an intermediate, is revoked. A root is taken out of the trusted
    /// ones, not revoked.
    pub(super) fn is_revoked(&self, lists: &Lists) -> bool {
        self.links.iter().any(|link| lists.revokes(&link.issuer, &link.key, &link.serial))
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Path").field("certificates", &self.links.len()).field("not_after", &self.not_after).finish()
    }
}

#[cfg(test)]
mod tests;
