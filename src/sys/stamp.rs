//! What a file looked like, to notice that it has changed without reading it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A file's identity, size and times, links followed. Equal stamps mean equal contents, but for a write that sets
/// every one of them back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds of the last write, and of the last change of the inode: `cp -p`
    /// sets the first of the two back.
    written: (i64, i64),
    changed: (i64, i64),
}

// === impl Stamp ===

impl Stamp {
    /// `None` when there is no such file, or a link to nothing.
    pub fn of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|meta| Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            written: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }

    /// A stamp of no file.
    #[cfg(test)]
    pub(crate) const fn of_size(size: u64) -> Self {
        Self { device: 1, inode: 1, size, written: (0, 0), changed: (0, 0) }
    }
}
