//! PEM files (RFC 7468): certificates and private keys.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};

/// Largest PEM file that is read, 1 MiB: a few hundred certificates.
pub const MAX_PEM: usize = 1 << 20;

/// Why a PEM text gives no certificate or key. The fault of who wrote the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// More than one private key, so which one is meant is a guess.
    #[error("more than one private key")]
    SeveralKeys,
    /// A section without an end, or bytes in it that are not base64.
    #[error("a PEM section is broken")]
    Section,
    /// Larger than [`MAX_PEM`].
    #[error("larger than 1 MiB")]
    TooLarge,
}

/// The certificates of a PEM text in their order, DER. Sections of other kinds and text between them are skipped.
///
/// # Errors
/// A broken section or a text that is too large.
pub fn certificates(text: &[u8]) -> Result<Vec<Vec<u8>>, PemError> {
    if text.len() > MAX_PEM {
        return Err(PemError::TooLarge);
    }
    CertificateDer::pem_slice_iter(text)
        .map(|section| section.map(|der| der.to_vec()).map_err(|_| PemError::Section))
        .collect()
}

/// What a text of certificates held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lenient {
    /// In their order, DER. Not looked into.
    pub certificates: Vec<Vec<u8>>,
    /// Sections that are broken.
    pub broken: usize,
}

/// As [`certificates`], but a broken section does not take the others with it: for a bundle that others add to.
///
/// # Errors
/// A text that is too large.
pub fn certificates_leniently(text: &[u8]) -> Result<Lenient, PemError> {
    if text.len() > MAX_PEM {
        return Err(PemError::TooLarge);
    }
    let mut found = Lenient::default();
    for section in CertificateDer::pem_slice_iter(text) {
        match section {
            Ok(der) => found.certificates.push(der.to_vec()),
            Err(_) => found.broken += 1,
        }
    }
    Ok(found)
}

/// The first certificate request of a PEM text, DER. [`None`] without one.
///
/// # Errors
/// A broken section before it, or a text that is too large.
pub fn certificate_request(text: &[u8]) -> Result<Option<Vec<u8>>, PemError> {
    if text.len() > MAX_PEM {
        return Err(PemError::TooLarge);
    }
    let first = CertificateSigningRequestDer::pem_slice_iter(text).next().transpose();
    first.map(|found| found.map(|der| der.to_vec())).map_err(|_| PemError::Section)
}

/// The one private key section of a PEM text, as text: PKCS#8, SEC1 (`EC PRIVATE KEY`) or PKCS#1 (`RSA PRIVATE KEY`).
/// Other sections around it, such as the `EC PARAMETERS` that openssl writes first, are left out. [`None`] without one.
///
/// # Errors
/// A broken section, several keys, or a text that is too large.
pub fn private_key_block(text: &str) -> Result<Option<&str>, PemError> {
    if text.len() > MAX_PEM {
        return Err(PemError::TooLarge);
    }
    let mut found = None;
    for kind in ["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"] {
        let (begin, end) = (format!("-----BEGIN {kind}-----"), format!("-----END {kind}-----"));
        let mut rest = text;
        while let Some((_, from)) = rest.split_once(&begin) {
            let (body, after) = from.split_once(&end).ok_or(PemError::Section)?;
            // Both are slices of `text`; their distance from its end gives the section with its markers.
            let start = text.len() - from.len() - begin.len();
            let stop = text.len() - from.len() + body.len() + end.len();
            if found.replace(&text[start..stop]).is_some() {
                return Err(PemError::SeveralKeys);
            }
            rest = after;
        }
    }
    Ok(found)
}

/// Certificates as PEM text, 64 characters a line.
pub fn encode_certificates<'a>(chain: impl IntoIterator<Item = &'a [u8]>) -> String {
    chain.into_iter().map(|der| section("CERTIFICATE", der)).collect()
}

/// A PKCS#8 key as PEM text.
pub fn encode_key(pkcs8: &[u8]) -> String {
    section("PRIVATE KEY", pkcs8)
}

/// Base64 with padding (RFC 4648 section 4), on one line.
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = u32::from(chunk[0]) << 16
            | chunk.get(1).map_or(0, |b| u32::from(*b) << 8)
            | chunk.get(2).map_or(0, |b| u32::from(*b));
        for place in 0..4 {
            let digit = (word >> (18 - 6 * place)) & 63;
            let past = place > chunk.len();
            text.push(if past { '=' } else { ALPHABET[digit as usize] as char });
        }
    }
    text
}

fn section(kind: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {kind}-----\n");
    // 48 bytes are 64 characters.
    for line in der.chunks(48) {
        text.push_str(&base64(line));
        text.push('\n');
    }
    text.push_str(&format!("-----END {kind}-----\n"));
    text
}

#[cfg(test)]
mod tests;
