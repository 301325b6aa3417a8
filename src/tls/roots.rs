//! Roots of trust: which certificates of a bundle are anchors now.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use super::describe::not_after;

/// At least one root that can be used. Cheap to clone.
#[derive(Clone)]
pub struct TrustedRoots(Arc<Inner>);

struct Inner {
    store: Arc<RootCertStore>,
    ders: Vec<Vec<u8>>,
    expired: usize,
    first_end: SystemTime,
    last_end: SystemTime,
    unusable: usize,
}

/// Why a bundle gives nothing to trust. The fault of who wrote it, or the clock.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootsError {
    /// All roots that could be read have expired.
    #[error("every root in it has expired: put one there that is valid now, and compare the clock")]
    Expired,
    /// There is no certificate, or none that can be read.
    #[error("there is no certificate in it that can be a root")]
    None,
}

// === impl TrustedRoots ===

impl TrustedRoots {
    /// The roots of a bundle, DER. One that cannot be read is left out, and so is one that has expired at `now`: the
    /// TLS library looks at an anchor's name and key alone and would trust it for ever. One that is not valid yet
    /// stays: it is laid out ahead of a rotation, and clocks differ.
    ///
    /// # Errors
    /// None is left.
    pub fn of(bundle: &[Vec<u8>], now: SystemTime) -> Result<Self, RootsError> {
        let (mut store, mut ders, mut ends) = (RootCertStore::empty(), Vec::new(), Vec::new());
        let (mut expired, mut unusable) = (0, 0);
        for der in bundle {
            match not_after(der) {
                None => unusable += 1,
                Some(end) if end <= now => expired += 1,
                Some(_) if store.add(CertificateDer::from(der.as_slice())).is_err() => unusable += 1,
                Some(end) => {
                    ders.push(der.clone());
                    ends.push(end);
                }
            }
        }
        let (Some(first_end), Some(last_end)) = (ends.iter().min().copied(), ends.iter().max().copied()) else {
            return Err(if expired > 0 { RootsError::Expired } else { RootsError::None });
        };
        Ok(Self(Arc::new(Inner { store: Arc::new(store), ders, expired, first_end, last_end, unusable })))
    }

    /// Those in use, in the bundle's order; DER.
    pub fn ders(&self) -> &[Vec<u8>] {
        &self.0.ders
    }

    /// How many were left out because they had expired.
    pub fn expired(&self) -> usize {
        self.0.expired
    }

    /// How many were left out because they cannot be read.
    pub fn unusable(&self) -> usize {
        self.0.unusable
    }

    /// When the first of those in use ends.
    pub fn first_end(&self) -> SystemTime {
        self.0.first_end
    }

    /// When the last of them ends, and with it all trust.
    pub fn last_end(&self) -> SystemTime {
        self.0.last_end
    }

    pub(super) fn store(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.0.store)
    }
}

impl fmt::Debug for TrustedRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustedRoots").field("count", &self.0.ders.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
