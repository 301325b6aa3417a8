//! Certificate revocation lists (RFC 5280 section 5): read from a file's bytes, asked for single certificates.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use webpki::BorrowedCertRevocationList;
use x509_parser::prelude::{CertificateRevocationList, FromDer, SubjectPublicKeyInfo};

/// Largest file of lists, 4 MiB: some 100,000 revoked certificates, which take about 12 MiB here. Kubernetes' own limit
/// for a mounted object is 1 MiB.
pub const MAX_FILE: usize = 4 << 20;
/// Most lists in a file: one for each CA of a mesh, with those of CAs that are being replaced.
const MAX_LISTS: usize = 256;
/// Issuers' keys whose judgement of a list's signature is remembered.
const MAX_SIGNERS: usize = 64;

/// The lists of one file.
pub struct Lists {
    lists: Vec<List>,
}

struct List {
    der: Vec<u8>,
    /// The content of the issuer's name, as it stands in the certificates that it signed.
    issuer: Box<[u8]>,
    next_update: Option<SystemTime>,
    serials: HashSet<Box<[u8]>>,
    /// Whether a key has signed this list. A signature over megabytes is not checked for each handshake.
    signers: Mutex<HashMap<Box<[u8]>, bool>>,
}

/// Why a file gives no lists. The fault of who wrote the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrlError {
    /// It holds no list at all; a file that is being written looks like this too.
    #[error("it holds no revocation list: write PEM sections `X509 CRL`, or one list in DER")]
    Empty,
    /// One of the lists is not well-formed, or is of a kind that cannot be judged (a delta, an indirect list, an unknown
    /// critical extension). Counted from one.
    #[error("its revocation list {place} cannot be used: {reason}")]
    List { place: usize, reason: String },
    /// A PEM section without an end, or bytes in it that are not base64.
    #[error("a PEM section is broken")]
    Section,
    /// More lists than a mesh has CAs.
    #[error("it holds more than 256 revocation lists")]
    TooMany,
    /// Larger than [`MAX_FILE`].
    #[error("it is larger than 4 MiB")]
    TooLarge,
}

// === impl Lists ===

impl Lists {
    /// Reads one or many PEM lists, or a single one in DER. All of them or none: a list that is left out would let
    /// pass what it revokes.
    ///
    /// # Errors
    /// See [`CrlError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, CrlError> {
        const MARK: &[u8] = b"-----BEGIN";
        if bytes.len() > MAX_FILE {
            return Err(CrlError::TooLarge);
        }
        let ders: Vec<Vec<u8>> = if bytes.windows(MARK.len()).any(|window| window == MARK) {
            let sections = CertificateRevocationListDer::pem_slice_iter(bytes).take(MAX_LISTS + 1);
            let sections = sections.map(|section| section.map(|der| der.as_ref().to_vec()));
            sections.collect::<Result<_, _>>().map_err(|_| CrlError::Section)?
        } else if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(CrlError::Empty);
        } else {
            vec![bytes.to_vec()]
        };
        match ders.len() {
            0 => return Err(CrlError::Empty),
            n if n > MAX_LISTS => return Err(CrlError::TooMany),
            _ => {}
        }
        let lists = ders
            .into_iter()
            .enumerate()
            .map(|(place, der)| List::read(der).map_err(|reason| CrlError::List { place: place + 1, reason }));
        Ok(Self { lists: lists.collect::<Result<_, _>>()? })
    }

    /// True when a list that the issuer has signed names the certificate. `issuer` is the content of its name, `key` its
    /// public key (`SubjectPublicKeyInfo`, DER), `serial` the certificate's number. A list that only bears the issuer's
    /// name, and not its signature, revokes nothing; there may be several of one name while a CA changes its key.
    pub(super) fn revokes(&self, issuer: &[u8], key: &[u8], serial: &[u8]) -> bool {
        let named = |list: &&List| *list.issuer == *issuer && list.serials.contains(serial);
        self.lists.iter().filter(named).any(|list| list.is_signed_by(key))
    }

    pub const fn len(&self) -> usize {
        self.lists.len()
    }

    pub const fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// Certificates that are named, over all lists.
    pub fn revoked(&self) -> usize {
        self.lists.iter().map(|list| list.serials.len()).sum()
    }

    /// Lists whose successor is overdue at `now`.
    pub fn overdue(&self, now: SystemTime) -> usize {
        self.lists.iter().filter(|list| list.next_update.is_some_and(|at| at <= now)).count()
    }
}

impl fmt::Debug for Lists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lists").field("lists", &self.len()).field("revoked", &self.revoked()).finish()
    }
}

// === impl List ===

impl List {
    fn read(der: Vec<u8>) -> Result<Self, String> {
        // The strict reader refuses what it cannot judge; the other one knows dates and signatures.
        let strict = BorrowedCertRevocationList::from_der(&der).map_err(|error| error.to_string())?;
        let serials: Result<HashSet<_>, _> =
            strict.into_iter().map(|revoked| revoked.map(|revoked| Box::from(revoked.serial_number))).collect();
        let serials = serials.map_err(|error| error.to_string())?;
        let issuer = Box::from(webpki::CertRevocationList::Borrowed(strict).issuer());
        let (rest, list) = CertificateRevocationList::from_der(&der).map_err(|error| error.to_string())?;
        if !rest.is_empty() {
            return Err("bytes follow it".to_owned());
        }
        let next_update = list.next_update().and_then(|at| {
            let seconds = u64::try_from(at.timestamp()).ok()?;
            SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
        });
        Ok(Self { issuer, next_update, serials, signers: Mutex::default(), der })
    }

    fn is_signed_by(&self, key: &[u8]) -> bool {
        let mut signers = self.signers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = signers.get(key) {
            return *known;
        }
        let signed = self.check_signature(key);
        if signers.len() < MAX_SIGNERS {
            signers.insert(key.into(), signed);
        }
        signed
    }

    fn check_signature(&self, key: &[u8]) -> bool {
        let list = CertificateRevocationList::from_der(&self.der);
        let key = SubjectPublicKeyInfo::from_der(key);
        matches!((list, key), (Ok((_, list)), Ok((_, key))) if list.verify_signature(&key).is_ok())
    }
}

#[cfg(test)]
mod tests;
