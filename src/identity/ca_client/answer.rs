//! What a CA answers: the leaf, what is between, and the roots. Pure.

use crate::tls::{PemError, certificates_leniently, describe, pem_certificates};

/// Largest answer, 1 MiB: some hundred certificates.
pub const MAX_BYTES: usize = 1 << 20;
/// Texts in an answer: Istio sends the leaf, each certificate of the chain, and the roots.
pub const MAX_TEXTS: usize = 32;
/// Leaf and intermediates: each of our handshakes carries them.
pub const MAX_CHAIN: usize = 10;
/// Roots: a bundle of several clusters in the midst of their rotations.
pub const MAX_ROOTS: usize = 100;

/// An answer that has the right shape. Nothing in it has been verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundle {
    /// Leaf first, DER.
    pub chain: Vec<Vec<u8>>,
    /// DER; at least one.
    pub roots: Vec<Vec<u8>>,
    /// Sections of the roots that are no certificates.
    pub left_out: usize,
}

/// Why an answer is not used. The CA.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// No leaf in the first text.
    #[error("it has no certificate")]
    NoLeaf,
    /// A leaf alone: peers could not be verified.
    #[error("it has a certificate and no roots: look at the CA's root-cert.pem")]
    NoRoots,
    /// Text `place`, from 0, is no PEM.
    #[error("its text {place} is not PEM")]
    Pem {
        place: usize,
        #[source]
        source: PemError,
    },
    /// A certificate of the chain is no X.509.
    #[error("its text {place} has what is no X.509 certificate")]
    X509 { place: usize },
    /// More of something than an honest CA sends.
    #[error("it has more than {limit} {what}")]
    TooMuch { what: &'static str, limit: usize },
}

/// Reads `cert_chain` of an answer: the last text is the bundle of roots, those before it are the chain, and each may
/// hold several certificates. What is broken among the roots is left out and counted, since one root that somebody
/// added badly must not stop a mesh; the chain has no such part.
///
/// # Errors
/// See [`AnswerError`].
pub fn read(texts: &[String]) -> Result<Bundle, AnswerError> {
    let too_much = |what, limit| Err(AnswerError::TooMuch { what, limit });
    if texts.len() > MAX_TEXTS {
        return too_much("texts", MAX_TEXTS);
    }
    if texts.iter().map(String::len).sum::<usize>() > MAX_BYTES {
        return too_much("bytes", MAX_BYTES);
    }
    let Some((roots, chains)) = texts.split_last() else { return Err(AnswerError::NoLeaf) };
    if chains.is_empty() {
        return Err(AnswerError::NoRoots);
    }
    let mut bundle = Bundle::default();
    for (place, text) in chains.iter().enumerate() {
        let found = pem_certificates(text.as_bytes()).map_err(|source| AnswerError::Pem { place, source })?;
        if found.iter().any(|der| describe(der).is_none()) {
            return Err(AnswerError::X509 { place });
        }
        if place == 0 && found.is_empty() {
            return Err(AnswerError::NoLeaf);
        }
        bundle.chain.extend(found);
        if bundle.chain.len() > MAX_CHAIN {
            return too_much("certificates in its chain", MAX_CHAIN);
        }
    }
    let place = chains.len();
    let found = certificates_leniently(roots.as_bytes()).map_err(|source| AnswerError::Pem { place, source })?;
    if found.certificates.len() > MAX_ROOTS {
        return too_much("roots", MAX_ROOTS);
    }
    bundle.left_out = found.broken;
    for der in found.certificates {
        match describe(&der) {
            Some(_) => bundle.roots.push(der),
            None => bundle.left_out += 1,
        }
    }
    if bundle.roots.is_empty() {
        return Err(AnswerError::NoRoots);
    }
    Ok(bundle)
}

#[cfg(test)]
mod tests;
