//! The files behind [`Trust`]: the revocation lists, and the bundles of federated trust domains.
//!
//! Looked at again and again, as manifests are: that sees a mounted ConfigMap whose links change, and needs no watch.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::crl::{self, Lists};
use super::pem::{MAX_PEM, certificates};
use super::trust::{Revocation, Trust};

/// Which files.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// One or many PEM lists, or one in DER. It need not be there yet.
    pub crl: Option<PathBuf>,
    /// The PEM roots of each federated trust domain.
    pub bundles: Vec<(Arc<str>, PathBuf)>,
}

/// Reads the files when they change.
#[must_use = "a file that changes is read only while this runs"]
pub struct Follower {
    bundles: Vec<(Arc<str>, Watched)>,
    crl: Option<Watched>,
    /// Lists that were overdue at the last look.
    overdue: usize,
    trust: Trust,
}

/// One file as it was read last.
struct Watched {
    path: PathBuf,
    /// What was said of it last, so that it is said once.
    said: Option<String>,
    /// As it was when it was last read well; [`None`] reads it again at the next look.
    stamp: Option<Stamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds of the last write, and of the last change of the inode: `cp -p` sets the first of the
    /// two back.
    written: (i64, i64),
    changed: (i64, i64),
}

enum Seen {
    Missing,
    Same,
    Bytes(Vec<u8>, Stamp),
}

/// Between two looks: a change counts within a second, and a look is one stat(2) a file.
const LOOK: Duration = Duration::from_secs(1);

// === impl Stamp ===

impl Stamp {
    fn of(meta: &fs::Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            written: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

// === impl Watched ===

impl Watched {
    fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), said: None, stamp: None }
    }

    /// At most `limit` bytes and one, so that a file that is too large shows.
    fn look(&self, limit: usize) -> io::Result<Seen> {
        let missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        match fs::metadata(&self.path) {
            Ok(meta) if self.stamp == Some(Stamp::of(&meta)) => return Ok(Seen::Same),
            // A pipe would hold the reader for ever.
            Ok(meta) if !meta.is_file() => return Err(io::Error::other("it is not a file")),
            Err(error) if missing(&error) => return Ok(Seen::Missing),
            _ => {}
        }
        let file = match File::open(&self.path) {
            Err(error) if missing(&error) => return Ok(Seen::Missing),
            file => file?,
        };
        // Of what was opened, before it is read: a write in between shows as a change at the next look.
        let meta = file.metadata()?;
        let mut bytes = Vec::new();
        file.take(u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1)).read_to_end(&mut bytes)?;
        Ok(Seen::Bytes(bytes, Stamp::of(&meta)))
    }

    /// True when `what` was not the last thing that was said.
    fn is_news(&mut self, what: &str) -> bool {
        let news = self.said.as_deref() != Some(what);
        self.said = Some(what.to_owned());
        news
    }
}

// === impl Follower ===

impl Follower {
    /// Reads what is there. A list that cannot be read shuts the door until it can be, and a trust domain whose bundle
    /// cannot be read has no roots; neither is an error, because both are mended while the process runs.
    pub fn build(files: &Files, trust: &Trust) -> Self {
        let bundles = files.bundles.iter().map(|(domain, path)| (Arc::clone(domain), Watched::new(path)));
        let crl = files.crl.as_deref().map(Watched::new);
        let mut follower = Self { bundles: bundles.collect(), crl, overdue: 0, trust: trust.clone() };
        follower.look();
        follower
    }

    /// Looks once a second until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut this = Box::new(self);
        if this.crl.is_none() && this.bundles.is_empty() {
            return stop.cancelled().await;
        }
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            let looked = tokio::task::spawn_blocking(move || {
                this.look();
                this
            });
            match looked.await {
                Ok(back) => this = back,
                // The runtime is ending.
                Err(_) => return,
            }
        }
    }

    /// One look at every file.
    fn look(&mut self) {
        if let Some(crl) = &mut self.crl {
            look_at_lists(crl, &self.trust);
        }
        for (domain, bundle) in &mut self.bundles {
            look_at_bundle(domain, bundle, &self.trust);
        }
        if let Revocation::Lists(lists) = self.trust.revocation() {
            let overdue = lists.overdue(self.trust.now());
            if overdue > self.overdue {
                tracing::warn!(
                    overdue,
                    "revocation lists are overdue (their nextUpdate has passed): they stay in force, and what was \
                     revoked since is not known; let their CA write new ones"
                );
            }
            self.overdue = overdue;
        }
    }
}

fn look_at_lists(file: &mut Watched, trust: &Trust) {
    let why = match file.look(crl::MAX_FILE) {
        Ok(Seen::Same) => return,
        Ok(Seen::Missing) => {
            // Lists that were read stay in force: whoever takes the file away has not pardoned anybody.
            if matches!(trust.revocation(), Revocation::Unknown) {
                trust.set_revocation(&Revocation::None);
            }
            file.stamp = None;
            if file.is_news("missing") {
                let kept = matches!(trust.revocation(), Revocation::Lists(_));
                tracing::warn!(path = %file.path.display(), kept, "the file of revocation lists is not there; it is read when it comes");
            }
            return;
        }
        Ok(Seen::Bytes(bytes, stamp)) => match Lists::parse(&bytes) {
            Ok(lists) => {
                file.stamp = Some(stamp);
                file.said = None;
                let (count, revoked) = (lists.len(), lists.revoked());
                tracing::info!(path = %file.path.display(), lists = count, revoked, "revocation lists read");
                return trust.set_revocation(&Revocation::Lists(Arc::new(lists)));
            }
            Err(error) => error.to_string(),
        },
        Err(error) => error.to_string(),
    };
    file.stamp = None;
    let kept = matches!(trust.revocation(), Revocation::Lists(_));
    if !kept && !matches!(trust.revocation(), Revocation::Unknown) {
        trust.set_revocation(&Revocation::Unknown);
    }
    if file.is_news(&why) {
        let path = file.path.display();
        if kept {
            tracing::error!(%path, why, "the file of revocation lists cannot be used; the lists before it stay in force");
        } else {
            tracing::error!(%path, why, "the file of revocation lists cannot be used, and there were none before: every TLS handshake is refused until it is mended");
        }
    }
}

fn look_at_bundle(domain: &Arc<str>, file: &mut Watched, trust: &Trust) {
    let why = match file.look(MAX_PEM) {
        Ok(Seen::Same) => return,
        Ok(Seen::Missing) => "it is not there".to_owned(),
        Ok(Seen::Bytes(bytes, stamp)) => {
            let roots = certificates(&bytes).map_err(|error| error.to_string());
            match roots.and_then(|roots| trust.set_bundle(domain, &roots).map_err(|error| error.to_string())) {
                Ok(()) => {
                    file.stamp = Some(stamp);
                    file.said = None;
                    return tracing::info!(path = %file.path.display(), domain = &**domain, "trust bundle read");
                }
                Err(why) => why,
            }
        }
        Err(error) => error.to_string(),
    };
    file.stamp = None;
    if file.is_news(&why) {
        tracing::error!(
            path = %file.path.display(), domain = &**domain, why,
            "the bundle of a trust domain cannot be used; its roots so far stay, and without any nobody of it is let in"
        );
    }
}

#[cfg(test)]
mod tests;
