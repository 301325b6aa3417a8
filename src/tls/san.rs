//! The identity in a certificate, from its exact bytes.

use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::model::spiffe::{Identity, IdentityError};

/// Why a certificate names no identity. The fault of whoever issued it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SanError {
    /// Not one X.509 certificate, or bytes after it, or its extensions do not parse.
    #[error("the certificate is not well-formed DER")]
    Der,
    /// The one URI is not a workload's SPIFFE ID.
    #[error("the certificate's URI is not a workload identity")]
    Identity(#[source] IdentityError),
    /// No subject alternative name of the URI kind.
    #[error("the certificate has no SPIFFE URI: issue it with exactly one")]
    Missing,
    /// More than one URI. X509-SVID section 2: exactly one. Which of them counts would be a guess, so none does.
    #[error("the certificate has several URIs: issue it with exactly one")]
    Several,
}

/// The identity of a leaf certificate in DER: exactly one URI among its subject alternative names (names of other
/// kinds do not matter), with the shape of a workload's SPIFFE ID. Bytes are compared as they stand; a NUL or a byte
/// outside ASCII refuses the certificate.
///
/// # Errors
/// See [`SanError`].
pub fn identity_of(der: &[u8]) -> Result<Identity, SanError> {
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| SanError::Der)?;
    if !rest.is_empty() {
        return Err(SanError::Der);
    }
    // An error here is a second extension of the kind, or one that does not parse.
    let names = certificate.subject_alternative_name().map_err(|_| SanError::Der)?.ok_or(SanError::Missing)?;
    let mut found = None;
    for name in &names.value.general_names {
        match name {
            GeneralName::Invalid(..) => return Err(SanError::Der),
            GeneralName::URI(_) if found.is_some() => return Err(SanError::Several),
            GeneralName::URI(uri) => found = Some(*uri),
            _ => {}
        }
    }
    found.ok_or(SanError::Missing)?.parse().map_err(SanError::Identity)
}

#[cfg(test)]
mod tests;
