//! Noticing that the CA's directory has changed, and taking a new signer or roots into use without a restart.
//!
//! A set that is incomplete, broken or does not fit together is not taken: what was loaded goes on signing. Files are
//! looked at and not watched; somebody who is still writing is waited for, since two looks in a row must agree.

use std::mem::{Discriminant, discriminant};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::watch;

use super::authority::Authority;
use super::error::CaError;
use super::revoked::CRL;
use super::store::{FILES, Root};
use crate::model::spiffe::Identity;
use crate::sys::stamp::Stamp;
use crate::tls::{Credentials, Issued, describe};

/// Looks at the directory.
#[derive(Debug)]
pub struct Reloader {
    dir: PathBuf,
    trust_domain: Arc<str>,
    loaded: Stamps,
    seen: Stamps,
    /// Why what was looked at last was not taken, when the time changes that and not the files: a signer that is not valid
    /// yet, roots that lack one which has still to expire.
    early: Option<Discriminant<CaError>>,
    current: watch::Sender<Authority>,
}

type Stamps = [Option<Stamp>; FILES.len() + 1];

/// What came of a look.
#[derive(Debug)]
pub enum Look {
    /// Nothing has changed, or somebody is still writing.
    Same,
    /// The new files are in use. When `foreign`, what is signed now does not lead to a root that was in use before:
    /// peers that have not renewed since refuse it.
    Taken { foreign: bool },
    /// The new files are not taken; told once for each change of them, and of the reason.
    Refused(CaError),
}

// === impl Reloader ===

impl Reloader {
    /// Opens the CA, as [`Root::load_or_create`], and answers what always holds the one in use.
    ///
    /// # Errors
    /// As [`Root::load_or_create`].
    pub fn open(dir: &Path, trust_domain: &str) -> Result<(Self, watch::Receiver<Authority>), CaError> {
        Root::load_or_create(dir, trust_domain)?;
        // Looked at before the load that counts, so that a change meanwhile is seen.
        let stamps = stamps(dir);
        let authority = Root::load(dir, trust_domain, SystemTime::now())?;
        let (current, reader) = watch::channel(authority);
        let this = Self {
            dir: dir.to_owned(),
            trust_domain: trust_domain.into(),
            loaded: stamps,
            seen: stamps,
            early: None,
            current,
        };
        Ok((this, reader))
    }

    /// Looks once: five calls of stat(2), and reading the files when they have changed and are quiet. Call it every
    /// second or two, on a thread that may wait for a disk.
    pub fn look(&mut self, now: SystemTime) -> Look {
        let stamps = stamps(&self.dir);
        let known = stamps == self.loaded;
        if known && self.early.is_none() {
            self.seen = stamps;
            return Look::Same;
        }
        if std::mem::replace(&mut self.seen, stamps) != stamps {
            return Look::Same;
        }
        self.loaded = stamps;
        let loaded = self.load(now);
        // Who waits for the time goes on waiting, also when a disk fails meanwhile.
        let timely =
            |error: &&CaError| known || matches!(error, CaError::NotYetValid { .. } | CaError::RootsReplaced { .. });
        let early = loaded.as_ref().err().filter(timely).map(discriminant);
        let told = known && early == self.early;
        self.early = early;
        match loaded {
            Ok(foreign) => Look::Taken { foreign },
            Err(_) if told => Look::Same,
            Err(error) => Look::Refused(error),
        }
    }

    fn load(&self, now: SystemTime) -> Result<bool, CaError> {
        let next = Root::load(&self.dir, &self.trust_domain, now)?;
        let before = self.current.borrow().clone();
        let is_alive = |root: &&Vec<u8>| describe(root).is_some_and(|root| root.not_after > now);
        let old: Vec<_> = before.roots().iter().filter(is_alive).cloned().collect();
        let new = next.roots();
        let holds = |outer: &[Vec<u8>], inner: &[Vec<u8>]| inner.iter().all(|root| outer.contains(root));
        // One that has expired, before it was loaded or since, is nobody's loss.
        if !holds(new, &old) && !holds(&old, new) {
            return Err(CaError::RootsReplaced { path: self.dir.join(FILES[0]) });
        }
        let probe = Identity::new(Arc::clone(&self.trust_domain), "culvert", "probe");
        let leaf = next.issue(&probe, super::DEFAULT_TTL, now)?;
        let foreign = Credentials::build(&Issued { roots: old, ..leaf }, &probe, now).is_err();
        self.current.send_replace(next);
        Ok(foreign)
    }
}

fn stamps(dir: &Path) -> Stamps {
    let [root, signer, key, chain] = FILES.map(|name| Stamp::of(&dir.join(name)));
    [root, signer, key, chain, Stamp::of(&dir.join(CRL))]
}

#[cfg(test)]
mod tests;
