//! The directory's own revocation list: `ca-crl.pem`, as in Istio's `cacerts`.
//!
//! Nodes read the same file where they are; nothing on the wire carries it. Here it is only asked whether this CA may
//! still sign.

use std::path::Path;

use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::revocation_list::CertificateRevocationList;

use super::error::CaError;
use super::store::read;
use crate::tls::MAX_PEM;

/// The name of the list in a CA's directory. It need not be there.
pub const CRL: &str = "ca-crl.pem";

/// Checks that no list in `dir` revokes one of `chain`, which is the signing certificate and those above it.
pub(super) fn check<'a>(dir: &Path, chain: impl Iterator<Item = &'a Vec<u8>>) -> Result<(), CaError> {
    let path = dir.join(CRL);
    if !path.exists() {
        return Ok(());
    }
    let broken = || CaError::Crl { path: path.clone() };
    let text = read(&path)?;
    if text.len() > MAX_PEM {
        return Err(broken());
    }
    let sections: Result<Vec<Pem>, _> = Pem::iter_from_buffer(&text).collect();
    let sections = sections.map_err(|_| broken())?;
    let lists: Result<Vec<_>, _> = sections
        .iter()
        .filter(|section| section.label == "X509 CRL")
        .map(|section| CertificateRevocationList::from_der(&section.contents).map(|(_, list)| list))
        .collect();
    let lists = lists.map_err(|_| broken())?;
    if lists.is_empty() {
        return Err(broken());
    }
    for der in chain {
        // What does not parse was refused before.
        let Ok((_, certificate)) = X509Certificate::from_der(der) else { continue };
        let of_issuer = lists.iter().filter(|list| list.issuer().as_raw() == certificate.issuer().as_raw());
        let mut revoked = of_issuer.flat_map(CertificateRevocationList::iter_revoked_certificates);
        if revoked.any(|entry| entry.raw_serial() == certificate.raw_serial()) {
            return Err(CaError::Revoked { path });
        }
    }
    Ok(())
}
