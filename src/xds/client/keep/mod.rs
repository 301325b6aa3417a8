//! The state on disk: what was accepted last, so that a restart serves at once and with no control plane.
//!
//! A journal. Each accepted resource is appended as it came, with its name and version, and each removal; when the file
//! is more than twice what is live it is written anew. The other way, to write everything again from the mesh, would
//! write 30 MB for every change of a large one, and needs the mesh here. The raw bytes are in memory only on their way
//! to the file.
//!
//! | page | what |
//! | --- | --- |
//! | `frame` | one record: length, checksum, body. Pure |
//! | `load` | reads a file, or says why not |
//! | `journal` | begins, appends, writes anew |
//! | `keeper` | the task: collects for some seconds, writes off the async threads |
//!
//! A record that was lost does no harm to the protocol: versions are each resource's own, so the control plane sends
//! what differs. A file is never written by two processes: each begins its own and renames it into place, and whoever
//! finds another's there stops.

mod frame;
mod journal;
mod keeper;
mod load;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

pub(super) use keeper::{Keeper, Pieces};
pub(super) use load::Loaded;

/// Where the state is kept, and for how long it counts.
#[derive(Clone, Debug)]
pub struct KeepSettings {
    /// Made with mode 0700 if it is not there.
    pub directory: PathBuf,
    /// An older state is not used.
    pub greatest_age: Duration,
    /// Whose state it is: the control plane's address, the cluster, and whether it is all or what was asked for. A state of
    /// another source is not used.
    pub source: String,
    /// How long changes are collected before they are written, at most.
    pub interval: Duration,
}

/// A kept state, opened.
pub struct Keep {
    pub(super) settings: KeepSettings,
    pub(super) loaded: Option<Loaded>,
}

// === impl Keep ===

impl Keep {
    /// Ten seconds: a crash loses no more, and a busy mesh costs one small write in that time.
    pub const INTERVAL: Duration = Duration::from_secs(10);

    /// Looks for a state. Blocks for as long as it takes to read the file; nothing fails: what cannot be used is told in
    /// one line and left alone.
    pub fn open(settings: KeepSettings, now: SystemTime) -> Self {
        let loaded = load::report(&settings, now);
        Self { settings, loaded }
    }
}

#[cfg(test)]
mod tests;
