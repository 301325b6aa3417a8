//! Noticing that a directory of manifests has changed, by looking at it again and again.
//!
//! Looking needs no inotify watch, of which a node has few, and sees what inotify does not: a
//! mounted ConfigMap whose links change, and network file systems. [`Poller`] is pure: it is given
//! what was seen and says what to do; who looks, and how often, is the caller's (every 250 ms).

use std::io;
use std::path::Path;

use super::read;
use crate::sys::stamp::Stamp;

/// What a directory looked like: names, sizes, times and inodes of its manifests, links followed.
/// It holds no contents; a file that is replaced by an equal one counts as changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    files: Vec<(String, Option<Stamp>)>,
}

/// What to do after a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It has changed and is quiet again: load it.
    Reload,
    /// It has changed since the last look; somebody may still be writing.
    Settling,
    Unchanged,
}

/// How many looks a directory may keep changing before it is loaded all the same: a change applies
/// within a second at four looks a second.
const MAX_SETTLING: u32 = 3;

/// Remembers what was loaded. A reload is due when two looks in a row agree and differ from it.
#[derive(Debug)]
pub struct Poller {
    loaded: Fingerprint,
    seen: Fingerprint,
    settling: u32,
}

// === impl Fingerprint ===

impl Fingerprint {
    /// Looks at a directory.
    ///
    /// # Errors
    /// The directory cannot be listed. A file that vanishes meanwhile, or a link to nothing, is
    /// part of what is seen and no error.
    pub fn of(directory: &Path) -> io::Result<Self> {
        let names = read::names(directory)?;
        let files = names.into_iter().map(|name| {
            let stamp = Stamp::of(&directory.join(&name));
            (name, stamp)
        });
        Ok(Self { files: files.collect() })
    }

    /// How many manifests were seen.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

// === impl Poller ===

impl Poller {
    /// `loaded` was taken before the first load, so that a change during the load is seen.
    pub fn new(loaded: Fingerprint) -> Self {
        Self { seen: loaded.clone(), loaded, settling: 0 }
    }

    /// Takes one look's result. After [`Next::Reload`] the look counts as loaded, whether loading
    /// succeeds or not: the same mistake is told once and not four times a second.
    pub fn look(&mut self, now: Fingerprint) -> Next {
        if now == self.loaded {
            self.seen = now;
            self.settling = 0;
            return Next::Unchanged;
        }
        if now != self.seen && self.settling < MAX_SETTLING {
            self.seen = now;
            self.settling += 1;
            return Next::Settling;
        }
        self.seen = now.clone();
        self.loaded = now;
        self.settling = 0;
        Next::Reload
    }
}

#[cfg(test)]
mod tests;
