//! The roots by which a control plane is known, read again for every connection.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use crate::telemetry::cause::chain;
use crate::tls::{MAX_PEM, PemError, RootsError, TrustedRoots, certificates_leniently};

/// Where the system keeps its roots: Debian and its kin, Red Hat and its kin twice, SUSE, Alpine.
const SYSTEM: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Where roots come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootSource {
    /// A PEM bundle, read again for every connection.
    File(PathBuf),
    /// A PEM bundle itself.
    Pem(String),
    /// The bundle of the system, the first of five usual paths.
    System,
}

/// Why there is nothing to know a control plane by.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// None of the system's usual files is there. Configuration.
    #[error("the system has no bundle of roots: install ca-certificates, or name a file of roots")]
    NoSystem,
    /// Not PEM. Configuration.
    #[error("{place}: not a PEM bundle of roots: write it again")]
    Pem {
        place: String,
        #[source]
        source: PemError,
    },
    /// The file cannot be read. Configuration, or whoever mounts it.
    #[error("{}: the roots of the control plane cannot be read: mount the file, and let this user read it", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Nothing in it can be trusted. Configuration, or the clock.
    #[error("{place}: no usable root for the control plane")]
    Roots {
        place: String,
        #[source]
        source: RootsError,
    },
}

/// One reading of the roots. Two are equal when nothing has changed between them.
#[derive(Clone, Debug)]
pub struct Trust(Arc<Reading>);

#[derive(Debug)]
struct Reading {
    bytes: Vec<u8>,
    roots: TrustedRoots,
}

/// The roots of one endpoint.
pub(super) struct Roots {
    source: RootSource,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: Option<Trust>,
    /// What is there now is not `last`. Said once for each time that it happens.
    broken: bool,
}

// === impl Trust ===

impl Trust {
    pub(super) fn roots(&self) -> &TrustedRoots {
        &self.0.roots
    }
}

impl PartialEq for Trust {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Trust {}

// === impl Roots ===

impl Roots {
    /// Inline roots are judged here; a file may come later.
    pub(super) fn new(source: RootSource, now: SystemTime) -> Result<Self, TrustError> {
        let this = Self { source, state: Mutex::default() };
        if let RootSource::Pem(_) = this.source {
            this.read(now)?;
        }
        Ok(this)
    }

    /// Today's roots. A file that is gone or broken leaves the last good reading in use, which says nothing of trust
    /// being withdrawn; until all of these have expired.
    pub(super) fn read(&self, now: SystemTime) -> Result<Trust, TrustError> {
        let bytes = self.bytes();
        let mut state = self.lock();
        let judged = bytes.and_then(|bytes| match &state.last {
            Some(last) if last.0.bytes == bytes && last.roots().first_end() > now => Ok(last.clone()),
            _ => self.judge(bytes, now),
        });
        match (judged, &state.last) {
            (Ok(trust), _) => {
                if std::mem::take(&mut state.broken) {
                    tracing::info!(roots = self.place(), "the roots of the control plane can be read again");
                }
                state.last = Some(trust.clone());
                Ok(trust)
            }
            (Err(error), Some(last)) if last.roots().last_end() > now => {
                let last = last.clone();
                if !std::mem::replace(&mut state.broken, true) {
                    let error = chain(&error);
                    tracing::warn!(error, "the roots of the control plane that were read last are used");
                }
                Ok(last)
            }
            (Err(error), _) => Err(error),
        }
    }

    fn judge(&self, bytes: Vec<u8>, now: SystemTime) -> Result<Trust, TrustError> {
        let found = certificates_leniently(&bytes).map_err(|source| TrustError::Pem { place: self.place(), source })?;
        let roots = TrustedRoots::of(&found.certificates, now)
            .map_err(|source| TrustError::Roots { place: self.place(), source })?;
        let (unusable, expired) = (found.broken + roots.unusable(), roots.expired());
        if unusable + expired > 0 {
            tracing::warn!(roots = self.place(), unusable, expired, "some roots of the control plane are left out");
        }
        Ok(Trust(Arc::new(Reading { bytes, roots })))
    }

    fn bytes(&self) -> Result<Vec<u8>, TrustError> {
        match &self.source {
            RootSource::File(path) => file(path),
            RootSource::Pem(text) => Ok(text.clone().into_bytes()),
            RootSource::System => {
                let found = SYSTEM.iter().map(Path::new).find(|path| path.exists());
                found.map_or(Err(TrustError::NoSystem), file)
            }
        }
    }

    fn place(&self) -> String {
        match &self.source {
            RootSource::File(path) => path.display().to_string(),
            RootSource::Pem(_) => "inline roots".to_owned(),
            RootSource::System => "the system's roots".to_owned(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn file(path: &Path) -> Result<Vec<u8>, TrustError> {
    let mut bytes = Vec::new();
    // One byte more than the limit, so that the parser sees that it is too large.
    File::open(path)
        .and_then(|file| file.take(MAX_PEM as u64 + 1).read_to_end(&mut bytes))
        .map_err(|source| TrustError::Read { path: path.to_owned(), source })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
