//! The state file while it grows.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::frame::{MAGIC, Writer};
use super::load::{FILE, Frames, Index, LARGEST, Loaded, Unusable};

/// What may be dead in a file before it is written anew, at least: 16 MiB. More than that when more is live.
const DEAD: u64 = 16 << 20;
/// A file that is being made and is older than this was left behind by a process that died.
const LEFT_BEHIND: Duration = Duration::from_secs(600);

/// A file that this process appends to.
pub(super) struct Journal {
    file: File,
    directory: PathBuf,
    source: String,
    /// Bytes when it was begun, all of them live.
    live: u64,
    length: u64,
    /// Of the last mark.
    as_of: Option<SystemTime>,
    /// What may be dead, for tests to make small.
    pub(super) dead: u64,
    /// Bytes that a reader takes, likewise.
    pub(super) largest: u64,
}

/// Why the state is not kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeepError {
    /// Kernel, or configuration.
    #[error(
        "the state of the mesh is not kept, and a restart will wait for the control plane: cannot {what} {path}; give the process a directory that it may write",
        path = path.display()
    )]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Another process of ours has begun a newer file.
    #[error("another process keeps the state of the mesh now")]
    TakenOver,
    /// Us, or a disk that changes what was written.
    #[error(
        "the state of the mesh is not kept any more, and a restart will wait for the control plane: the file cannot be read back; look for faults of the disk"
    )]
    Unreadable(#[source] Unusable),
    /// The mesh is larger than what is kept.
    #[error(
        "the state of the mesh is not kept any more, and a restart will wait for the control plane: it has more than {most} bytes; ask for addresses one by one (setting xds-on-demand)"
    )]
    TooLarge { most: u64 },
}

// === impl Journal ===

impl Journal {
    /// Begins a file with what was loaded, and puts it in its place.
    pub(super) fn begin(
        directory: &Path,
        source: &str,
        from: Option<&Loaded>,
        now: SystemTime,
    ) -> Result<Self, KeepError> {
        let error = |what, path: &Path| {
            let path = path.to_owned();
            move |source| KeepError::Io { what, path, source }
        };
        if !directory.exists() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
            made.map_err(error("create", directory))?;
        }
        remove_left_behind(directory, now);
        let unique = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let new = directory.join(format!("{FILE}.new.{}.{unique}", std::process::id()));
        // Without a mark it counts for nothing: policies may still be missing.
        let as_of = from.and_then(|loaded| loaded.as_of);
        let begun = write_all(&new, source, from, as_of).and_then(|(file, length)| {
            fs::rename(&new, directory.join(FILE))?;
            // So that the name survives a power cut as well.
            File::open(directory)?.sync_all()?;
            Ok((file, length))
        });
        let (file, length) = begun.map_err(|source| {
            // Half a file is of no use; that it cannot be removed either is told by the error itself.
            drop(fs::remove_file(&new));
            error("write", &new)(source)
        })?;
        let (directory, source) = (directory.to_owned(), source.to_owned());
        Ok(Self { file, directory, source, live: length, length, as_of, dead: DEAD, largest: LARGEST })
    }

    /// Appends records, and a mark if there is a new one, and waits until the disk has them. Writes the file anew when
    /// much of it is dead.
    pub(super) fn append(&mut self, records: &[u8], as_of: Option<SystemTime>) -> Result<(), KeepError> {
        self.check_place()?;
        self.as_of = as_of.or(self.as_of);
        let mut mark = Writer::new();
        as_of.into_iter().for_each(|as_of| mark.mark(as_of));
        let mark = mark.take();
        let path = self.path();
        let written = self.file.write_all(records).and_then(|()| self.file.write_all(&mark));
        let written = written.and_then(|()| self.file.sync_data());
        written.map_err(|source| KeepError::Io { what: "write", path, source })?;
        self.length += (records.len() + mark.len()) as u64;
        // What is live counts and not what is dead, and after this `live` is what there is. The rest of a quarter is more
        // than one append.
        if self.length - self.live > self.live.max(self.dead) || self.length > self.largest / 4 * 3 {
            self.write_anew()?;
        }
        let most = self.largest / 2;
        if self.live > most { Err(KeepError::TooLarge { most }) } else { Ok(()) }
    }

    /// Removes the file: it would grow old without saying so.
    pub(super) fn remove(self) {
        if self.check_place().is_ok() {
            // What cannot be removed will be too old one day.
            drop(fs::remove_file(self.path()));
        }
    }

    fn write_anew(&mut self) -> Result<(), KeepError> {
        let path = self.path();
        let mut index = Index::default();
        let mut frames = Frames::new(&self.file, &path).map_err(KeepError::Unreadable)?;
        while let Some((at, body)) = frames.next().map_err(KeepError::Unreadable)? {
            let broken = |what| KeepError::Unreadable(Unusable::Broken { path: path.clone(), at, what });
            index.note(at, body).map_err(broken)?;
        }
        let mut places: Vec<_> = index.places.into_values().collect();
        places.sort_unstable();
        let copy = self.file.try_clone().map_err(|source| KeepError::Io { what: "open", path, source })?;
        let live = Loaded::new(copy, places, self.as_of);
        let begun = Self::begin(&self.directory, &self.source, Some(&live), SystemTime::now())?;
        *self = Self { dead: self.dead, largest: self.largest, ..begun };
        Ok(())
    }

    /// Another process may have put its own file in the place of ours.
    fn check_place(&self) -> Result<(), KeepError> {
        let same = |path: &Path| -> io::Result<bool> {
            let (mine, there) = (self.file.metadata()?, fs::symlink_metadata(path)?);
            Ok((mine.dev(), mine.ino()) == (there.dev(), there.ino()))
        };
        match same(&self.path()) {
            Ok(true) => Ok(()),
            _ => Err(KeepError::TakenOver),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.join(FILE)
    }
}

/// A new file with the live records of another, on disk.
fn write_all(path: &Path, source: &str, from: Option<&Loaded>, as_of: Option<SystemTime>) -> io::Result<(File, u64)> {
    const PIECE: usize = 1 << 20;
    let mut file = OpenOptions::new().create_new(true).read(true).append(true).mode(0o600).open(path)?;
    // Not left to the umask.
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(MAGIC)?;
    let mut length = MAGIC.len() as u64;
    let mut write = |bytes: Vec<u8>| {
        length += bytes.len() as u64;
        file.write_all(&bytes)
    };
    let mut writer = Writer::new();
    writer.source(source);
    let mut failed = Ok(());
    if let Some(from) = from {
        from.each(|record| {
            // What was read can be written.
            let _written: bool = writer.record(record);
            if writer.len() > PIECE && failed.is_ok() {
                failed = write(writer.take());
            }
        })?;
    }
    failed?;
    as_of.into_iter().for_each(|as_of| writer.mark(as_of));
    write(writer.take())?;
    file.sync_all()?;
    Ok((file, length))
}

/// By age and not by name: two processes of two containers can have one number.
fn remove_left_behind(directory: &Path, now: SystemTime) {
    let begin = format!("{FILE}.new.");
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(&begin);
        let changed = entry.metadata().and_then(|meta| meta.modified());
        let old = changed.is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age > LEFT_BEHIND));
        if ours && old {
            // It only takes room; the next start tries again.
            drop(fs::remove_file(entry.path()));
        }
    }
}
